"""A job's progress on its way to RunPod: in order, one update at a time, none after the answer."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from runner.job import Progress

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
_WITHIN = 10.0  # seconds for one update; one that is lost is made good by the next


class Teller:
    """Sends the newest progress every so many seconds, from within the loop that opens it.

    `line` opens what sends; without it nobody is told.
    """

    def __init__(self, line: AbstractAsyncContextManager[Send] | None, every: float) -> None:
        self._line, self._every = line, every
        self._loop = asyncio.get_running_loop()
        self._latest: Progress | None = None
        self._new = asyncio.Event()
        self._sending = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Callable[[Progress], None]:
        """What takes the job's progress, in any thread."""
        if self._line is not None:
            self._task = self._loop.create_task(self._tell(self._line))
        return self._heard

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            with contextlib.suppress(TimeoutError):  # what is on its way arrives before the answer
                await asyncio.wait_for(self._sending.acquire(), _WITHIN)
            self._task.cancel()

    def _heard(self, progress: Progress) -> None:
        self._latest = progress
        with contextlib.suppress(RuntimeError):  # the loop has ended before the job
            self._loop.call_soon_threadsafe(self._new.set)

    async def _tell(self, line: AbstractAsyncContextManager[Send]) -> None:
        async with line as send:
            while True:
                await self._new.wait()
                self._new.clear()
                async with self._sending:
                    assert self._latest is not None
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(send(shown(self._latest)), _WITHIN)
                await asyncio.sleep(self._every)


def shown(progress: Progress) -> dict[str, Any]:
    """A progress as JSON, without what is not known. Pure."""
    said = {
        "progress": round(progress.fraction, 4),
        "stage": progress.stage,
        "step": progress.step,
        "steps": progress.steps,
        "eta": None if progress.eta is None else round(progress.eta, 1),
    }
    return {name: value for name, value in said.items() if value is not None}
