"""The tree of errors: what can go wrong, in the words of the people who can mend it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one parameter, and what would be right."""

    parameter: str
    message: str

    def __str__(self) -> str:
        return f"{self.parameter}: {self.message}"


class RunnerError(Exception):
    """Every failure the runner reports.

    `code` is stable and snake_case, `message` is for people, `details` is JSON for programs,
    `retryable` says whether the same request may succeed when tried again.
    """

    code: ClassVar[str] = "runner_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})

    def to_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "details": self.details,
            "retryable": self.retryable,
        }


class RequestError(RunnerError):
    """The caller can mend it."""

    code = "request_error"


class UnknownWorkflow(RequestError):
    code = "unknown_workflow"


class InvalidParameters(RequestError):
    """Carries every problem of the request at once."""

    code = "invalid_parameters"

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(
            "\n".join(map(str, problems)),
            details={
                "problems": [{"parameter": p.parameter, "message": p.message} for p in problems]
            },
        )
        self.problems = tuple(problems)


class JobConflict(RequestError):
    """The job id belongs to another request."""

    code = "job_conflict"


class InputError(RequestError):
    """An input file cannot be had or is not what the workflow takes."""

    code = "input_error"


class WorkflowError(RunnerError):
    """The workflow file is broken, or does not fit this ComfyUI: nodes or models are missing."""

    code = "workflow_error"


class EngineError(RunnerError):
    """ComfyUI could not do the job."""

    code = "engine_error"


class EngineUnavailable(EngineError):
    code = "engine_unavailable"
    retryable = True


class PromptRejected(EngineError):
    """ComfyUI refused the graph before running it; `details["nodes"]` says which nodes and why."""

    code = "prompt_rejected"


class ExecutionFailed(EngineError):
    """A node raised while running; `details` names the node and the exception."""

    code = "execution_failed"


class DiskFull(RunnerError):
    """There is no room for what a job writes; `details` name the folder."""

    code = "disk_full"
    retryable = True


class OutOfMemory(ExecutionFailed):
    """`details["memory"]` says which, GPU or main, and the figures that the exception names."""

    code = "out_of_memory"


class Canceled(EngineError):
    """The caller has ended the job."""

    code = "canceled"


class Interrupted(EngineError):
    """Somebody else has ended the job, in ComfyUI itself."""

    code = "interrupted"
    retryable = True


class TimedOut(EngineError):
    """One of a job's three deadlines has passed; `details` has the `limit` in seconds."""

    code = "timed_out"


class RanTooLong(TimedOut):
    code = "timed_out_total"


class QueuedTooLong(TimedOut):
    code = "timed_out_queue"
    retryable = True


class Stalled(TimedOut):
    code = "timed_out_stalled"
    retryable = True


class OutputMissing(EngineError):
    """A promised file was not written, or is not a playable file."""

    code = "output_missing"


class StorageError(RunnerError):
    """Outputs are kept; storing can be tried again without rendering again."""

    code = "storage_error"
    retryable = True
