"""Requests that come from far away, run on one engine: each gets an answer, whatever happens to it."""

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from runner import workflow as workflows
from runner.comfy.engine import Engine
from runner.errors import Canceled, EngineError, EngineUnavailable, RunnerError
from runner.inputs import Access
from runner.job import Deadlines, Progress, Report, Result
from runner.jobs import Jobs
from runner.outputs import stem
from runner.request import check
from runner.run import Prepare
from runner.service import answers, requests
from runner.service.destinations import Destinations
from runner.service.inline import Inlined
from runner.service.log import Log
from runner.service.requests import Asked, Served
from runner.storage import Storage, open_storage


class InternalError(RunnerError):
    """A mistake of ours; the log has the details."""

    code = "internal_error"


@dataclass
class Ticket:
    """One request on its way; `job_id` is the job that it became."""

    id: str  # as whoever brings the request names it
    job_id: str | None = None
    workflow: str = ""  # name@version, once it is known
    canceled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Service:
    """Answers requests. May be used from many threads: their stages overlap, renders take turns."""

    engine: Engine
    folders: Sequence[Path]  # of released workflows
    destinations: Destinations = Destinations()  # noqa: RUF009 - frozen
    served: Served = Served()  # noqa: RUF009 - frozen
    access: Access = Access()  # noqa: RUF009 - frozen
    deadlines: Deadlines = Deadlines()  # noqa: RUF009 - frozen
    prepare: Prepare | None = None
    log: Log = field(default_factory=Log)
    open_at: Callable[..., Storage] = open_storage
    clock: Callable[[], float] = time.monotonic
    _jobs: Jobs = field(default_factory=Jobs)
    _waiting: dict[str, list[Ticket]] = field(default_factory=dict[str, list[Ticket]])  # by job id
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(
        self, ticket: Ticket, request: object, report: Report = lambda _: None
    ) -> dict[str, Any]:
        """The answer as JSON; `error` is a text of JSON, beside `refresh_worker` if the engine is lost.

        Raises nothing.
        """
        start = self.clock()
        self.log("job_taken", job=ticket.id)
        try:
            asked = requests.read(
                request, given_id=ticket.id, now=datetime.now(), served=self.served
            )
            if asked.old is not None:
                self.log("old_request", job=ticket.id, service=asked.old.service,
                         workflow=asked.old.workflow)  # fmt: skip
            result, texts = self._run(ticket, asked, self._told(ticket, report))
            said = answers.output(asked, result, texts)
        except Exception as error:  # noqa: BLE001 - every request gets an answer
            return self._failed(ticket, error, self.clock() - start)
        self.log(
            "job_succeeded",
            job=ticket.id,
            job_id=asked.job.id,
            workflow=result.workflow,
            seconds=round(self.clock() - start, 3),
            stages=result.timings,
            bytes=sum(artifact.bytes for artifact in result.artifacts),
            notes=result.notes,
        )
        return said

    def cancel(self, ticket: Ticket) -> bool:
        """End a request. False: its job goes on, because others wait for it, too."""
        ticket.canceled.set()
        job_id = ticket.job_id
        if job_id is not None:
            with self._lock:
                waiting = self._waiting.get(job_id, [])
                if any(other is not ticket and not other.canceled.is_set() for other in waiting):
                    return False
            self._jobs.cancel(job_id)
        return True

    def _run(
        self, ticket: Ticket, asked: Asked, report: Report
    ) -> tuple[Result, Mapping[str, str]]:
        found = workflows.find(asked.job.workflow, self.folders)
        ticket.workflow = found.reference
        ready = check(asked.job, found)
        storage = self.destinations.open(asked, open_at=self.open_at)
        inlined = Inlined(storage, f"{stem(asked.job.id)}.json") if asked.inline else None
        with self._lock:
            ticket.job_id = asked.job.id
            self._waiting.setdefault(asked.job.id, []).append(ticket)
        try:
            if ticket.canceled.is_set():
                raise Canceled("the job was canceled")
            result = self._jobs.run(
                ready,
                engine=self.engine,
                storage=inlined or storage,  # pyright: ignore[reportArgumentType] - one of them is
                report=report,
                prepare=self.prepare,
                access=self.access,
                deadlines=self.deadlines,
            )
        finally:
            with self._lock:
                left = [t for t in self._waiting.pop(asked.job.id) if t is not ticket]
                if left:
                    self._waiting[asked.job.id] = left
        return result, inlined.texts if inlined else {}

    def _told(self, ticket: Ticket, report: Report) -> Report:
        stages: list[str] = [""]

        def told(progress: Progress) -> None:
            if progress.stage != stages[-1]:
                stages[:] = [progress.stage]
                self.log("job_stage", job=ticket.id, stage=progress.stage)
            report(progress)

        return told

    def _failed(self, ticket: Ticket, error: Exception, seconds: float) -> dict[str, Any]:
        known = error if isinstance(error, RunnerError) else _internal(error)
        details: dict[str, Any] = {"message": known.message}
        if known is not error:
            details["traceback"] = "".join(traceback.format_exception(error))
        event = "job_canceled" if isinstance(known, Canceled) else "job_failed"
        self.log(
            event,
            job=ticket.id,
            workflow=ticket.workflow,
            code=known.code,
            seconds=round(seconds, 3),
            **details,
        )
        answer: dict[str, Any] = {"error": answers.error_text(known, self.log.secrets)}
        if isinstance(error, EngineUnavailable) and not self._healed(ticket):
            answer["refresh_worker"] = True
        return answer

    def _healed(self, ticket: Ticket) -> bool:
        """Whether the engine can work for the next job; it is started anew if need be."""
        try:
            self.engine.ready()
        except EngineError as error:
            self.log("engine_lost", job=ticket.id, code=error.code, message=error.message)
            return False
        return True


def _internal(error: Exception) -> InternalError:
    return InternalError(
        f"an unexpected {type(error).__name__}: a mistake in callsheet; the worker's log tells more"
    )
