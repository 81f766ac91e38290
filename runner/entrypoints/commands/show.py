"""`callsheet show`."""

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
    if not as_json:
        console.show_workflow(found, read, outputs, needed, packs)
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
        }
    )
