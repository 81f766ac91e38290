"""The jobs of one process by their ids: joined while they run, never rendered twice, canceled."""

import dataclasses
import json
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.comfy.engine import Engine
from runner.errors import JobConflict, StorageError
from runner.job import Artifact, Progress, Report, Result
from runner.outputs import stem
from runner.request import Ready
from runner.run import fingerprint, run
from runner.storage import Storage
from runner.storage.naming import Fields


@dataclass
class _Running:
    request: str
    storage: Storage
    canceled: threading.Event = field(default_factory=threading.Event)
    result: Future[Result] = field(default_factory=Future[Result])
    reports: list[Report] = field(default_factory=list[Report])

    def report(self, progress: Progress) -> None:
        for report in list(self.reports):
            report(progress)


class Jobs:
    """Runs jobs. May be used from many threads; each engine still renders one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}

    def run(
        self,
        ready: Ready,
        *,
        engine: Engine,
        storage: Storage,
        report: Report = lambda _: None,
        **how: Any,
    ) -> Result:
        """As `runner.run.run`, but once: the same request under the same id gets the same result.

        While it runs, the caller joins it; a stored result is returned. Raises JobConflict if the
        id belongs to another request, and what `run` raises.
        """
        request = fingerprint(ready, rehearsal=how.get("prepare") is not None)
        own = _Running(request, storage, reports=[report])
        with self._lock:
            running = self._running.setdefault(ready.job.id, own)
        if running is not own:
            _require_same(ready, running.request, request)
            running.reports.append(report)
            result = running.result.result()
            if storage is running.storage:
                return result
            # Found by this caller's storage: its own addresses, and the bytes for its own answer.
            return _still_there(result, storage) or result
        try:
            result = stored(ready, storage, request) or run(
                ready,
                engine=engine,
                storage=storage,
                report=own.report,
                canceled=own.canceled,
                **how,
            )
        except BaseException as error:
            own.result.set_exception(error)
            raise
        else:
            own.result.set_result(result)
            return result
        finally:
            with self._lock:
                del self._running[ready.job.id]

    def cancel(self, job_id: str) -> bool:
        """End a job, whatever it is at; whether there was one. Those who wait for it get Canceled."""
        with self._lock:
            running = self._running.get(job_id)
        if running is not None:
            running.canceled.set()
        return running is not None


def stored(ready: Ready, storage: Storage, request: str) -> Result | None:
    """The result of a job that has succeeded before, if its files are still there.

    Raises JobConflict if it was another request, StorageError.
    """
    fields: Fields = {"job_id": ready.job.id}
    try:
        text = storage.read(f"{stem(ready.job.id)}.json", fields)
    except StorageError as error:
        if error.retryable:
            raise
        text = None  # credentials that may only write: nothing can be told
    if text is None:
        return None
    try:
        result = Result.from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise JobConflict(
            f"{stem(ready.job.id)}.json is in the storage, but is no result of this version; "
            "take another job id or remove it"
        ) from error
    _require_same(ready, result.request, request)
    return _still_there(result, storage)


def _still_there(result: Result, storage: Storage) -> Result | None:
    """The result with addresses that are good now, or None if one of its files is gone or another."""
    found: list[Artifact] = []
    for index, artifact in enumerate(result.artifacts):
        fields: Fields = {
            **result.moments,
            "job_id": result.job_id,
            "output": artifact.name,
            "index": index,
        }
        name = artifact.file or Path(artifact.location).name
        location = storage.find(name, artifact.bytes, fields)
        if location is None:
            return None
        found.append(dataclasses.replace(artifact, location=location))
    return dataclasses.replace(result, artifacts=tuple(found))


def _require_same(ready: Ready, known: str, request: str) -> None:
    if known != request:
        raise JobConflict(
            f"the job id {ready.job.id} belongs to another request; take another id",
            details={"job_id": ready.job.id},
        )
