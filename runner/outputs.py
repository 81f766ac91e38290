"""What a job has written: history → files in ComfyUI's folders → probed outputs."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import av.error

from runner.errors import OutputMissing
from runner.job import OutputFile, Probe, Saved
from runner.shape import sequence
from runner.workflow import linear_data

_MEDIA = {".mp4", ".webm", ".mov", ".mkv", ".gif", ".png", ".jpg", ".jpeg", ".webp", ".flac",
          ".mp3", ".wav", ".opus", ".ogg", ".m4a"}  # fmt: skip
_IMAGE_CONTAINERS = re.compile(r"_pipe$|^image2$|^gif$")


def declared(
    prompt: Mapping[str, Mapping[str, Any]],
    object_info: Mapping[str, Any],
    document: Mapping[str, Any],
) -> dict[str, str]:
    """Output name by node id. Pure.

    The nodes that save files, in the order and choice of App view's outputs if the file has any.
    """
    saving = [
        node_id
        for node_id, node in prompt.items()
        if object_info.get(node["class_type"], {}).get("output_node")
    ]
    chosen = [str(node_id) for node_id in sequence(linear_data(document).get("outputs"))]
    ids = [node_id for node_id in chosen if node_id in saving] or saving
    return {node_id: prompt[node_id]["_meta"]["title"] for node_id in ids}


def with_prefix(
    prompt: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], prefix: str
) -> dict[str, dict[str, Any]]:
    """The prompt with every save node writing under a prefix of this job's own. Pure."""
    renamed = {node_id: dict(node) for node_id, node in prompt.items()}
    for node_id, node in renamed.items():
        if isinstance(node["inputs"].get("filename_prefix"), str):
            name = slug(names.get(node_id, node_id))
            node["inputs"] = {**node["inputs"], "filename_prefix": f"{prefix}/{name}"}
    return renamed


def collect(
    saved: Sequence[Saved], names: Mapping[str, str], folders: Mapping[str, Path]
) -> tuple[OutputFile, ...]:
    """The declared outputs' files, each probed. `folders`: ComfyUI's output and temp folder.

    Raises OutputMissing if a declared output has no file, or one that cannot be played.
    """
    files: list[OutputFile] = []
    for node_id, name in names.items():
        own = [s for s in saved if s.node_id == node_id]
        kept = [s for s in own if s.type == "output"] or own  # a preview never stands for a file
        if not kept:
            raise OutputMissing(f"{name}: the node has saved no file", details={"output": name})
        for item in kept:
            path = _inside(folders[item.type], Path(item.subfolder) / item.filename)
            files.append(OutputFile(name, path, probe(path)))
    return tuple(files)


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
    """A text as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.").lower() or "output"


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


def _inside(folder: Path, relative: Path) -> Path:
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise OutputMissing(f"{relative} lies outside ComfyUI's folder")
    return path
