"""`callsheet schema`."""

from runner import parameters, settings
from runner import workflow as workflows
from runner.entrypoints.commanding import print_json
from runner.entrypoints.options import WorkflowArgument


def schema(workflow: WorkflowArgument) -> None:
    """The JSON Schema (draft 2020-12) of a workflow's parameters.

    For services that check a request before they send it, and for forms.

        callsheet schema ltx2-lipsync@1 > ltx2-lipsync.schema.json
    """
    found = workflows.find(workflow, settings.from_environment().workflows)
    print_json(
        parameters.schema(
            parameters.read(found.document), name=found.reference, description=found.description
        )
    )
