"""The path of a job, from request to result."""

import contextlib
import dataclasses
import itertools
import json
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from runner import inputs, kept, memory, models, outputs, progress
from runner import prompt as prompts
from runner.comfy import waiting
from runner.comfy.client import ApiPrompt, Message
from runner.comfy.engine import Engine
from runner.comfy.supervisor import Order, render
from runner.errors import (
    Canceled,
    DiskFull,
    EngineUnavailable,
    OutOfMemory,
    StorageError,
    WorkflowError,
)
from runner.job import Artifact, Deadlines, OutputFile, Progress, Report, Result, Status
from runner.request import Ready, complete
from runner.storage import Storage, sha256
from runner.storage.naming import Fields
from runner.workflow import digest


class Prepare(Protocol):
    """What must be there before ComfyUI can run a prompt, such as stand-in weights."""

    def __call__(self, prompt: ApiPrompt) -> None: ...


def run(
    ready: Ready,
    *,
    engine: Engine,
    storage: Storage,
    report: Report = lambda _: None,
    prepare: Prepare | None = None,
    access: inputs.Access = inputs.Access(),  # noqa: B008 - frozen
    deadlines: Deadlines = Deadlines(),  # noqa: B008 - frozen
    canceled: threading.Event | None = None,
    previews: bool = False,
) -> Result:
    """Render a checked request and store its outputs, with the result as `<job>.json` beside them.

    `canceled` ends the job when it is set; `previews` puts pictures of what is being made into the
    progress. Raises RunnerError. A KeyboardInterrupt cancels the job in ComfyUI, too.
    """
    job = _Job(engine, progress.Steady(report), prepare, deadlines, canceled, previews)
    watch = job.watch
    folders = (engine.input, engine.output, engine.temp, engine.unstored)
    inputs.require_room(folders, access.min_free)
    with watch("convert"):
        asked = complete(ready, job.definitions())
    with inputs.folder_in(engine.input) as folder, job.outputs_removed():
        with watch("fetch"):
            fetched = inputs.fetch(
                asked,
                folder,
                root=engine.input,
                access=access,
                report=job.report,
                look=job.look,
            )
            engine.send(folder, job.look)
        files, step = job.render(fetched)
        job.look()
        with watch("store"):
            job.report(Progress(1.0, "storing"))
            told = partial(_result, ready, asked, job, step, storage.moments)
            artifacts = _store(files, storage, ready.job.id, engine.unstored, told)
        result = told(artifacts)
        _store_result(result, storage, job.folder, engine.unstored)
    job.report.flush()
    return result


def _result(
    ready: Ready,
    asked: Ready,
    job: "_Job",
    step: memory.Step | None,
    moments: Fields,
    artifacts: tuple[Artifact, ...],
) -> Result:
    asked = memory.stepped(asked, step) if step else asked
    return Result(
        job_id=ready.job.id,
        status=Status.SUCCEEDED,
        workflow=ready.workflow.reference,
        artifacts=artifacts,
        params=inputs.public_values(asked),
        seed=next((asked.values[name] for name in asked.seeds), None),
        timings={stage: round(seconds, 3) for stage, seconds in job.watch.seconds.items()},
        rehearsal=job.rehearses,
        notes=(step.note,) if step else (),
        request=fingerprint(ready, rehearsal=job.rehearses),
        moments=moments,
    )


def fingerprint(ready: Ready, *, rehearsal: bool) -> str:
    """A hash of what was asked for: the workflow, the parameters as they were given. Pure."""
    return digest([ready.workflow.digest, ready.job.params, rehearsal])


