"""Which models a few workflows need, and where on this machine each of them lies."""

import dataclasses
import json
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runner import models, volumes
from runner.models import Model
from runner.shape import mapping, sequence
from runner.volumes import Place
from runner.workflow import Workflow

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_LONGEST_HEADER = 100_000_000  # bytes; the safetensors library's own limit


@dataclass(frozen=True)
class Wanted:
    """A model file, with all that the workflows say about it."""

    name: str  # as ComfyUI lists it: with subfolders
    directory: str  # ComfyUI's: diffusion_models, vae, …
    url: str | None
    sha256: str | None  # as the workflow says
    also: tuple[str, ...]  # other names that it may have
    choice: bool  # its nodes can load it, but do not as they stand
    workflows: tuple[str, ...]  # references

    @property
    def shown(self) -> str:
        return f"{self.directory}/{self.name}"


@dataclass(frozen=True)
class Found:
    """A model, and its file on this machine if there is one."""

    model: Wanted
    path: Path | None = None
    place: Place | None = None
    problem: str | None = None  # why it cannot be loaded, or cannot be named so
    hint: str | None = None  # where a file of its name lies that ComfyUI does not take

    @property
    def state(self) -> str:
        if self.path is None:
            return "refused" if self.problem else "missing"
        return "broken" if self.problem else "found"

    @property
    def alias(self) -> str | None:
        """The other name that the file has."""
        if self.path is None or self.path.as_posix().endswith(f"/{self.model.name}"):
            return None
        return self.path.name


def wanted(workflows: Iterable[Workflow]) -> tuple[Wanted, ...]:
    """Every model of some workflows, each once. Pure."""
    found: dict[tuple[str, str], Wanted] = {}
    for workflow in workflows:
        also, choices = models.other_files(workflow.document), models.choices(workflow.document)
        for model in models.needed(workflow.document):
            own = Wanted(
                model.name,
                volumes.directory_of(model.directory),
                model.url,
                _sha256(model),
                also.get(model, ()),
                model in choices,
                (workflow.reference,),
            )
            key = own.directory, own.name
            found[key] = _merged(found[key], own) if key in found else own
    return tuple(found.values())


def find(needed: Sequence[Wanted], places: Sequence[Place]) -> tuple[Found, ...]:
    """Each model's file, where ComfyUI would find it."""
    known = volumes.directories(places)
    found = [_find(model, places, known) for model in needed]
    absent = {PurePosixPath(f.model.name).name for f in found if f.state == "missing"}
    elsewhere = _elsewhere(absent, places)
    return tuple(
        dataclasses.replace(f, hint=elsewhere.get(PurePosixPath(f.model.name).name))
        if f.state == "missing"
        else f
        for f in found
    )


def refusal(model: Wanted, known: Iterable[str]) -> str | None:
    """Why a model cannot lie where its workflow says. Pure."""
    if not _stays_inside(model.name):
        return (
            "its name is no path inside the folder: write file.safetensors or sub/file.safetensors"
        )
    if model.directory not in known:
        listed = ", ".join(sorted(known))
        return f"{model.directory!r} is no folder of ComfyUI's models; there are {listed}"
    return None


def damage(file: Path, name: str | None = None) -> str | None:
    """Why a file cannot be a model; None if nothing speaks against it. Reads its beginning only.

    `name` is what it will be called, if that is not its name.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(64)
        if not size:
            return "the file is empty"
        if start.startswith(b"version https://git-lfs"):
            return "it is Git's pointer to the file, not the file: pull it again"
        if start.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
            return "it is a web page, not a model: its address may ask for a login"
        if Path(name or file.name).suffix not in (".safetensors", ".sft"):
            return None
        stream.seek(0)
        return _safetensors_damage(stream.read(8), stream.read, size)


def _safetensors_damage(prefix: bytes, read: Callable[[int], bytes], size: int) -> str | None:
    """By the header's promise of where its tensors end: https://huggingface.co/docs/safetensors."""
    if len(prefix) < 8:
        return "it is no safetensors file"
    (length,) = struct.unpack("<Q", prefix)
    if not 2 <= length <= min(size, _LONGEST_HEADER):
        return "it is no safetensors file" if length > _LONGEST_HEADER else "it is cut off"
    try:
        header = mapping(json.loads(read(length)))
        tensors = [mapping(v) for k, v in header.items() if k != "__metadata__"]
        ends = [int(sequence(tensor.get("data_offsets"))[1]) for tensor in tensors]
    except (ValueError, TypeError, IndexError):
        return "it is no safetensors file"
    promised = 8 + length + max(ends, default=0)
    return None if promised == size else f"it has {size:,} bytes, its header says {promised:,}"


def _stays_inside(name: str) -> bool:
    """Whether a name is a path below the folder that it is appended to."""
    parts = name.split("/")
    return name != "None" and not (
        re.search(r"[\x00-\x1f\x7f\\]", name)
        or any(p in ("", ".", "..") or len(p.encode("utf-8", "replace")) > 240 for p in parts)
    )


def _find(model: Wanted, places: Sequence[Place], known: Iterable[str]) -> Found:
    problem = refusal(model, known)
    if problem:
        return Found(model, problem=problem)
    names = [model.name, *filter(_stays_inside, model.also)]
    for name in names:
        for place in places:
            for folder in place.folders.get(model.directory, ()):
                file = folder / name
                if file.is_file():
                    return Found(model, file, place, problem=_damage(file))
    return Found(model)


def _damage(file: Path) -> str | None:
    try:
        return damage(file)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def _elsewhere(names: set[str], places: Sequence[Place]) -> Mapping[str, str]:
    """Where files of these names lie that ComfyUI lists otherwise."""
    found: dict[str, str] = {}
    if not names:
        return found
    for root in dict.fromkeys(f for p in places for fs in p.folders.values() for f in fs):
        for folder, _, files in os.walk(root):
            for name in names & set(files):
                path = Path(folder) / name
                found.setdefault(name, f"there is {path}, which ComfyUI lists in {root.name} as "
                                 f"{path.relative_to(root).as_posix()}")  # fmt: skip
    return found


def _merged(one: Wanted, other: Wanted) -> Wanted:
    return dataclasses.replace(
        one,
        url=one.url or other.url,
        sha256=one.sha256 or other.sha256,
        also=tuple(dict.fromkeys([*one.also, *other.also])),
        choice=one.choice and other.choice,
        workflows=(*one.workflows, *other.workflows),
    )


def _sha256(model: Model) -> str | None:
    kind = (model.hash_type or "sha256").lower().replace("-", "")
    right = model.hash and kind == "sha256" and _SHA256.fullmatch(model.hash)
    return model.hash.lower() if right and model.hash else None
