"""`callsheet convert`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from runner import settings
from runner import workflow as workflows
from runner.entrypoints import completion, console
from runner.entrypoints.commanding import print_json
from runner.entrypoints.knowing import definitions_of
from runner.entrypoints.options import ObjectInfo
from runner.errors import RequestError
from runner.graph import to_api


def convert(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="WORKFLOW…",
            help="references or .json files as the editor saves",
            autocompletion=completion.workflows,
        ),
    ],
    object_info: ObjectInfo = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="write DIR/<name>.api.json each")
    ] = None,
) -> None:
    """UI workflow → API prompt, as the editor's own export.

    For services that talk to ComfyUI themselves. One prompt goes to stdout, several into a folder.

        callsheet convert my-workflow.json > prompt.json
        callsheet convert wan-t2v ltx2-lipsync@1 --to prompts
        # without starting ComfyUI
        callsheet convert my-workflow.json --object-info nodes.json
    """
    config = settings.from_environment()
    found = [workflows.find(file, config.workflows) for file in files]
    targets = _targets(files, found) if to else [""] * len(found)
    definitions = definitions_of(config, object_info)
    for target, workflow in zip(targets, found, strict=True):
        prompt = to_api(workflow.document, definitions)
        if to is None:
            print_json(prompt)
        else:
            _write(prompt, to / target)


def _targets(files: list[str], found: list[workflows.Workflow]) -> list[str]:
    """A file name each. Pure. Raises RequestError where two would be one."""
    names = [
        f"{Path(file).stem if file.endswith('.json') else workflow.reference}.api.json"
        for file, workflow in zip(files, found, strict=True)
    ]
    if len(set(names)) < len(names):  # released files are all called like 1.0.0.json
        names = [f"{workflow.reference}.api.json" for workflow in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        same = ", ".join(f for f, name in zip(files, names, strict=True) if name == twice[0])
        raise RequestError(f"{same} would all become {twice[0]}: convert one at a time")
    return names


def _write(prompt: object, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(prompt, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RequestError(f"{target} cannot be written: {error.strerror}") from error
    console.show_path("written", target)