class _Job:
    """What every stage of one job shares."""

    def __init__(
        self,
        engine: Engine,
        report: progress.Steady,
        prepare: Prepare | None,
        deadlines: Deadlines,
        canceled: threading.Event | None,
        previews: bool,
    ) -> None:
        self.report = report
        self.watch = _Stopwatch()
        self._engine, self._prepare, self._deadlines = engine, prepare, deadlines
        self._canceled, self._previews = canceled or threading.Event(), previews
        self._prefix = f"callsheet/{uuid.uuid4().hex}"
        self.folder = engine.output / self._prefix
        self._renders = itertools.count(1)

    @property
    def rehearses(self) -> bool:
        return self._prepare is not None

    @contextlib.contextmanager
    def outputs_removed(self) -> Generator[None]:
        """What the job has written and what has not been moved away is gone at its end."""
        try:
            yield
        except OSError as error:
            if not inputs.is_full(error):
                raise
            raise DiskFull(
                f"the disk of {self.folder} is full: an output does not fit; remove files there",
                details={"folder": str(self.folder)},
            ) from error
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def look(self) -> None:
        """Raises Canceled."""
        if self._canceled.is_set():
            raise Canceled("the job was canceled")

    def definitions(self) -> Mapping[str, Any]:
        """ComfyUI's node definitions; it is started anew if it has ended since the last job."""
        with waiting.watched(self.look):
            try:
                return self._engine.ready().object_info()
            except EngineUnavailable:
                return self._engine.ready().object_info()

    def render(self, ready: Ready) -> tuple[tuple[OutputFile, ...], memory.Step | None]:
        """From a request whose inputs are there to its files.

        When memory is full, once more in the workflow's next thriftier way, which is returned.
        """
        try:
            return self._render(ready), None
        except OutOfMemory as error:
            step = memory.step_down(ready)
            if step is None:
                raise memory.explained(error, ready) from error
        with waiting.watched(self.look):
            self._engine.ready().free()
        thriftier = memory.stepped(ready, step)
        try:
            return self._render(thriftier), step
        except OutOfMemory as error:
            raise memory.explained(error, thriftier, tried=step) from error

    def _render(self, ready: Ready) -> tuple[OutputFile, ...]:
        self.look()
        engine, definitions = self._engine, self.definitions()
        with self.watch("convert"):
            prompt = prompts.of(ready, definitions)
            wanted = outputs.expected(prompt, definitions, ready.document)
            # Fresh for each render: a cached node would name a file that an earlier job has moved away.
            prefix = f"{self._prefix}/{next(self._renders)}"
            prompt = outputs.with_prefix(prompt, wanted.names, prefix)
        with self.watch("prepare"):
            if self._prepare is not None:
                self.report(Progress(0.0, "making stand-in weights"))
                self._prepare(prompt)
            self._require_models(prompt, definitions, ready)
        left = self._deadlines.total - self.watch.seconds.get("render", 0.0)
        with self.watch("render"):
            outcome = render(
                Order(
                    ready.job,
                    prompt,
                    ready.document,
                    self._previews,
                    thriftier=memory.step_down(ready) is not None,
                ),
                engine,
                deadlines=dataclasses.replace(self._deadlines, total=left),
                see=self._seen(progress.tracker(prompt, definitions)),
                canceled=self._canceled,
            )
            engine.fetch(outcome, self.look)
            folders = {"output": engine.output, "temp": engine.temp, "input": engine.input}
            return outputs.collect(outcome, wanted, folders, self.folder)

    def _require_models(self, prompt: ApiPrompt, known: Mapping[str, Any], ready: Ready) -> None:
        try:
            models.require(prompt, known, ready.document)
        except WorkflowError:  # unless its files have come since ComfyUI was asked
            models.require(prompt, self._engine.comfy.object_info(fresh=True), ready.document)

    def _seen(self, tracker: progress.Tracker) -> Callable[[Message, float], None]:
        def see(message: Message, now: float) -> None:
            seen = tracker.see(message.type, message.data, now)
            if self._previews:
                seen = dataclasses.replace(seen, preview=message.data.get("image"))
            self.report(seen)

        return see


def _store(
    files: tuple[OutputFile, ...],
    storage: Storage,
    job_id: str,
    unstored: Path,
    result: Callable[[tuple[Artifact, ...]], Result],
) -> tuple[Artifact, ...]:
    """`result` makes the job's result of its artifacts: with it, what is kept can be sent later."""
    names = outputs.file_names(files, outputs.stem(job_id))
    artifacts: list[Artifact] = []
    for index, (file, name) in enumerate(zip(files, names, strict=True)):
        size, digest = file.path.stat().st_size, sha256(file.path)
        fields: Fields = {"job_id": job_id, "output": file.name, "index": index}
        try:
            location = storage.put(file.path, name, fields)
        except Canceled:
            raise
        except Exception as error:
            # Whatever went wrong: the render is not lost. What an answer held has gone with it.
            first = next((i for i, f in enumerate(files) if f.path.exists()), index)
            so_far, folder = result(tuple(artifacts[:first])), unstored / outputs.stem(job_id)
            kept.keep(files[first:], names[first:], result=so_far, storage=storage, folder=folder)
            raise kept.told(_as_storage_error(error, name), folder) from error
        artifacts.append(Artifact(file.name, location, size, digest, file.probe, name))
    return tuple(artifacts)


def _as_storage_error(error: Exception, name: str) -> StorageError:
    if isinstance(error, StorageError):
        return error
    return StorageError(f"{name} cannot be stored: an unexpected {type(error).__name__}")


def _store_result(result: Result, storage: Storage, scratch: Path, unstored: Path) -> None:
    try:
        _write_result(result, storage, scratch)
    except StorageError as error:
        folder = unstored / outputs.stem(result.job_id)
        kept.keep((), (), result=result, storage=storage, folder=folder)
        raise kept.told(error, folder) from error


def _write_result(result: Result, storage: Storage, scratch: Path) -> None:
    scratch.mkdir(parents=True, exist_ok=True)
    file = scratch / f"{outputs.stem(result.job_id)}.json"
    file.write_text(json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    storage.put(file, file.name, {"job_id": result.job_id})


@dataclass
class _Stopwatch:
    """Seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    clock: Callable[[], float] = time.monotonic

    @contextlib.contextmanager
    def __call__(self, stage: str) -> Generator[None]:
        start = self.clock()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + self.clock() - start
