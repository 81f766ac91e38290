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
from av.container import InputContainer
from av.stream import Stream
from PIL import Image

from runner.errors import OutputMissing, WorkflowError
from runner.job import Outcome, OutputFile, Probe, Saved
from runner.shape import mapping, sequence
from runner.workflow import ADD_SAVING, linear_data

_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".gif"}  # FFmpeg decodes no animated WebP
_MEDIA = {".mp4", ".webm", ".mov", ".mkv", ".flac", ".mp3", ".wav", ".opus", ".ogg", ".m4a"}
_TOLERANCE = 0.15  # seconds
_TAIL = 1.0  # seconds that are decoded at least: a sound's decoder needs a start
_OGG_PAGE = 65307  # bytes at most


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
    Raises WorkflowError if there are none.
    """
    saving = {
        node_id: str(mapping(node.get("_meta")).get("title") or node["class_type"])
        for node_id, node in prompt.items()
        if mapping(object_info.get(node["class_type"])).get("output_node")
    }
    if not saving:
        raise WorkflowError(f"nothing in the file saves or shows anything; {ADD_SAVING}")
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
    outcome: Outcome, wanted: Expected, folders: Mapping[str, Path], own: Path
) -> tuple[OutputFile, ...]:
    """The outputs' files, each probed. `folders`: ComfyUI's own; `own`: for what is made here.

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
                own.mkdir(parents=True, exist_ok=True)
                path = Path(shutil.copy(path, own / f"{uuid.uuid4().hex}{path.suffix}"))
            outputs.append(OutputFile(name, path, probe(path)))
        if not files and node_id in texts and (wanted.chosen or not saved):
            outputs.append(_text_file(name, texts[node_id], own))
        elif not files and wanted.chosen:
            raise OutputMissing(f"{name}: the node has saved no file", details={"output": name})
    if not outputs:
        raise OutputMissing("no node has saved or shown anything")
    return tuple(outputs)


def _files(node_id: str, outcome: Outcome) -> list[Saved]:
    own = [item for item in outcome.files if item.node_id == node_id]
    return [item for item in own if item.type == "output"] or own


def _text_file(name: str, text: str, folder: Path) -> OutputFile:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.txt"
    path.write_text(text, "utf-8")
    return OutputFile(name, path, Probe(kind="text"))


def probe(path: Path) -> Probe:
    """What a media file holds, read from the file to its end; kind `other` for what is no media.

    Raises OutputMissing if it is missing, empty, shorter than it says, or does not decode.
    """
    if not path.is_file() or not path.stat().st_size:
        raise OutputMissing(f"{path.name} is missing or empty")
    suffix = path.suffix.lower()
    if suffix not in (*_PICTURES, *_MEDIA):
        return Probe(kind="other")
    try:
        return _probe_picture(path) if suffix in _PICTURES else _probe_media(path)
    except (av.error.FFmpegError, OSError, SyntaxError, ValueError, StopIteration) as error:
        raise OutputMissing(f"{path.name} cannot be decoded: {error}") from error


def slug(text: str) -> str:
    """A text as a part of a file name: letters of any script, digits, `.`, `_` and `-`; 80 bytes."""
    plain = re.sub(r"[^\w.-]+", "-", text).strip("-.").lower().encode("utf-8", "ignore")
    return plain[:80].decode("utf-8", "ignore").strip("-.") or "output"


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


def _probe_picture(path: Path) -> Probe:
    """A still picture, or an animated WebP, PNG or GIF as a video; every frame is decoded."""
    with Image.open(path) as picture:
        milliseconds = 0.0
        frames = getattr(picture, "n_frames", 1)
        for index in range(frames):
            picture.seek(index)
            picture.load()
            milliseconds += float(picture.info.get("duration") or 0)
        name = str(picture.format).lower()
        if frames == 1:
            return Probe("image", name, name, *picture.size, frames=1)
        seconds = milliseconds / 1000 or None
        fps = frames / seconds if seconds else None
        return Probe("video", name, name, *picture.size, frames, fps, seconds)


