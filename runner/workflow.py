"""Workflow files: finding them by reference, loading them, and what each says of itself."""

import difflib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias, cast

from runner.errors import UnknownWorkflow, WorkflowError
from runner.shape import mapping, sequence

# The largest official template has 0.4 MB; what is far beyond is no workflow.
MAX_BYTES = 16 * 1024 * 1024

Document: TypeAlias = dict[str, Any]
Version: TypeAlias = tuple[int, int, int]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)(?:@(?P<version>\d+(?:\.\d+){0,2}))?")


@dataclass(frozen=True, eq=False)
class Workflow:
    """A workflow file: the document as the graph editor saved it, and its identity.

    The document is never changed in place: what is read from it is kept by the workflow's identity.
    """

    document: Document
    path: Path | None
    name: str
    version: str

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def description(self) -> str:
        return str(info(self.document).get("description") or "")

    @cached_property
    def digest(self) -> str:
        return digest(self.document)


def digest(value: object) -> str:
    """A hash of JSON, whatever the order of its keys. Pure."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def info(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`extra.info`: name, version, description, author; empty if the file has none. Pure."""
    return mapping(mapping(document.get("extra")).get("info"))


def load(path: Path) -> Workflow:
    """Read a workflow file.

    Raises WorkflowError, saying where, if it is not a JSON object of a sensible size.
    """
    document = parse(_read(path), source=str(path))
    said = info(document)
    stem = path.name.removesuffix(".json").removesuffix(".app")  # App view saves as .app.json
    folder_name = path.parent.name if _VERSION.fullmatch(path.stem) else stem
    version = path.stem if _VERSION.fullmatch(path.stem) else str(said.get("version") or "0.0.0")
    return Workflow(document, path, str(said.get("name") or folder_name), version)


def parse(text: bytes, *, source: str) -> Document:
    """JSON text as a document. Pure. Raises WorkflowError."""
    try:
        document: Any = json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise WorkflowError(f"{source} is not UTF-8 text: byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise WorkflowError(
            f"{source} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError as error:
        raise WorkflowError(f"{source} is nested too deeply") from error
    except ValueError as error:
        raise WorkflowError(f"{source} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise WorkflowError(f"{source} is not a workflow: its JSON is not an object")
    return cast(Document, document)


def find(reference: str, folders: Sequence[Path]) -> Workflow:
    """The workflow that a reference or a path names; `name@1` is the newest 1.x.y.

    Raises UnknownWorkflow, naming what there is, or WorkflowError if the file is broken.
    """
    if reference.endswith(".json"):
        path = Path(reference)
        if not path.is_file():
            raise UnknownWorkflow(f"there is no file {reference}")
        return load(path)
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise UnknownWorkflow(f"{reference!r} is neither name@version nor a .json file")
    released = versions(match["name"], folders)
    fitting = [path for path in released if _fits(path.stem, match["version"])]
    if not fitting:
        raise _unknown(reference, match["name"], released, folders)
    return _kept(fitting[-1], fitting[-1].stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _kept(path: Path, mtime: int) -> Workflow:  # noqa: ARG001 - another file under the same name
    """A released file, read once for all of a service's jobs."""
    return load(path)


def versions(name: str, folders: Sequence[Path]) -> list[Path]:
    """The files of a workflow, oldest version first."""
    files = {p.stem: p for folder in reversed(folders) for p in (folder / name).glob("*.json")}
    return sorted((p for p in files.values() if _VERSION.fullmatch(p.stem)), key=_version)


def released(
    folders: Sequence[Path], *, broken: list[WorkflowError] | None = None
) -> Iterator[Workflow]:
    """The newest version of every workflow, by name.

    What is wrong with files that cannot be read goes to `broken`; without that it is raised.
    """
    names = {p.name for folder in folders if folder.is_dir() for p in folder.iterdir()}
    for name in sorted(names):
        files = versions(name, folders)
        try:
            if files:
                yield load(files[-1])
        except WorkflowError as error:
            if broken is None:
                raise
            broken.append(error)


def nodes(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes of the root graph. Pure. Raises WorkflowError if there are none."""
    found: Any = document.get("nodes")
    if not isinstance(found, list) or not all(
        isinstance(node, dict) for node in cast(list[Any], found)
    ):
        raise WorkflowError("the file has no list of nodes: it is not a graph editor's workflow")
    return cast(list[dict[str, Any]], found)


def output_names(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the outputs that the App view declares, in its order. Pure."""
    chosen = sequence(linear_data(document).get("outputs"))
    if not chosen:
        return ()
    by_id = {str(node.get("id")): title(node) for node in nodes(document)}
    return tuple(by_id[str(node_id)] for node_id in chosen if str(node_id) in by_id)


ADD_SAVING = "add a node that does, such as Save Video, Save Image or Preview Image"


def all_nodes(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every node of a UI file, those of its subgraphs too, or of an API file. Pure."""
    if "nodes" not in document:
        yield from map(mapping, document.values())
        return
    graphs = sequence(mapping(document.get("definitions")).get("subgraphs"))
    for graph in (document, *map(mapping, graphs)):
        yield from map(mapping, sequence(graph.get("nodes")))


def linear_data(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`extra.linearData`: App view's inputs and outputs; empty if the file has none. Pure."""
    return mapping(mapping(document.get("extra")).get("linearData"))


def title(node: Mapping[str, Any]) -> str:
    """What the editor shows as the node's name. Pure."""
    return str(node.get("title") or node.get("type") or "?")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise WorkflowError(f"{path} has {size:,} bytes; a workflow has at most {MAX_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise WorkflowError(f"{path} cannot be read: {error.strerror}") from error


def _version(path: Path) -> Version:
    major, minor, patch = (int(part) for part in path.stem.split("."))
    return major, minor, patch


def _fits(version: str, wanted: str | None) -> bool:
    return wanted is None or f"{version}.".startswith(f"{wanted}.")


def _unknown(
    reference: str, name: str, released_files: list[Path], folders: Sequence[Path]
) -> UnknownWorkflow:
    if released_files:
        known = [f"{name}@{path.stem}" for path in released_files]
    else:
        known = [workflow.reference for workflow in released(folders, broken=[])]
    near = difflib.get_close_matches(name, {one.partition("@")[0] for one in known}, n=1)
    meant = f"did you mean {near[0]}? " if near and near[0] != name else ""
    return UnknownWorkflow(
        f"there is no workflow {reference}; {meant}there is {', '.join(known) or 'none at all'}",
        details={"known": known},
    )
