"""Where RunPod's loop hands in jobs and gets answers: cancel and leaving included."""

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from runner.job import Report
from runner.service.log import Log
from runner.service.service import Service, Ticket

_CANCEL_AGAIN = 0.2  # seconds; a job that is between two stages hears of it in the next
_SETTLED = 0.5  # seconds without a job, after which a worker that drains leaves


@dataclass
class Desk:
    """Hands jobs to the service, each in a thread of the pool."""

    service: Callable[[], Service]  # made when the first job comes: the engine is there then
    pool: ThreadPoolExecutor
    in_flight: int
    log: Log
    taken: Callable[[], Sequence[str]]  # the ids of the jobs that the loop holds
    telling: Callable[[dict[str, Any]], AbstractAsyncContextManager[Report]]  # of a job's progress
    _service: Service | None = None
    _started: set[str] = field(default_factory=set[str])
    _watched: bool = False
    draining: bool = False

    def concurrency(self, _: int) -> int:
        """Called in RunPod's loop before it takes jobs."""
        if not self._watched:
            self._watched = True
            self._leave_on_sigterm(asyncio.get_running_loop())
        return self.in_flight

    async def handle(self, job: dict[str, Any]) -> dict[str, Any]:
        """One job. When RunPod ends it, it is ended in ComfyUI before its place is given away."""
        self._service = service = self._service or self.service()
        ticket = Ticket(str(job["id"]))
        self._started = {ticket.id, *self._unanswered()}
        loop = asyncio.get_running_loop()
        async with self.telling(job) as tell:
            work = loop.run_in_executor(self.pool, service.answer, ticket, job.get("input"), tell)
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                self.log("job_stopped_by_runpod", job=ticket.id)
                while not work.done() and service.cancel(ticket):
                    await asyncio.wait({work}, timeout=_CANCEL_AGAIN)
                raise

    def _unanswered(self) -> set[str]:
        """The jobs that have been started and whose answers have not been sent yet."""
        self._started &= set(self.taken())
        return self._started

    def _leave_on_sigterm(self, loop: asyncio.AbstractEventLoop) -> None:
        """RunPod's loop stops taking jobs and finishes those it has, but then waits for its last poll."""
        for number in (signal.SIGTERM, signal.SIGINT):
            before: Any = signal.getsignal(number)

            def leave(signum: int, frame: Any, before: Any = before) -> None:
                self.draining = True
                loop.call_soon_threadsafe(
                    self._tell_draining
                )  # the log's lock may be held right here
                before(signum, frame)
                loop.call_soon_threadsafe(lambda: loop.create_task(self._leave()))

            signal.signal(number, leave)

    def _tell_draining(self) -> None:
        self.log("draining", jobs=sorted(self._unanswered()))

    async def _leave(self) -> None:
        quiet = 0.0
        while quiet < _SETTLED:
            await asyncio.sleep(0.1)
            quiet = 0.0 if self._unanswered() else quiet + 0.1
        asyncio.get_running_loop().call_soon(sys.exit, 0)
