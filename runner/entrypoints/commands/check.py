"""`callsheet check`."""

import dataclasses
from typing import Annotated

import typer

from runner import settings
from runner import workflow as workflows
from runner.check import check as check_workflow
from runner.entrypoints import console
from runner.entrypoints.commanding import print_json
from runner.entrypoints.knowing import definitions_of
from runner.entrypoints.options import AsJson, ObjectInfo, WorkflowArgument


def check(
    workflow: WorkflowArgument,
    object_info: ObjectInfo = None,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="as a rehearsal sees it: model files are made for it")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What is wrong with a workflow, without running it.

    Missing nodes and models, unknown inputs, values out of limits; each with a way to mend it.
    Exit 1 if it cannot run.

        callsheet check my-workflow.json
        # where there are no weights
        callsheet check my-workflow.json --rehearse
        # without starting ComfyUI, against what another one has
        curl http://gpu-box:8188/object_info > nodes.json
        callsheet check my-workflow.json --object-info nodes.json
    """
    config = settings.from_environment()
    found = workflows.find(workflow, config.workflows)
    findings = check_workflow(found.document, definitions_of(config, object_info))
    if rehearse:
        findings = tuple(finding for finding in findings if finding.kind != "missing_model")
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        console.show_findings(found, findings, asked=workflow)
    if any(finding.error for finding in findings):
        raise typer.Exit(1)
