"""A job from the command line: checked as far as it can be, then an engine, then the result."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from runner import parameters
from runner.comfy.engine import Engine
from runner.comfy.remote import attached
from runner.entrypoints import console, localfiles, pictures, setup
from runner.entrypoints.destination import destination
from runner.errors import RequestError
from runner.job import Deadlines, Job, Result
from runner.jobs import stored
from runner.request import check
from runner.run import fingerprint, run
from runner.settings import Settings
from runner.workflow import Workflow


def render(
    config: Settings,
    workflow: Workflow,
    job: Job,
    *,
    to: str,
    comfy: str | None,
    rehearse: bool,
    preview: bool = False,
    timeout: float | None = None,
    queue_timeout: float | None = None,
    stall_timeout: float | None = None,
) -> Result:
    """The job's result: the stored one if it has succeeded before. Raises RunnerError.

    `comfy` is the address of a ComfyUI that runs already; else one is started. Timeouts are in
    seconds; None is what the settings say.
    """
    ready = check(job, workflow)
    localfiles.require(parameters.read(workflow.document), job.params)
    storage = destination(to, workflow, job)
    storage.require_writable()
    access = setup.access(config, local=True)
    result = stored(ready, storage, fingerprint(ready, rehearsal=rehearse))
    if result is not None:
        return result
    usual = config.deadlines
    deadlines = Deadlines(
        timeout or usual.total, queue_timeout or usual.queue, stall_timeout or usual.stalled
    )
    if preview:
        storage = pictures.with_sheets(storage, config.home / "previews")
    if rehearse:
        warn_if_slow(ready.values)
    opened = _engine(config, comfy, rehearse=rehearse)
    with console.progress_shown() as report, opened as engine:
        return run(
            ready,
            engine=engine,
            storage=storage,
            report=report,
            prepare=setup.stand_ins(config) if rehearse else None,
            access=access,
            deadlines=deadlines,
        )


_SLOW = 20_000_000  # pixels of all frames: on a CPU a rehearsal then takes minutes


def warn_if_slow(values: Mapping[str, Any]) -> None:
    """Of a rehearsal as large as a real render."""
    width, height, frames = (values.get(name) for name in ("width", "height", "num_frames"))
    if frames is None and values.get("duration") and values.get("fps"):
        frames = values["duration"] * values["fps"]
    sizes = [float(n) for n in (width, height, frames or 1) if n]
    if len(sizes) == 3 and math.prod(sizes) > _SLOW:
        console.show_note(
            f"{sizes[2]:.0f} frames of {width}x{height} take minutes on a CPU; a rehearsal shows as "
            "much with smaller ones, such as 320x192 and 1 second"
        )


def _engine(
    config: Settings, comfy: str | None, *, rehearse: bool
) -> AbstractContextManager[Engine]:
    if comfy is None:
        return setup.started(config, rehearse=rehearse)
    if rehearse:
        raise RequestError("--rehearse starts a ComfyUI of its own: it does not go with --comfy")
    return attached(comfy, unstored=config.home / "unstored")