def _probe_media(path: Path) -> Probe:
    with av.open(str(path)) as container:
        audio = container.streams.audio[0] if container.streams.audio else None
        sound: dict[str, Any] = {"has_audio": audio is not None}
        if audio is not None:
            sound |= {"audio_codec": audio.codec_context.name, "sample_rate": audio.sample_rate}
        seconds = container.duration / av.time_base if container.duration else None
        extents = _read_through(container)
        _require_whole(container, extents)
        if container.format.name == "ogg":
            _require_last_page(path)
        for stream, extent in extents.items():
            _decode_end(container, stream, extent)
        if not container.streams.video:
            return Probe("audio", container.format.name, duration=seconds, **sound)
        video = container.streams.video[0]
        frames = extents[video].packets
        fps = float(video.average_rate) if video.average_rate else None
        return Probe(
            kind="video",
            container=container.format.name,
            codec=video.codec_context.name,
            width=video.width,
            height=video.height,
            frames=frames,
            fps=fps,
            duration=frames / fps if fps else seconds,
            **sound,
        )


@dataclass
class _Extent:
    """What of a stream is in the file."""

    packets: int = 0
    end: float = 0.0  # seconds
    tail: int = 0  # where to decode from to see its end: a key frame, in its time base


def _read_through(container: InputContainer) -> dict[Stream, _Extent]:
    """The first video and audio stream, packet by packet to the end. Nothing is decoded."""
    streams = [*container.streams.video[:1], *container.streams.audio[:1]]
    extents: dict[Stream, _Extent] = {stream: _Extent() for stream in streams}
    for packet in container.demux(streams):
        if packet.size and packet.pts is not None:
            extent = extents[packet.stream]
            extent.packets += 1
            if packet.is_corrupt:
                raise ValueError("it breaks off in the middle of a packet")
            after = packet.pts + (packet.duration or 0)
            extent.end = max(extent.end, float(after * packet.time_base))
            if packet.is_keyframe:
                extent.tail = packet.pts
    for stream, extent in extents.items():
        before_end = int((extent.end - _TAIL) / stream.time_base) if stream.time_base else 0
        extent.tail = max(0, min(extent.tail, before_end))
    return extents


def _require_whole(container: InputContainer, extents: Mapping[Stream, _Extent]) -> None:
    """Headers promise a length: a file that was cut still promises it."""
    for stream, extent in extents.items():
        if stream.frames and stream.type == "video" and extent.packets < stream.frames:
            raise ValueError(f"it has {extent.packets} of {stream.frames} frames")
        if stream.duration is not None:
            promised = (stream.start_time or 0) + stream.duration
            _require_end(extent.end, float(promised * (stream.time_base or 0)))
    if container.duration:
        start = (container.start_time or 0) / av.time_base
        end = max((extent.end for extent in extents.values()), default=0.0)
        _require_end(end, start + container.duration / av.time_base)


def _require_end(end: float, promised: float) -> None:
    # Encoders round and pad: a part of a second, or for long ones a thousandth.
    if end < promised - max(_TOLERANCE, promised / 1000):
        raise ValueError(f"it ends after {end:.2f} of {promised:.2f} s")


def _require_last_page(path: Path) -> None:
    """Ogg promises no length, but its last page says that it is the last (RFC 3533, 6)."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 2 * _OGG_PAGE))
        page = stream.read().rpartition(b"OggS")[2]
    if len(page) < 2 or not page[1] & 4:
        raise ValueError("it breaks off: its last page is missing")


def _decode_end(container: InputContainer, stream: Stream, extent: _Extent) -> None:
    """The last part decodes, from where a decoder can begin to the end."""
    container.seek(extent.tail, stream=stream)
    decoded = sum(1 for _ in container.decode(stream))
    if not decoded:
        raise ValueError(f"the end of its {stream.type} does not decode")


def _inside(folder: Path | None, relative: Path) -> Path:
    path = (folder / relative).resolve() if folder else relative
    if folder is None or not path.is_relative_to(folder.resolve()):
        raise OutputMissing(f"{relative} lies outside ComfyUI's folders")
    if not path.is_file():
        raise OutputMissing(f"{path.name} is missing")
    return path
