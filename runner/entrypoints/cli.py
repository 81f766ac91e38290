"""The command line: `callsheet …`. Exit 0 done, 1 the job failed, 2 the request is wrong, 130 canceled."""

import dataclasses
import json
import shutil
import signal
import sys
import webbrowser
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from runner import models, parameters, settings
from runner import release as releases
from runner import workflow as workflows
from runner.check import check as check_workflow
from runner.comfy.engine import Engine, LocalEngine, check_version
from runner.comfy.remote import attached
from runner.comfy.supervisor import Deadlines
from runner.comparison import compare
from runner.entrypoints import console, editor, review, setup
from runner.errors import Canceled, InvalidParameters, Problem, RequestError, RunnerError
from runner.graph import to_api
from runner.job import Job, Status, new_job_id
from runner.jobs import stored
from runner.preview import contact_sheet
from runner.request import check as check_request
from runner.run import fingerprint
from runner.run import run as run_job
from runner.storage import open_storage

app = typer.Typer(
    help="Run ComfyUI video workflows without the editor: one JSON file in, one video out.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

WorkflowArgument = Annotated[
    str,
    typer.Argument(metavar="WORKFLOW", help="name, name@1, name@1.2.0 or the path of a .json file"),
]
Rehearse = Annotated[
    bool,
    typer.Option("--rehearse", help="stand-in weights on the CPU: everything real but the picture"),
]
ObjectInfo = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="node definitions; else ComfyUI is started and asked"),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="one JSON document on stdout, all else on stderr")
]


@app.command()
def run(
    workflow: WorkflowArgument,
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="NAME=VALUE", help="a parameter; may be repeated"),
    ] = None,
    params: Annotated[
        Path | None, typer.Option("--params", metavar="FILE.json", help="parameters as JSON")
    ] = None,
    to: Annotated[str, typer.Option(help="folder for the outputs")] = "out",
    job_id: Annotated[str | None, typer.Option(help="the job's id; else one is made")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="a contact sheet (PNG) beside each video")
    ] = False,
    comfy: Annotated[
        str | None,
        typer.Option(metavar="URL", help="a ComfyUI that runs already; else one is started"),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="for the whole render")
    ] = None,
    queue_timeout: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="until the render starts")
    ] = None,
    stall_timeout: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help="without any progress")
    ] = None,
    rehearse: Rehearse = False,
    as_json: AsJson = False,
) -> None:
    """Render a workflow and store what it saves. The same --job-id again gives the stored result."""
    config = settings.from_environment()
    limits = config.deadlines
    deadlines = Deadlines(timeout or limits.total, queue_timeout or limits.queue,
                          stall_timeout or limits.stalled)  # fmt: skip
    found = workflows.find(workflow, config.workflows)
    given = {**_params_file(params), **_typed(found, param or [])}
    job = Job(job_id or new_job_id(found.name, datetime.now()), workflow, given)
    ready = check_request(job, found)
    storage = open_storage(to)
    storage.require_writable()
    prepare = setup.stand_ins(config) if rehearse else None
    access = setup.access(config, local=True)
    result = stored(ready, storage, fingerprint(ready, rehearsal=rehearse))
    if result is None:
        with console.progress_shown() as report, _engine(config, comfy, rehearse) as engine:
            result = run_job(ready, engine=engine, storage=storage, report=report, prepare=prepare,
                             access=access, deadlines=deadlines)  # fmt: skip
    if as_json:
        _print_json(result.to_dict())
    else:
        console.show_result(result)
    videos = [Path(a.location) for a in result.artifacts if a.probe.kind == "video"]
    for video in videos if preview else ():
        sheet = contact_sheet(video, video.with_suffix(".png"))
        console.show_path("contact sheet", sheet)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The released workflows."""
    found = list(workflows.released(settings.from_environment().workflows))
    if as_json:
        _print_json([{"name": w.name, "version": w.version, "description": w.description}
                     for w in found])  # fmt: skip
    else:
        console.show_list(found)


@app.command()
def show(workflow: WorkflowArgument) -> None:
    """A workflow's parameters, outputs and models."""
    found = workflows.find(workflow, settings.from_environment().workflows)
    console.show_workflow(
        found,
        parameters.read(found.document),
        workflows.output_names(found.document),
        models.needed(found.document),
        models.packs(found.document),
    )


