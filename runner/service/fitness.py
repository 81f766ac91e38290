"""What must be true of a machine before it takes a job; each check says what is wrong and what to do."""

import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error

from runner import models, parameters
from runner import workflow as workflows
from runner.comfy.engine import Engine
from runner.errors import EngineUnavailable, RunnerError, StorageError
from runner.graph import to_api
from runner.graph.prune import drop_decided, with_values
from runner.job import Job
from runner.request import check as check_request
from runner.service import compatibility
from runner.service.compatibility import SERVICES
from runner.service.destinations import Destinations
from runner.service.requests import Asked, Served
from runner.shape import mapping, sequence
from runner.storage import Storage, open_storage
from runner.workflow import Workflow


@dataclass(frozen=True)
class Check:
    """`do` returns what it has found, and raises RunnerError if the machine cannot serve."""

    name: str
    do: Callable[[], str]


def disk(folder: Path, least: int) -> str:
    free = shutil.disk_usage(folder).free
    if free < least:
        raise RunnerError(
            f"{folder} has {free / 1e9:.1f} GB free; {least / 1e9:g} GB are needed "
            "(CALLSHEET_MIN_FREE_GB), for inputs and outputs on their way"
        )
    return f"{free / 1e9:.0f} GB free in {folder}"


def media() -> str:
    """ffmpeg's libraries write and read what workflows save: H.264 and AAC in MP4."""
    try:
        pictures = _read(_written())
    except (av.error.FFmpegError, ValueError, OSError, IndexError) as error:
        raise RunnerError(
            f"ffmpeg's libraries cannot write and read an MP4 of H.264 and AAC: {error}; "
            "install PyAV's own wheel (pip install --force-reinstall av)"
        ) from error
    if pictures != _PICTURES:
        raise RunnerError(f"ffmpeg's libraries read {pictures} of {_PICTURES} pictures of an MP4")
    return f"H.264, AAC and MP4 by ffmpeg {av.ffmpeg_version_info}"


_PICTURES = 10  # of the MP4 that is tried


def _written() -> io.BytesIO:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        _fill(container)
    file.seek(0)
    return file


def _fill(container: Any) -> None:
    video = container.add_stream("h264", rate=_PICTURES)
    video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
    audio = container.add_stream("aac", rate=16000)
    for _ in range(_PICTURES):
        container.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
    sound = av.AudioFrame("fltp", "mono", 16000)
    sound.sample_rate = 16000
    sound.planes[0].update(
        bytes(sound.planes[0].buffer_size)
    )  # what is there by chance may be no number
    container.mux(audio.encode(sound))
    container.mux([*video.encode(), *audio.encode()])


def _read(file: io.BytesIO) -> int:
    container: Any
    with av.open(file) as container:
        return sum(isinstance(frame, av.VideoFrame) for frame in container.decode())


def storage(
    destinations: Destinations,
    services: Sequence[str] = SERVICES,
    open_at: Callable[..., Storage] = open_storage,
) -> str:
    """Each place that outputs may go to by default can be written."""
    places = _places(destinations, services)
    for place, asked in places.items():
        try:
            destinations.open(asked, open_at=open_at).require_writable()  # pyright: ignore[reportOptionalMemberAccess] - it has a place
        except RunnerError as error:
            raise StorageError(f"outputs cannot be stored in {place}: {error.message}") from error
    return ", ".join(places) or "none: only small outputs, in the answer"


def gpu(engine: Engine, *, cpu_allowed: bool) -> str:
    """What ComfyUI itself computes on."""
    devices = sequence(engine.ready().system_stats().get("devices"))
    device = mapping(next(iter(devices), None))
    if device.get("type") in (None, "cpu") and not cpu_allowed:
        raise EngineUnavailable(
            "ComfyUI sees no GPU; for a machine without one, CALLSHEET_CPU=1 allows the CPU"
        )
    return str(device.get("name") or device.get("type"))


def model_files(engine: Engine, folders: Sequence[Path], served: Served) -> str:
    """The models of what is served are there.

    Of workflows that nobody has named, one is enough: the others are listed as not served.
    """
    found = [workflows.find(name, folders) for name in served.workflows]
    found = found or list(workflows.released(folders))
    definitions = engine.ready().object_info()
    missing = {workflow.reference: _missing(workflow, definitions) for workflow in found}
    lacking = {name: error for name, error in missing.items() if error is not None}
    if lacking and (served.workflows or len(lacking) == len(found)):
        words = "\n".join(f"{name}: {error.message}" for name, error in lacking.items())
        raise RunnerError(words, details={"workflows": list(lacking)})
    good = ", ".join(name for name in missing if name not in lacking)
    bad = ", ".join(lacking)
    return f"{good}{f'; without their models: {bad}' if bad else ''}"


def _places(destinations: Destinations, services: Sequence[str]) -> dict[str, Asked]:
    job = Job("fitness", "")
    fields = {"job_id": "fitness", "stamp": "0"}
    asked = [Asked(job, fields={**fields, **_example_fields(services)})]
    if destinations.default is None:
        asked = [
            Asked(job, fields={**fields, **_example_fields(services)}, old=old)
            for old in compatibility.TABLE
            if old.service in services
        ]
    found = ((destinations.of(one), one) for one in asked)
    return {place: one for place, one in found if place is not None}


def _example_fields(services: Sequence[str]) -> dict[str, Any]:
    tables = (old.destination for old in compatibility.TABLE if old.service in services)
    return {name: 0 for table in tables for name in table}


def _missing(workflow: Workflow, definitions: Mapping[str, Any]) -> RunnerError | None:
    """What the workflow lacks to run as it is by default."""
    found = parameters.read(workflow.document)
    schema = parameters.schema(found, name=workflow.reference, description="")
    try:
        ready = check_request(Job("fitness", workflow.reference, _least(schema)), workflow)
        prompt = drop_decided(with_values(to_api(ready.document, definitions)), definitions)
        models.require(prompt, definitions, ready.document)
    except RunnerError as error:
        return error
    return None


def _least(schema: Mapping[str, Any]) -> Any:
    """The smallest value that a schema of a parameter takes. Pure."""
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type")
    match next(iter(sequence(kinds)), kinds):
        case "object":
            return dict(_members(schema))
        case "array":
            return [_least(mapping(schema.get("items")))] * max(0, int(schema.get("minItems", 0)))
        case "integer" | "number":
            return schema.get("default", schema.get("minimum", 0))
        case "boolean":
            return False
        case _:
            return "x" * max(1, int(schema.get("minLength", 1)))


def _members(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    properties = mapping(schema.get("properties"))
    for name in sequence(schema.get("required")):
        yield name, _least(mapping(properties.get(name)))
