"""What to type next, after an error: one command, or nothing. Pure."""

import shlex
from collections.abc import Sequence

from runner.errors import (
    EngineUnavailable,
    InvalidParameters,
    RunnerError,
    StorageError,
    UnknownWorkflow,
    WorkflowError,
)


def after(error: RunnerError, words: Sequence[str]) -> str | None:
    """The command that helps most, for an error of the command that these words called."""
    command, workflow = (*words, "", "")[:2]
    named = shlex.quote(workflow) if workflow and not workflow.startswith("-") else None
    match error:
        case UnknownWorkflow():
            return "callsheet list"
        case InvalidParameters() if named and command == "run":
            return f"callsheet show {named}"
        case WorkflowError() if named and error.details.get("missing_models"):
            return f"callsheet models pull {named}"
        case WorkflowError() if named and command == "run":
            return f"callsheet check {named}"
        case EngineUnavailable():
            return "callsheet doctor"
        case StorageError() if error.details.get("kept"):
            return f"callsheet store {shlex.quote(str(error.details['kept']))}"
        case _:
            return None
