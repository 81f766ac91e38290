"""`callsheet run`."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from runner import parameters, settings
from runner import workflow as workflows
from runner.entrypoints import completion, console, localfiles
from runner.entrypoints.commanding import print_json
from runner.entrypoints.destination import place
from runner.entrypoints.options import AsJson, Rehearse, WorkflowArgument
from runner.errors import InvalidParameters, Problem, RequestError, RunnerError, UnknownWorkflow
from runner.job import Job, new_job_id


def _above_0(seconds: float | None) -> float | None:
    if seconds is not None and not seconds > 0:
        raise typer.BadParameter("it is a number of seconds above 0")
    return seconds


def run(
    workflow: WorkflowArgument,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="NAME=VALUE", help="a parameter; may be repeated",
                     autocompletion=completion.parameters),
    ] = None,
    params: Annotated[
        Path | None, typer.Option("--params", metavar="FILE.json", help="parameters as JSON")
    ] = None,
    to: Annotated[
        str, typer.Option(metavar="PLACE", help="a folder, or gs|s3|supabase://bucket/path; "
                          "{workflow}, {version}, {date} and {job_id} may stand in it")
    ] = "out",
    job_id: Annotated[
        str | None, typer.Option(metavar="ID", help="the job's id; else one is made")
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="a contact sheet (PNG) beside each video, and in "
                           "the terminal where it can show pictures")
    ] = False,
    open_it: Annotated[
        bool, typer.Option("--open", help="open the outputs when they are there")
    ] = False,
    comfy: Annotated[
        str | None,
        typer.Option(metavar="URL", help="a ComfyUI that runs already; else one is started"),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", callback=_above_0, help="for the whole render")
    ] = None,
    queue_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", callback=_above_0, help="until the render starts")
    ] = None,
    stall_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", callback=_above_0, help="without any progress")
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(metavar="runpod://ENDPOINT", help="render there instead of on this machine"),
    ] = None,
    media_to: Annotated[
        str | None,
        typer.Option(metavar="PLACE", help="bucket for inputs of this machine that are too large "
                     "to go with the request; with --on"),
    ] = None,
    rehearse: Rehearse = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Render a workflow and store what it saves.

    Every parameter is checked before anything starts; `callsheet show WORKFLOW` lists them. The
    same --job-id again gives the stored result.

        callsheet run wan-t2v -p prompt="a red kite over a harbour"
        # no GPU, no weights: everything but the picture is real
        callsheet run wan-t2v --rehearse --preview -p prompt="a red kite" -p width=320 -p height=192 -p num_frames=17
        # many parameters; files count from the request's folder
        callsheet run ltx2-lipsync --params request.json --to s3://videos/{workflow}/{date}
        # any file of the editor, any widget
        callsheet run flux.json -p "KSampler.steps=8"
        # on rented GPUs; the video comes home
        callsheet run wan-t2v -p prompt="a red kite" --on runpod://abc123
    """
    config = settings.from_environment()
    found = _found(workflow, config, on)
    given = _given(found, params, param or [])
    job = Job(job_id or new_job_id(found.name if found else "job", datetime.now()), workflow, given)
    # What renders is imported here: it is not needed to complete a line.
    if on:
        from runner.entrypoints.commands.on import run_on

        here_only = {"--rehearse": rehearse, "--comfy": comfy, "--stall-timeout": stall_timeout}
        for option in (name for name, value in here_only.items() if value):
            raise RequestError(f"{option} is for this machine: it does not go with --on")
        result = run_on(
            on,
            workflow,
            given,
            found=found,
            to=place(to, found, job) if found else to,
            job_id=job.id,
            media_to=media_to,
            timeout=timeout,
            queue_timeout=queue_timeout,
        )
    else:
        from runner.entrypoints import rendering

        assert found is not None
        result = rendering.render(
            config,
            found,
            job,
            to=to,
            comfy=comfy or config.comfy,
            rehearse=rehearse,
            preview=preview,
            timeout=timeout,
            queue_timeout=queue_timeout,
            stall_timeout=stall_timeout,
        )
    if as_json:
        print_json(result.to_dict())
    else:
        console.show_result(result)
    if preview:
        from runner.entrypoints import pictures

        pictures.show_sheets(result)
    for artifact in result.artifacts if open_it else ():
        typer.launch(artifact.location)


def _found(reference: str, config: settings.Settings, on: str | None) -> workflows.Workflow | None:
    """None for a workflow that only the endpoint knows. Raises UnknownWorkflow, WorkflowError."""
    try:
        return workflows.find(reference, config.workflows)
    except UnknownWorkflow:
        if on and not reference.endswith(".json"):
            return None
        raise


def _given(found: workflows.Workflow | None, file: Path | None, pairs: list[str]) -> dict[str, Any]:
    """The parameters: those on the line win. Raises RequestError, InvalidParameters."""
    if found is None:
        from runner.entrypoints.commands.on import values

        return {**_from_file(file, ()), **values(pairs)}
    read = parameters.read(found.document)
    return {**_from_file(file, read), **_typed(read, pairs)}


def _from_file(path: Path | None, read: tuple[parameters.Parameter, ...]) -> Mapping[str, Any]:
    if path is None:
        return {}
    try:
        given = workflows.parse(path.read_bytes(), source=str(path))
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from error
    except RunnerError as error:
        raise RequestError(error.message) from error
    return localfiles.beside(path.parent, read, given)


def _typed(read: tuple[parameters.Parameter, ...], pairs: list[str]) -> dict[str, Any]:
    wrong = [Problem(pair, "write it as name=value") for pair in pairs if "=" not in pair]
    if wrong:
        raise InvalidParameters(wrong)
    texts = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
    return parameters.from_text(read, texts)
