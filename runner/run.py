"""The path of a job, from request to result."""

import contextlib
import itertools
import json
import random
import shutil
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from runner import inputs, models, outputs, progress
from runner.comfy.client import ApiPrompt
from runner.comfy.engine import Engine
from runner.errors import Canceled, RunnerError, StorageError, WorkflowError
from runner.graph import browser_only_inputs, to_api
from runner.graph.prune import drop_decided, with_values
from runner.job import Artifact, Outcome, OutputFile, Progress, Report, Result, Status
from runner.request import Ready, complete
from runner.storage import Storage, sha256


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
) -> Result:
    """Render a checked request and store its outputs, with the result as `<job>.json` beside them.

    Raises RunnerError. A KeyboardInterrupt cancels the job in ComfyUI, too.
    """
    watch = _Stopwatch()
    with watch("convert"):
        definitions = engine.comfy.object_info()
        asked = complete(ready, definitions)
    with inputs.folder_in(engine.input) as folder:
        with watch("fetch"):
            ready = inputs.fetch(asked, folder, root=engine.input, access=access, report=report)
        with watch("convert"):
            prompt = _convert(ready, definitions)
            wanted = outputs.expected(prompt, definitions, ready.document)
            # Fresh for each run: a cached node would name a file that an earlier job has moved away.
            prompt = outputs.with_prefix(prompt, wanted.names, f"callsheet/{uuid.uuid4().hex}")
        with watch("prepare"):
            if prepare is not None:
                report(Progress(0.0, "making stand-in weights"))
                prepare(prompt)
                definitions = engine.comfy.object_info()
            models.require(prompt, definitions, ready.document)
        with watch("render"):
            outcome = _render(ready, prompt, definitions, engine, report)
            folders = {"output": engine.output, "temp": engine.temp, "input": engine.input}
            files = outputs.collect(outcome, wanted, folders)
        with watch("store"):
            report(Progress(1.0, "storing"))
            artifacts = _store(files, storage, ready.job.id, engine.unstored)
    result = _result(asked, artifacts, watch.seconds, rehearsal=prepare is not None)
    _write_result(result, storage, engine.output)
    return result


def _convert(ready: Ready, definitions: Mapping[str, Any]) -> ApiPrompt:
    # Dynamic prompts draw by the job's own seed, so that the same seed is the same video.
    drawn_by = [ready.values[name] for name in ready.seeds] or ready.job.id
    rng, now = random.Random(str(drawn_by)), datetime.now()  # noqa: S311
    prompt = to_api(ready.document, definitions, rng=rng, now=now)
    prompt = drop_decided(with_values(prompt), definitions)
    unfilled = browser_only_inputs(prompt, definitions)
    if unfilled:
        raise WorkflowError("\n".join(map(str, unfilled)))
    return prompt


def _render(
    ready: Ready,
    prompt: ApiPrompt,
    definitions: Mapping[str, Any],
    engine: Engine,
    report: Report,
) -> Outcome:
    # The same job once more on this engine is another attempt, with a history of its own.
    attempts = map(ready.job.prompt_id, itertools.count(1))
    prompt_id = next(i for i in attempts if not engine.comfy.knows(i))
    tracker = progress.tracker(prompt, definitions)
    try:
        for message in engine.comfy.run(prompt, prompt_id=prompt_id, workflow=ready.document):
            report(tracker.see(message.type, message.data, time.monotonic()))
    except KeyboardInterrupt:
        with contextlib.suppress(RunnerError):  # the engine may be gone as well
            engine.comfy.cancel(prompt_id)
        raise Canceled("the job was canceled") from None
    return engine.comfy.outcome(prompt_id)


def _store(
    files: tuple[OutputFile, ...], storage: Storage, job_id: str, unstored: Path
) -> tuple[Artifact, ...]:
    names = outputs.file_names(files, outputs.stem(job_id))
    artifacts: list[Artifact] = []
    for index, (file, name) in enumerate(zip(files, names, strict=True)):
        size, digest = file.path.stat().st_size, sha256(file.path)
        try:
            location = storage.put(file.path, name)
        except StorageError as error:
            kept = _keep(files[index:], names[index:], unstored / outputs.stem(job_id))
            raise StorageError(
                f"{error.message}; the outputs are kept in {kept}", details={"kept": str(kept)}
            ) from error
        artifacts.append(Artifact(file.name, location, size, digest, file.probe))
    return tuple(artifacts)


def _keep(files: Sequence[OutputFile], names: Sequence[str], folder: Path) -> Path:
    """Rendering again may cost an hour: what cannot be stored is put aside on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, name in zip(files, names, strict=True):
        shutil.move(file.path, folder / name)
    return folder


def _result(
    ready: Ready, artifacts: tuple[Artifact, ...], timings: Mapping[str, float], *, rehearsal: bool
) -> Result:
    seeds = [ready.values[name] for name in ready.seeds]
    return Result(
        job_id=ready.job.id,
        status=Status.SUCCEEDED,
        workflow=ready.workflow.reference,
        artifacts=artifacts,
        params=inputs.public_values(ready),
        seed=seeds[0] if seeds else None,
        timings={stage: round(seconds, 3) for stage, seconds in timings.items()},
        rehearsal=rehearsal,
    )


def _write_result(result: Result, storage: Storage, scratch: Path) -> None:
    file = scratch / f"{outputs.stem(result.job_id)}.json"
    file.write_text(json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    storage.put(file, file.name)


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
