"""One prompt rendered on an engine: it ends, in the right state, whatever happens to the engine."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.comfy import waiting
from runner.comfy.client import TICK, ApiPrompt, Comfy, Message
from runner.comfy.engine import Engine
from runner.errors import (
    Canceled,
    DiskFull,
    EngineError,
    EngineUnavailable,
    ExecutionFailed,
    Interrupted,
    OutOfMemory,
    PromptRejected,
    QueuedTooLong,
    RanTooLong,
    Stalled,
)
from runner.job import Deadlines, Job, Outcome

FREE_WITHIN = 2.0  # seconds for an engine to let a job go before it is started anew
SHORTEST = 0.1  # seconds for an answer, at least
_PROGRESS = ("execution_start", "execution_cached", "executing", "progress", "progress_state",
             "progress_text", "executed", "preview")  # fmt: skip


@dataclass(frozen=True)
class Order:
    """What is to be rendered."""

    job: Job
    prompt: ApiPrompt
    workflow: Mapping[str, Any]  # the UI JSON that travels in the outputs' metadata
    previews: bool = False
    thriftier: bool = False  # there is another way: where memory was full, this one is not repeated


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

    If the engine dies, hangs or makes no progress, it is started anew and the job tried once more.
    Raises Canceled, a TimedOut, EngineUnavailable, PromptRejected, Interrupted, OutOfMemory,
    DiskFull, ExecutionFailed; then the engine is free, or given up so that the next job starts it anew.
    """
    watch = _Watch(deadlines, clock, canceled)
    with _turn(engine, watch, see):
        try:
            return _attempt(order, engine, watch, see)
        except (EngineUnavailable, Stalled) as error:
            _require_another_try(error, order, engine)
            watch.lost(same_job=isinstance(error, EngineUnavailable))
            see(Message("engine_lost", {"reason": error.message}), clock())
        try:
            return _attempt(order, engine, watch, see, again=True)
        except (EngineUnavailable, Stalled) as error:
            raise _failed_twice(error, engine) from error


def _require_another_try(error: EngineError, order: Order, engine: Engine) -> None:
    """Another one may go better, but not where it would end as the first did."""
    if order.thriftier:
        _require_memory(error, engine)
    if isinstance(error, Stalled) and error.details.get("held"):
        raise error


def _failed_twice(error: EngineError, engine: Engine) -> EngineError:
    _require_memory(error, engine)
    log = engine.last_words()
    told = "" if log in error.message else f"; the end of its log:\n{log}"
    kind = Stalled if isinstance(error, Stalled) else EngineUnavailable
    return kind(
        f"{error.message}{told}\nThe job has been tried twice.",
        details={**error.details, "attempts": 2},
    )


def _require_memory(error: EngineError, engine: Engine) -> None:
    """Raises OutOfMemory if that is why the engine is gone."""
    full = engine.shortage()
    if full is not None:
        raise OutOfMemory(error.message, details=dict(full)) from error


def _attempt(
    order: Order, engine: Engine, watch: "_Watch", see: See, *, again: bool = False
) -> Outcome:
    comfy = engine.ready(watch.look)
    try:
        with waiting.watched(watch.look):
            prompt_id = watch.prompt_id = watch.prompt_id or _new_prompt_id(order.job, comfy)
            for message in comfy.run(
                order.prompt,
                prompt_id=prompt_id,
                workflow=order.workflow,
                previews=order.previews,
                known=again,
            ):
                watch.heard(message)
                see(message, watch.clock())
                watch.look()
            return comfy.outcome(prompt_id)
    except KeyboardInterrupt:
        _let_go(engine, comfy, watch.prompt_id)
        raise Canceled("the job was canceled") from None
    except Stalled as error:
        raise _unstuck(error, engine, comfy, watch.prompt_id) from error
    except OutOfMemory as error:
        if error.details.get("memory") == "main":
            error.details = {**engine.main_memory(), **error.details}
        raise
    except EngineUnavailable:
        engine.give_up(comfy)
        raise
    except (Interrupted, ExecutionFailed, DiskFull):
        raise  # it has ended
    except PromptRejected as error:
        if error.details.get("nodes"):  # without them, ComfyUI may have begun
            _let_go(engine, comfy, watch.prompt_id)
        raise
    except BaseException:  # a deadline, a cancel, InvalidParameters by its nodes, what `see` raises
        _let_go(engine, comfy, watch.prompt_id)
        raise


def _new_prompt_id(job: Job, comfy: Comfy) -> str:
    # The same job once more on this engine is another attempt, with a history of its own.
    attempts = map(job.prompt_id, itertools.count(1))
    return next(prompt_id for prompt_id in attempts if not comfy.knows(prompt_id))


def _unstuck(error: Stalled, engine: Engine, comfy: Comfy, prompt_id: str) -> Stalled:
    """The engine is rid of the job: ended if it is ours, asked if it is not.

    The error's `held` says that it has kept the job: nothing can be rendered there.
    """
    if engine.ours:
        engine.give_up(comfy)
        return error
    free = _let_go(engine, comfy, prompt_id)
    more = "" if free else "; the ComfyUI elsewhere does not let it go, and is not ours to end"
    details = error.details if free else {**error.details, "held": True}
    return Stalled(f"{error.message}{more}", details=details)


def _let_go(engine: Engine, comfy: Comfy, prompt_id: str) -> bool:
    """End the job in ComfyUI; an engine that does not let it go in time is given up."""
    if not prompt_id:
        return True  # it has not come there yet
    end = time.monotonic() + FREE_WITHIN

    def left() -> float:
        return max(SHORTEST, end - time.monotonic())

    with waiting.unwatched():
        try:
            comfy.cancel(prompt_id, within=left())
            while comfy.busy_with(prompt_id, within=left()):
                if time.monotonic() > end:
                    raise EngineUnavailable("ComfyUI does not let the job go")
                waiting.pause(0.05)  # it looks for an interruption between two steps
                comfy.cancel(prompt_id, within=left())  # it may have come into the queue only now
        except EngineError:
            engine.give_up(comfy)
            return False
        comfy.forget(prompt_id)
        return True


@contextlib.contextmanager
def _turn(engine: Engine, watch: "_Watch", see: See) -> Generator[None]:
    with waiting.watched(watch.look):
        while not engine.turn.acquire(timeout=waiting.TICK):
            waiting.look()
            see(TICK, watch.clock())  # it is queued, and the caller learns of it
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
        self._queued: float | None = self._asked  # when it came into the queue
        self._started = False
        self._moved: float | None = None  # when the last message came

    def heard(self, message: Message) -> None:
        if self._queued is None:
            self._queued = self.clock()
        if message.type in _PROGRESS:
            self._started, self._moved = True, self.clock()

    def lost(self, *, same_job: bool) -> None:
        """The engine is started anew: that takes its time, and counts as no standstill or queue.

        `same_job`: it may still be there, in a ComfyUI elsewhere that only could not be reached.
        """
        self._started, self._queued, self._moved = False, None, None
        self.prompt_id = self.prompt_id if same_job else ""

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
        queued = now if self._queued is None else self._queued
        if not self._started and now - queued > limits.queue:
            raise QueuedTooLong(
                f"the job has not started within {limits.queue:g} s",
                details={"limit": limits.queue},
            )
        if self._moved is not None and now - self._moved > limits.stalled:
            raise Stalled(
                f"the job has made no progress for {limits.stalled:g} s",
                details={"limit": limits.stalled},
            )
