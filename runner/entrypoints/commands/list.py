"""`callsheet list`."""

from runner import settings
from runner import workflow as workflows
from runner.entrypoints import console
from runner.entrypoints.commanding import print_json
from runner.entrypoints.options import AsJson
from runner.errors import WorkflowError


def list_(as_json: AsJson = False) -> None:
    """The released workflows.

    Each in its newest version: those of this checkout, and of the folders in CALLSHEET_WORKFLOWS.

        callsheet list
        # their names, for a script
        callsheet list --json | jq -r .[].name
    """
    broken: list[WorkflowError] = []
    found = list(workflows.released(settings.from_environment().workflows, broken=broken))
    if as_json:
        print_json([{"name": w.name, "version": w.version, "description": w.description}
                    for w in found])  # fmt: skip
    else:
        console.show_list(found)
    for error in broken:
        console.show_error(error)
