"""`callsheet show`."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict

from runner import models, parameters, settings
from runner import workflow as workflows
from runner.entrypoints import console
from runner.entrypoints.commanding import print_json
from runner.entrypoints.options import AsJson, WorkflowArgument


def show(workflow: WorkflowArgument, as_json: AsJson = False) -> None:
    """A workflow's parameters, outputs and models.

    What `callsheet run` takes with -p: names, kinds, limits, defaults.

        callsheet show ltx2-lipsync
        # a file that the editor has saved
        callsheet show my-workflow.json
        # the names of the files it needs
        callsheet show wan-t2v --json | jq -r .models[].name
    """
    found = workflows.find(workflow, settings.from_environment().workflows)
    read = parameters.read(found.document)
    outputs = workflows.output_names(found.document)
    needed, packs = models.needed(found.document), models.packs(found.document)
    unfit = tuple(parameters.unfit(read))
    if not as_json:
        example = _example(workflow, read) if read and not unfit else ""
        console.show_workflow(found, read, outputs, needed, packs, unfit=unfit, example=example)
        return
    print_json(
        {
            "name": found.name,
            "version": found.version,
            "description": found.description,
            "parameters": parameters.schema(
                read, name=found.reference, description=found.description
            ),
            "outputs": outputs,
            "models": [asdict(model) for model in needed],
            "node_packs": packs,
            "problems": [asdict(problem) for problem in unfit],
        }
    )


_GIVEN = {"text": "a red kite", "image": "picture.png", "audio": "voice.wav", "video": "clip.mp4"}


def _example(workflow: str, read: Sequence[parameters.Parameter]) -> str:
    """A command that runs, with all that is required; empty where nothing can be said. Pure."""
    given = [p for p in read if p.required]
    if not any(p.kind in ("image", "video", "keyframes") for p in given):  # it may take one of two
        given += [p for p in read if p.kind == "image"][:1]
    pairs = [f"-p {p.name}={shlex.quote(_value(p))}" for p in given]
    return " \\\n    ".join([f"  callsheet run {shlex.quote(workflow)}", *pairs])


def _value(parameter: parameters.Parameter) -> str:
    if parameter.kind in parameters.ROWS:
        return parameters.ROWS[parameter.kind].shape
    return _GIVEN.get(parameter.kind) or str(parameter.value)