@app.command()
def schema(workflow: WorkflowArgument) -> None:
    """The JSON Schema (draft 2020-12) of a workflow's parameters."""
    found = workflows.find(workflow, settings.from_environment().workflows)
    _print_json(
        parameters.schema(
            parameters.read(found.document), name=found.reference, description=found.description
        )
    )


@app.command()
def convert(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="workflows as the editor saves")
    ],
    object_info: ObjectInfo = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write DIR/<stem>.api.json each")
    ] = None,
) -> None:
    """UI workflow → API prompt, as the editor's own export makes it."""
    documents = {file: workflows.load(file).document for file in files}
    with _definitions(settings.from_environment(), object_info) as definitions:
        for file, document in documents.items():
            _write_prompt(to_api(document, definitions), file, to)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="a reference or a .json file")],
    after: Annotated[str, typer.Argument(metavar="B", help="what is compared with it")],
    as_json: AsJson = False,
) -> None:
    """What changed from A to B: contract first, then graph. Exit 0 same, 1 different, 2 trouble."""
    try:
        folders = settings.from_environment().workflows
        old, new = (workflows.find(reference, folders) for reference in (before, after))
        found = compare(old.document, new.document, sources=(before, after))
    except RunnerError as error:  # 1 is taken: it means different
        _failed(error, as_json=as_json)
        raise typer.Exit(2) from error
    if as_json:
        _print_json({"before": before, "after": after, **found.to_dict()})
    else:
        review.show_comparison(found, before=before, after=after)
    raise typer.Exit(0 if found.same else 1)


