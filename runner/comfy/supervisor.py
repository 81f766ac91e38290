"""One prompt rendered on an engine: it ends, in the right state, whatever happens to the engine."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.comfy.client import ApiPrompt, Comfy, Message
from runner.comfy.engine import Engine
from runner.errors import (
    Canceled,
    EngineError,
    EngineUnavailable,
    PromptRejected,
    QueuedTooLong,
    RanTooLong,
    Stalled,
)
from runner.job import Job, Outcome

FREE_WITHIN = 2.0  # seconds for an engine to let a job go before it is started anew
_PROGRESS = ("execution_start", "execution_cached", "executing", "progress", "progress_state",
             "progress_text", "executed", "preview")  # fmt: skip


@dataclass(frozen=True)
class Deadlines:
    """How long a render may take, in seconds."""

    total: float = 6 * 3600.0  # from the wish to render to the end, a second attempt included
    queue: float = 3600.0  # until it starts
    stalled: float = 1800.0  # without a message; one node may work so long without a word


@dataclass(frozen=True)
class Order:
    """What is to be rendered."""

    job: Job
    prompt: ApiPrompt
    workflow: Mapping[str, Any]  # the UI JSON that travels in the outputs' metadata
    previews: bool = False


See = Callable[[Message, float], None]  # a message, or a tick, and the time


def render(
    order: Order,
    engine: Engine,
    *,
    deadlines: Deadlines,
    see: See,
    canceled: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Render, wait until it has ended, say what it left behind; one job at a time.

    If the engine dies or hangs, it is started anew and the job tried once more. Raises Canceled,
    a TimedOut, EngineUnavailable, PromptRejected, Interrupted, OutOfMemory, ExecutionFailed; then
    the engine is free, or given up so that the next job starts it anew.
    """
    watch = _Watch(deadlines, clock, canceled)
    with _turn(engine, watch):
        try:
            return _attempt(order, engine, watch, see)
        except EngineUnavailable as error:
            engine.give_up()
            watch.lost()
            see(Message("engine_lost", {"reason": error.message}), clock())
        try:
            return _attempt(order, engine, watch, see, again=True)
        except EngineUnavailable as error:
            log = engine.give_up()
            told = "" if log in error.message else f"; the end of its log:\n{log}"
            raise EngineUnavailable(
                f"{error.message}{told}\nThe job has been tried twice.", details={"attempts": 2}
            ) from error


def _attempt(
    order: Order, engine: Engine, watch: "_Watch", see: See, *, again: bool = False
) -> Outcome:
    comfy = engine.ready(watch.look)
    prompt_id = watch.prompt_id = watch.prompt_id or _new_prompt_id(order.job, comfy)
    try:
        messages = comfy.run(
            order.prompt,
            prompt_id=prompt_id,
            workflow=order.workflow,
            previews=order.previews,
            known=again,
        )
        for message in messages:
            watch.heard(message)
            see(message, watch.clock())
            watch.look()
    except KeyboardInterrupt:
        _let_go(engine, comfy, prompt_id)
        raise Canceled("the job was canceled") from None
    except (EngineUnavailable, PromptRejected):
        raise  # there is nothing to end
    except BaseException:  # a deadline, a cancel, or what `see` raises
        _let_go(engine, comfy, prompt_id)
        raise
    return comfy.outcome(prompt_id)


def _new_prompt_id(job: Job, comfy: Comfy) -> str:
    # The same job once more on this engine is another attempt, with a history of its own.
    attempts = map(job.prompt_id, itertools.count(1))
    return next(prompt_id for prompt_id in attempts if not comfy.knows(prompt_id))


def _let_go(engine: Engine, comfy: Comfy, prompt_id: str) -> None:
    """End the job in ComfyUI; an engine that does not let it go in time is given up."""
    end = time.monotonic() + FREE_WITHIN
    try:
        comfy.cancel(prompt_id)
        while comfy.busy_with(prompt_id):
            if time.monotonic() > end:
                raise EngineUnavailable("ComfyUI does not let the job go")
            time.sleep(0.05)  # it looks for an interruption between two steps
    except EngineError:
        engine.give_up()


@contextlib.contextmanager
def _turn(engine: Engine, watch: "_Watch") -> Generator[None]:
    while not engine.turn.acquire(timeout=0.1):
        watch.look()
    try:
        yield
    finally:
        engine.turn.release()


class _Watch:
    """The three deadlines and the caller's cancel, looked at between two messages."""

    def __init__(
        self, deadlines: Deadlines, clock: Callable[[], float], canceled: threading.Event
    ) -> None:
        self.clock = clock
        self.prompt_id = ""  # kept from one attempt to the next: a job may still run elsewhere
        self._deadlines, self._canceled = deadlines, canceled
        self._asked = clock()
        self._started = False
        self._moved: float | None = None  # when the last message came

    def heard(self, message: Message) -> None:
        if message.type in _PROGRESS:
            self._started, self._moved = True, self.clock()

    def lost(self) -> None:
        """The engine is started anew: that takes its time, and counts as no standstill."""
        self._moved = None

    def look(self) -> None:
        """Raises Canceled, RanTooLong, QueuedTooLong, Stalled."""
        if self._canceled.is_set():
            raise Canceled("the job was canceled")
        now, limits = self.clock(), self._deadlines
        if now - self._asked > limits.total:
            raise RanTooLong(
                f"the job has not ended within {limits.total:g} s",
                details={"limit": limits.total},
            )
        if not self._started and now - self._asked > limits.queue:
            raise QueuedTooLong(
                f"the job has not started within {limits.queue:g} s",
                details={"limit": limits.queue},
            )
        if self._moved is not None and now - self._moved > limits.stalled:
            raise Stalled(
                f"the job has made no progress for {limits.stalled:g} s",
                details={"limit": limits.stalled},
            )
