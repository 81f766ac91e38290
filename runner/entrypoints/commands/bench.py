"""`callsheet bench cold-start`."""

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from runner import settings
from runner import workflow as workflows
from runner.entrypoints import completion, console
from runner.entrypoints.commanding import print_json
from runner.entrypoints.options import AsJson, Rehearse

app = typer.Typer(help="Measure this machine.", no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure this machine."""


@app.command("cold-start")
def cold_start(
    workflow: Annotated[
        str,
        typer.Argument(help="what is rendered small", autocompletion=completion.workflows),
    ] = "wan-t2v",
    rehearse: Rehearse = False,
    as_json: AsJson = False,
) -> None:
    """How long a worker takes from nothing to its first video, by stage.

    Drop the page cache before (as root: sync; echo 3 > /proc/sys/vm/drop_caches) to see a machine that
    has just been started.

        callsheet bench cold-start wan-t2v --rehearse
        callsheet bench cold-start ltx2-lipsync --json
    """
    with console.waiting("measuring"):
        stages = _measure(workflow, rehearse=rehearse)
    if as_json:
        print_json({"workflow": workflow, "rehearsal": rehearse, "seconds": stages})
        return
    for stage, seconds in stages.items():
        console.out.print(f"{stage:<34} {seconds:8.2f} s", highlight=False)


def _measure(reference: str, *, rehearse: bool) -> dict[str, float]:
    """Seconds by stage, each from its own beginning."""
    clock = time.perf_counter
    stages: dict[str, float] = {}

    def took(stage: str, since: float) -> None:
        stages[stage] = round(clock() - since, 3)

    began = clock()
    from runner.entrypoints import setup
    from runner.modelfiles import finding
    from runner.service import warming

    config = settings.from_environment()
    found = workflows.find(reference, config.workflows)
    took("import the runner", began)
    with ExitStack() as stack, TemporaryDirectory() as folder:
        files: list[Path] = []
        if not rehearse:
            needed = finding.find(finding.wanted([found]), setup.places(config))
            files = [model.path for model in needed if model.path is not None]
        start = clock()
        bytes_read = warming.read_ahead(files, room=int(warming.SHARE * warming.free_memory()))
        took(f"read {len(files)} model files, {bytes_read / 1e9:.1f} GB", start)
        start = clock()
        engine = stack.enter_context(setup.started(config, rehearse=rehearse))
        took("start ComfyUI", start)
        start = clock()
        engine.comfy.object_info()
        took("ask for its nodes", start)
        for name in ("first small job", "the same again"):
            start = clock()
            _render(found, engine, Path(folder), setup.stand_ins(config) if rehearse else None)
            took(name, start)
    took("in all", began)
    return stages


def _render(found: workflows.Workflow, engine: Any, folder: Path, prepare: Any) -> None:
    from runner.job import Job
    from runner.request import check
    from runner.run import run
    from runner.service import warming
    from runner.storage import open_storage

    params = warming.small_request(found)
    job = Job(f"cold-start-{time.time_ns()}", found.reference, params)
    run(check(job, found), engine=engine, storage=open_storage(str(folder)), prepare=prepare)
