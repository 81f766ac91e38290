"""What is started and checked before a worker takes its first job."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from runner import workflow as workflows
from runner.comfy.engine import Engine
from runner.comfy.remote import attached
from runner.entrypoints import setup
from runner.errors import RequestError, RunnerError
from runner.service import answers, fitness
from runner.service.destinations import Destinations
from runner.service.fitness import Check
from runner.service.log import Log
from runner.service.options import Options
from runner.service.warming import Warming
from runner.settings import Settings
from runner.storage import Storage
from runner.workflow import Workflow


class Late:
    """The engine, started by a check and ended with the worker."""

    def __init__(
        self, stack: ExitStack, start: Callable[[], AbstractContextManager[Engine]]
    ) -> None:
        self._stack, self._start = stack, start
        self._engine: Engine | None = None

    def start(self) -> str:
        self._engine = self._stack.enter_context(self._start())
        return "ComfyUI answers"

    def busy(self) -> bool:
        """Whether a job renders at this moment."""
        return self._engine is not None and self._engine.turn.locked()

    @property
    def engine(self) -> Engine:
        assert self._engine is not None, "the checks come first"
        return self._engine


def engine(config: Settings, how: Options) -> AbstractContextManager[Engine]:
    """Starts ComfyUI, or goes to the one that runs already. Raises RequestError."""
    if config.comfy is None:
        return setup.started(config, rehearse=how.rehearse)
    if how.rehearse:
        raise RequestError(
            "CALLSHEET_REHEARSE starts a ComfyUI of its own: it does not go with CALLSHEET_COMFY"
        )
    return attached(config.comfy, unstored=config.home / "unstored")


def served(config: Settings, how: Options) -> list[Workflow]:
    """Those that the operator names, or all. Raises UnknownWorkflow, WorkflowError."""
    named = [workflows.find(name, config.workflows) for name in how.served.workflows]
    return named or list(workflows.released(config.workflows))


def checks(
    config: Settings,
    how: Options,
    *,
    destinations: Destinations,
    late: Late,
    warming: Warming,
    open_at: Callable[..., Storage],
) -> list[Check]:
    """In their order: the quick ones first. The engine is started by one of them."""
    cpu_allowed = config.cpu or how.rehearse
    scratch, asked = Path(tempfile.gettempdir()), how.served
    found = [
        Check("workflows", lambda: ", ".join(w.reference for w in served(config, how))),
        Check("disk", lambda: fitness.disk(scratch, how.min_free)),
        Check("media", fitness.media),
        Check("storage", lambda: fitness.storage(destinations, asked.services, open_at)),
        Check("engine", late.start),
        Check("gpu", lambda: fitness.gpu(late.engine, cpu_allowed=cpu_allowed)),
    ]
    if not how.rehearse:  # which makes the weights it needs
        found.append(
            Check("models", lambda: fitness.model_files(late.engine, config.workflows, asked))
        )
    if how.warm_up == "jobs":
        prepare = setup.stand_ins(config) if how.rehearse else None
        found.append(Check("warm_up", lambda: warming.load(late.engine, prepare)))
    return found


def logged(check: Check, log: Log) -> Callable[[], None]:
    """The check, with a line of the log. It raises RuntimeError, without secrets."""

    def run() -> None:
        try:
            log("fit", check=check.name, found=check.do())
        except RunnerError as error:
            message = answers.cleaned(error.message, log.secrets)
            log("unfit", check=check.name, code=error.code, message=message)
            raise RuntimeError(message) from None

    run.__name__ = f"callsheet_{check.name}"
    return run
