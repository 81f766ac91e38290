"""Outputs that could not be stored: kept on this machine, with all it takes to send them later."""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from runner.errors import RequestError, StorageError
from runner.job import Artifact, OutputFile, Probe, Result
from runner.outputs import stem
from runner.shape import mapping, sequence
from runner.storage import Destination, Storage, destination_of, sha256

NOTE = "kept.json"


@dataclass(frozen=True)
class Pending:
    """A file that waits in the folder."""

    name: str  # the output's
    file: str
    index: int  # its place among the job's outputs, from 0
    bytes: int
    sha256: str
    probe: Probe


@dataclass(frozen=True)
class Kept:
    """A job's folder: its result with what is stored already, and what is not."""

    folder: Path
    result: Result
    pending: tuple[Pending, ...]
    destination: Destination | None  # where it was to be stored, as far as that is known
    done: bool = False  # everything is stored, the result too

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.pending)


def keep(
    files: Sequence[OutputFile],
    names: Sequence[str],
    *,
    result: Result,
    storage: Storage,
    folder: Path,
) -> Path:
    """Put files aside under their names: rendering again may cost an hour.

    `result` has the artifacts that are stored already. Raises StorageError.
    """
    first = len(result.artifacts)
    pending: list[Pending] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for index, (file, name) in enumerate(zip(files, names, strict=True)):
            size, digest = file.path.stat().st_size, sha256(file.path)
            shutil.move(file.path, folder / name)
            pending.append(Pending(file.name, name, first + index, size, digest, file.probe))
        _write(Kept(folder, result, tuple(pending), destination_of(storage)))
    except OSError as error:
        raise StorageError(f"outputs cannot be kept in {folder}: {error.strerror}") from error
    return folder


def told(error: StorageError, folder: Path) -> StorageError:
    """The same error, which says where the outputs are."""
    return type(error)(
        f"{error.message}; the outputs are kept in {folder}",
        details={**error.details, "kept": str(folder)},
    )


def find(job: str, unstored: Path) -> Kept:
    """What is kept of a job, by its id or by the folder. Raises RequestError."""
    folder = Path(job) if (Path(job) / NOTE).is_file() else unstored / stem(job)
    if not (folder / NOTE).is_file():
        known = ", ".join(kept.result.job_id for kept in waiting(unstored)) or "nothing"
        raise RequestError(
            f"nothing is kept of {job}: there is no {folder / NOTE}; {known} waits to be stored"
        )
    return _read(folder)


def waiting(unstored: Path) -> tuple[Kept, ...]:
    """The jobs that wait to be stored, oldest first."""
    notes = sorted(unstored.glob(f"*/{NOTE}"), key=lambda note: note.stat().st_mtime)
    return tuple(kept for note in notes for kept in _readable(note.parent) if not kept.done)


def send(folder: Path, storage: Storage) -> Result:
    """Store what waits in a job's folder, then its result; the folder keeps the result only.

    A job that is stored already gives its result; broken off, it goes on where it has ended.
    Raises StorageError, which says where the outputs are; RequestError.
    """
    with FileLock(folder / ".lock"):
        kept = _read(folder)
        if kept.done:
            return kept.result
        try:
            storage.require_writable()
            for file in kept.pending:
                kept = _sent(kept, file, storage)
            _send_result(kept.result, storage, folder)
        except StorageError as error:
            raise told(error, folder) from error
        kept = dataclasses.replace(kept, done=True)
        _write(kept)
        return kept.result


def _sent(kept: Kept, file: Pending, storage: Storage) -> Kept:
    """With one file more stored; it is removed only when the note says so, too."""
    path = kept.folder / file.file
    if not path.is_file():
        raise StorageError(f"{path} is not there any more")
    if sha256(path) != file.sha256:
        raise StorageError(f"{path} is not the file that was kept: it has changed since")
    extra = path.with_name(f".sending-{file.file}")
    extra.unlink(missing_ok=True)
    try:
        os.link(path, extra)  # storing may move the file
        sending = extra
    except OSError:  # not on every file system
        sending = path
    fields: dict[str, str | int] = {
        "job_id": kept.result.job_id,
        "output": file.name,
        "index": file.index,
    }
    try:
        location = storage.put(sending, file.file, fields)
    finally:
        extra.unlink(missing_ok=True)
    artifact = Artifact(file.name, location, file.bytes, file.sha256, file.probe, file.file)
    result = dataclasses.replace(kept.result, artifacts=(*kept.result.artifacts, artifact))
    left = tuple(other for other in kept.pending if other != file)
    now = dataclasses.replace(kept, result=result, pending=left)
    _write(now)
    path.unlink(missing_ok=True)
    return now


def _send_result(result: Result, storage: Storage, folder: Path) -> None:
    file = folder / f"{stem(result.job_id)}.json"
    file.write_text(json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    storage.put(file, file.name, {"job_id": result.job_id})


def _write(kept: Kept) -> None:
    """Whole or not at all."""
    said = {
        "result": kept.result.to_dict(),
        "pending": [asdict(file) for file in kept.pending],
        "destination": asdict(kept.destination) if kept.destination else None,
        "done": kept.done,
    }
    part = kept.folder / f".{NOTE}.part"
    part.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", "utf-8")
    part.replace(kept.folder / NOTE)


def _read(folder: Path) -> Kept:
    try:
        said = mapping(json.loads((folder / NOTE).read_text("utf-8")))
        pending = tuple(_pending(mapping(file)) for file in sequence(said["pending"]))
        to: Any = said.get("destination")
        return Kept(
            folder,
            Result.from_dict(mapping(said["result"])),
            pending,
            Destination(**to) if to else None,
            bool(said.get("done")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{folder / NOTE} is not what this version writes: {error}") from error


def _readable(folder: Path) -> Iterator[Kept]:
    with contextlib.suppress(RequestError):
        yield _read(folder)


def _pending(said: Mapping[str, Any]) -> Pending:
    if Path(str(said["file"])).name != said["file"]:
        raise ValueError(f"{said['file']!r} is no file of the folder")
    probe: Any = Probe(**said["probe"])
    return Pending(**{**said, "probe": probe})
