"""What a worker does ahead of its first job: reads model files while ComfyUI starts, and loads their weights."""

import base64
import contextlib
import io
import os
import tempfile
import threading
import time
import wave
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from runner import parameters
from runner.comfy.engine import Engine
from runner.errors import RunnerError
from runner.job import Job
from runner.modelfiles import finding
from runner.parameters import Parameter
from runner.request import check
from runner.run import Prepare, run
from runner.service.log import Log
from runner.storage import open_storage
from runner.volumes import Place
from runner.workflow import Workflow

PIECE = 16 << 20  # bytes at once; a network volume is slow in small ones
SHARE = 0.7  # of the free memory that model files may fill
READERS = 4


@dataclass(frozen=True)
class Warming:
    """What is done for the first job of each of some workflows."""

    workflows: Callable[[], Sequence[Workflow]]  # raises RunnerError where one is not there
    log: Log

    @contextlib.contextmanager
    def reading(self, places: Sequence[Place]) -> Generator[None]:
        """Read the workflows' model files in a thread, until all are read or it is left."""
        enough = threading.Event()
        reader = threading.Thread(target=self._read, args=(places, enough), name="read-ahead")
        reader.start()
        try:
            yield
        finally:
            enough.set()
            reader.join()

    def load(self, engine: Engine, prepare: Prepare | None = None) -> str:
        """Render a small job of each workflow. One that fails says so in the log, and its callers' jobs will."""
        done: list[str] = []
        with tempfile.TemporaryDirectory() as folder:
            for workflow in self.workflows():
                start = time.monotonic()
                job = Job(f"warm-up-{workflow.name}", workflow.reference, small_request(workflow))
                try:
                    ready = check(job, workflow)
                    run(ready, engine=engine, storage=open_storage(folder), prepare=prepare)
                except RunnerError as error:
                    said = {"code": error.code, "message": error.message}
                    self.log("warm_up_failed", workflow=workflow.reference, **said)
                    continue
                done.append(f"{workflow.reference} in {time.monotonic() - start:.1f} s")
        return ", ".join(done)

    def _read(self, places: Sequence[Place], enough: threading.Event) -> None:
        start = time.monotonic()
        try:
            found = finding.find(finding.wanted(self.workflows()), places)
        except (RunnerError, OSError) as error:  # the checks tell of it
            self.log("models_not_read", message=str(error))
            return
        files = [model.path for model in found if model.path is not None]
        done = read_ahead(files, room=int(SHARE * free_memory()), enough=enough)
        seconds = round(time.monotonic() - start, 3)
        self.log("models_read", files=len(files), bytes=done, seconds=seconds)


def read_ahead(files: Sequence[Path], *, room: int, enough: threading.Event | None = None) -> int:
    """Read files into the page cache, the first ones first, up to `room` bytes; returns the bytes read.

    `enough` ends it. A file that cannot be read is left to the loader, which says why.
    """
    ended = enough or threading.Event()
    pieces: list[tuple[Path, int]] = []
    for file in files:
        size = file.stat().st_size if file.is_file() else 0
        if size <= room:
            pieces += [(file, start) for start in range(0, size, PIECE)]
            room -= size
    with ThreadPoolExecutor(READERS, "read-ahead") as pool:
        return sum(pool.map(partial(_read, enough=ended), pieces))


def _read(piece: tuple[Path, int], enough: threading.Event) -> int:
    """The threads work on neighbouring pieces: a network volume is slow in one stream."""
    file, start = piece
    if enough.is_set():
        return 0
    try:
        with file.open("rb", buffering=0) as stream:
            return len(os.pread(stream.fileno(), PIECE, start))
    except OSError:
        return 0


def free_memory(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int:
    """Bytes that can still be used, by this machine or this container, whichever is less."""
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = (_number(cgroup / name) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else max(0, min(free, limit - used))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # not there; or "max": no limit
        return None


def small_request(workflow: Workflow) -> dict[str, Any]:
    """Parameters of the cheapest job that loads the workflow's weights. Pure."""
    return {
        found.name: value
        for found in parameters.read(workflow.document)
        if (value := _small(found)) is not None
    }


def _small(found: Parameter) -> Any:
    """The least that a parameter takes; None leaves it to its default."""
    limits = found.limits
    if found.kind in _MEDIA:
        return _MEDIA[found.kind]() if found.required else None
    if found.kind == "keyframes":
        return [{"image_url": _picture()}] if found.required else None
    if found.kind == "speakers":
        return [{"audio_url": _sound()}] if found.required else None
    if found.kind == "text":
        return "a calm sea" if found.required else None
    if found.kind in ("integer", "number") and found.name in _COSTLY:
        return limits.get("minimum")
    return None


# What a render's cost grows with, by the names that workflows give it.
_COSTLY = frozenset({"width", "height", "duration", "num_frames", "steps"})


def _picture() -> str:
    stream = io.BytesIO()
    Image.new("RGB", (256, 256), (90, 120, 160)).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _sound() -> str:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        sound.writeframes(b"\0\0" * 16000)
    return f"data:audio/wav;base64,{base64.b64encode(stream.getvalue()).decode()}"


_MEDIA: Mapping[str, Callable[[], str]] = {"image": _picture, "audio": _sound}
