"""What a job has written: history → files in ComfyUI's folders → probed outputs."""

import hashlib
import itertools
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error

from runner.errors import OutputMissing
from runner.job import Outcome, OutputFile, Probe, Saved
from runner.shape import mapping, sequence
from runner.workflow import linear_data

_MEDIA = {".mp4", ".webm", ".mov", ".mkv", ".gif", ".png", ".jpg", ".jpeg", ".webp", ".flac",
          ".mp3", ".wav", ".opus", ".ogg", ".m4a"}  # fmt: skip
_IMAGE_CONTAINERS = re.compile(r"_pipe$|^image2$|^gif$")


@dataclass(frozen=True)
class Expected:
    """The outputs that a job is to have."""

    names: Mapping[str, str]  # output name by node id
    chosen: bool  # the workflow says so: each of them must come


def expected(
    prompt: Mapping[str, Mapping[str, Any]],
    object_info: Mapping[str, Any],
    document: Mapping[str, Any],
) -> Expected:
    """Which nodes' files are the outputs. Pure.

    Those that App view names, in its order; in a file that names none, all that save or show.
    """
    saving = {
        node_id: str(mapping(node.get("_meta")).get("title") or node["class_type"])
        for node_id, node in prompt.items()
        if mapping(object_info.get(node["class_type"])).get("output_node")
    }
    listed = map(str, sequence(linear_data(document).get("outputs")))
    chosen = {node_id: saving[node_id] for node_id in listed if node_id in saving}
    return Expected(chosen or saving, chosen=bool(chosen))


def with_prefix(
    prompt: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], prefix: str
) -> dict[str, dict[str, Any]]:
    """The prompt with every save node writing under a prefix of this job's own. Pure."""
    renamed = {node_id: dict(node) for node_id, node in prompt.items()}
    for node_id, node in renamed.items():
        if (
            "filename_prefix" in node["inputs"]
        ):  # linked or not: an earlier job's file is moved away
            name = slug(names.get(node_id, node_id))
            node["inputs"] = {**node["inputs"], "filename_prefix": f"{prefix}/{name}"}
    return renamed


def collect(
    outcome: Outcome, wanted: Expected, folders: Mapping[str, Path]
) -> tuple[OutputFile, ...]:
    """The outputs' files, each probed. `folders`: ComfyUI's output and temp folder.

    What a node only shows, a preview or a text, counts where no file was saved; a text is written
    to a file. Raises OutputMissing if a chosen output has nothing, or what cannot be played.
    """
    found = {node_id: _files(node_id, outcome) for node_id in wanted.names}
    texts = dict(outcome.texts)
    saved = any(item.type == "output" for files in found.values() for item in files)
    outputs: list[OutputFile] = []
    for node_id, name in wanted.names.items():
        files = found[node_id]
        if saved and not wanted.chosen:
            files = [item for item in files if item.type == "output"]
        for item in files:
            path = _inside(folders.get(item.type), Path(item.subfolder) / item.filename)
            if item.type != "output":  # ComfyUI may name it again, from its cache: it stays
                path = Path(
                    shutil.copy(path, folders["output"] / f"{uuid.uuid4().hex}{path.suffix}")
                )
            outputs.append(OutputFile(name, path, probe(path)))
        if not files and node_id in texts and (wanted.chosen or not saved):
            outputs.append(_text_file(name, texts[node_id], folders["output"]))
        elif not files and wanted.chosen:
            raise OutputMissing(f"{name}: the node has saved no file", details={"output": name})
    if not outputs:
        raise OutputMissing("no node has saved or shown anything")
    return tuple(outputs)


def _files(node_id: str, outcome: Outcome) -> list[Saved]:
    own = [item for item in outcome.files if item.node_id == node_id]
    return [item for item in own if item.type == "output"] or own


def _text_file(name: str, text: str, folder: Path) -> OutputFile:
    path = folder / f"{uuid.uuid4().hex}.txt"
    path.write_text(text, "utf-8")
    return OutputFile(name, path, Probe(kind="text"))


def probe(path: Path) -> Probe:
    """What a media file holds, read from the file; kind `other` for what is no media.

    Raises OutputMissing if it is missing, empty, or media that does not decode.
    """
    if not path.is_file() or not path.stat().st_size:
        raise OutputMissing(f"{path.name} is missing or empty")
    if path.suffix.lower() not in _MEDIA:
        return Probe(kind="other")
    try:
        return _probe(path)
    except (av.error.FFmpegError, StopIteration) as error:
        raise OutputMissing(f"{path.name} cannot be decoded: {error}") from error


def slug(text: str) -> str:
    """A text as a part of a file name: letters of any script, digits, `.`, `_` and `-`; 80 at most."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.").lower()[:80] or "output"


def file_names(files: Sequence[OutputFile], stem: str) -> list[str]:
    """A file name for each output, no two alike, not even where upper and lower case are one."""
    names: list[str] = []
    for file in files:
        base = f"{stem}-{slug(file.name)}"
        numbered = (base if n == 1 else f"{base}-{n}" for n in itertools.count(1))
        names.append(next(f"{n}{file.path.suffix}" for n in numbered if f"{n}{file.path.suffix}" not in names))  # fmt: skip
    return names


def stem(job_id: str) -> str:
    """The stem of a job's file names; ids that differ never share one."""
    short = slug(job_id)
    mark = hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return short if short == job_id else f"{short}-{mark}"


def _probe(path: Path) -> Probe:
    with av.open(str(path)) as container:
        audio = container.streams.audio[0] if container.streams.audio else None
        sound: dict[str, Any] = {"has_audio": audio is not None}
        if audio is not None:
            sound |= {"audio_codec": audio.codec_context.name, "sample_rate": audio.sample_rate}
        seconds = container.duration / av.time_base if container.duration else None
        if not container.streams.video:
            return Probe("audio", container.format.name, duration=seconds, **sound)
        video = container.streams.video[0]
        next(container.decode(video))  # the first frame decodes
        container.seek(0)
        frames = sum(1 for packet in container.demux(video) if packet.size)
        still = frames == 1 and bool(_IMAGE_CONTAINERS.search(container.format.name))
        fps = float(video.average_rate) if video.average_rate and not still else None
        return Probe(
            kind="image" if still else "video",
            container=container.format.name,
            codec=video.codec_context.name,
            width=video.width,
            height=video.height,
            frames=frames,
            fps=fps,
            duration=None if still else (frames / fps if fps else seconds),
            **sound,
        )


def _inside(folder: Path | None, relative: Path) -> Path:
    path = (folder / relative).resolve() if folder else relative
    if folder is None or not path.is_relative_to(folder.resolve()):
        raise OutputMissing(f"{relative} lies outside ComfyUI's folders")
    if not path.is_file():
        raise OutputMissing(f"{path.name} is missing")
    return path