@app.command()
def release(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a workflow as the editor saves it")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="the workflow it is")],
    version: Annotated[
        str | None, typer.Option(metavar="X.Y.Z", help="else computed from what has changed")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="folder of workflows; else this checkout's")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say it, write nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Release a workflow file: the next version, computed from what changed for its callers."""
    config = settings.from_environment()
    folder = into or config.workflows[-1]
    document = workflows.find(file, config.workflows).document
    folders = tuple(dict.fromkeys([folder, *config.workflows]))
    planned = releases.plan(document, name=name, folders=folders, version=version)
    today = datetime.now().date()
    path = None if dry_run else releases.write(planned, folder=folder, today=today)
    if as_json:
        _print_json({**planned.to_dict(), "path": str(path) if path else None})
    else:
        review.show_release(planned, path=path, today=today)


@app.command()
def check(
    workflow: WorkflowArgument, object_info: ObjectInfo = None, as_json: AsJson = False
) -> None:
    """What is wrong with a workflow, without running it. Exit 1 if it cannot run."""
    config = settings.from_environment()
    found = workflows.find(workflow, config.workflows)
    with _definitions(config, object_info) as definitions:
        findings = check_workflow(found.document, definitions)
    if as_json:
        _print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        console.show_findings(found, findings)
    if any(finding.error for finding in findings):
        raise typer.Exit(1)


@app.command()
def edit(
    workflow: Annotated[str | None, typer.Argument(help="a workflow to open")] = None,
    rehearse: Rehearse = False,
    port: Annotated[int, typer.Option(help="port of the editor; 0 takes a free one")] = 8188,
    browse: Annotated[bool, typer.Option("--browse/--no-browse", help="open a browser")] = True,
) -> None:
    """The graph editor with the pack loaded and a workflow open. Ctrl-C ends it."""
    config = settings.from_environment()
    found = workflows.find(workflow, config.workflows) if workflow else None
    with editor.running(config, found, rehearse=rehearse, port=port) as (engine, url):
        console.err.print(f"the editor is at [bold]{url}[/]", highlight=False)
        console.err.print(f"what you save is in {config.home / 'editor'}; Ctrl-C ends it",
                          highlight=False)  # fmt: skip
        if browse:
            webbrowser.open(url)
        try:
            assert isinstance(engine, LocalEngine)
            engine.process.wait()
        except KeyboardInterrupt:
            console.err.print("closing")


@app.command()
def doctor() -> None:
    """What is installed, found and missing, and what to do about it."""
    config = settings.from_environment()
    rows: list[tuple[bool | None, str, str]] = []
    try:
        version = check_version(config.comfyui_dir)
        rows.append((True, "ComfyUI", f"{version} in {config.comfyui_dir}"))
    except RunnerError as error:
        rows.append((False, "ComfyUI", error.message))
    rows.append(_torch())
    rows += [(folder.is_dir(), "node packs", str(folder)) for folder in config.custom_nodes]
    found = list(workflows.released(config.workflows))
    rows.append((bool(found), "workflows", ", ".join(w.reference for w in found) or "none found"))
    rows += [_models(config, w) for w in found]
    existing = next(p for p in (config.cache, *config.cache.parents) if p.is_dir())
    free = shutil.disk_usage(existing).free / 1e9
    rows.append((free > 5, "free disk", f"{free:.0f} GB"))
    console.show_checks(rows)
    if any(good is False for good, _, _ in rows):
        raise typer.Exit(1)


def main() -> None:
    """The entry point: turns every RunnerError into a message and an exit code."""
    as_json = "--json" in sys.argv[1:]
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: the job and ComfyUI end with us
        signal.signal(number, signal.default_int_handler)
    try:
        code = app(standalone_mode=False)
    except RunnerError as error:
        sys.exit(_failed(error, as_json=as_json))
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(_failed(Canceled("canceled"), as_json=as_json))
    except Exception as error:
        if not hasattr(error, "exit_code"):  # click's own usage errors have one
            raise
        show = getattr(error, "show", None)
        if show:
            show()
        sys.exit(error.exit_code)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
    sys.exit(code if isinstance(code, int) else 0)


def _failed(error: RunnerError, *, as_json: bool) -> int:
    if as_json:
        status = Status.CANCELED if isinstance(error, Canceled) else Status.FAILED
        _print_json({"status": status, "error": error.to_dict()})
    console.show_error(error)
    if isinstance(error, Canceled):
        return 130
    return 2 if isinstance(error, RequestError) else 1


def _engine(
    config: settings.Settings, comfy: str | None, rehearse: bool
) -> AbstractContextManager[Engine]:
    url = comfy or config.comfy
    if url is None:
        return setup.started(config, rehearse=rehearse)
    if rehearse:
        raise RequestError("--rehearse starts a ComfyUI of its own: it does not go with --comfy")
    return attached(url, unstored=config.home / "unstored")


def _definitions(
    config: settings.Settings, file: Path | None
) -> AbstractContextManager[dict[str, Any]]:
    if file:
        return nullcontext(workflows.load(file).document)
    return setup.definitions(config)


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _params_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return workflows.parse(path.read_bytes(), source=str(path))
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from error
    except RunnerError as error:
        raise RequestError(error.message) from error


def _typed(found: workflows.Workflow, pairs: list[str]) -> dict[str, Any]:
    wrong = [Problem(pair, "write it as name=value") for pair in pairs if "=" not in pair]
    if wrong:
        raise InvalidParameters(wrong)
    texts = {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
    return parameters.from_text(parameters.read(found.document), texts)


def _write_prompt(prompt: Any, file: Path, folder: Path | None) -> None:
    if folder is None:
        _print_json(prompt)
        return
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{file.stem}.api.json"
    target.write_text(json.dumps(prompt, indent=2, ensure_ascii=False) + "\n")
    console.err.print(str(target), highlight=False)


def _torch() -> tuple[bool | None, str, str]:
    try:
        import torch  # the one thing that only the engine and this check need
    except ImportError:
        return False, "torch", "not installed: pip install 'callsheet[comfy]'"
    if torch.cuda.is_available():
        return True, "GPU", f"{torch.cuda.get_device_name(0)} (torch {torch.__version__})"
    return None, "GPU", f"none (torch {torch.__version__}): rehearsals work, real models need one"


def _models(config: settings.Settings, found: workflows.Workflow) -> tuple[bool | None, str, str]:
    needed = models.needed(found.document)
    missing = [m for m in needed if not (config.models / m.directory / m.name).is_file()]
    if not missing:
        return True, f"models of {found.name}", f"all {len(needed)} in {config.models}"
    listed = "\n".join(f"{m.directory}/{m.name}" for m in missing)
    return None, f"models of {found.name}", f"not in {config.models}:\n{listed}"


if __name__ == "__main__":
    main()
