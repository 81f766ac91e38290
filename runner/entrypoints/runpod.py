"""The worker behind RunPod: the only module that uses its SDK. `callsheet worker` starts it."""

import contextlib
import functools
import os
import sys
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

import runpod  # pyright: ignore[reportMissingTypeStubs]
from runpod.http_client import AsyncClientSession  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from runpod.serverless.modules.rp_http import send_result  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from runpod.serverless.modules.rp_logger import RunPodLogger  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from runpod.serverless.modules.worker_state import JobsProgress  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from runner import settings as settings_module
from runner.comfy.engine import Engine
from runner.entrypoints import readiness, setup
from runner.entrypoints.desk import Desk
from runner.entrypoints.readiness import Late
from runner.entrypoints.telling import Send, Teller
from runner.service import answers, options
from runner.service.destinations import Destinations
from runner.service.log import Log
from runner.service.options import Options
from runner.service.service import Service
from runner.service.warming import Warming
from runner.settings import Settings
from runner.storage import Storage, open_storage

if TYPE_CHECKING:  # its library is needed only where there is a port for it
    from runner.service.metrics import Metrics

_sdk: Any = runpod


def serve(
    config: Settings | None = None,
    how: Options | None = None,
    *,
    engine: Callable[[], AbstractContextManager[Engine]] | None = None,
    open_at: Callable[..., Storage] = open_storage,
) -> None:
    """Check this machine, then take jobs until it is told to stop. Raises SystemExit, and RequestError for a setting
    that means nothing.

    What is not given comes from the environment. `engine` starts one; `open_at` opens a storage.
    """
    config = config or settings_module.from_environment()
    how = how or options.from_environment(os.environ)
    if "--test_input" not in sys.argv:  # whose answer is what its log is for
        _quiet()
    metrics = _metrics(how)
    log = Log(secrets=answers.secrets_of(os.environ), listen=metrics)
    log("worker_starting", in_flight=how.in_flight, workflows=how.served.shown)
    destinations = Destinations(how.to, how.allow_to, os.environ)
    warming = Warming(lambda: readiness.served(config, how), log)
    with ExitStack() as stack, ThreadPoolExecutor(how.in_flight, "job") as pool:
        late = Late(stack, engine or (lambda: readiness.engine(config, how)))
        if metrics is not None:
            stack.callback(metrics.serve(how.metrics_port, late.busy))
        if how.warm_up != "no" and not how.rehearse:
            stack.enter_context(warming.reading(setup.places(config)))
        for check in readiness.checks(
            config, how, destinations=destinations, late=late, warming=warming, open_at=open_at
        ):
            _require(readiness.logged(check, log), stack)

        def worker_ready() -> None:
            log("worker_ready")

        _require(worker_ready, stack)

        def service() -> Service:
            return Service(
                engine=late.engine,
                folders=config.workflows,
                destinations=destinations,
                served=how.served,
                access=setup.access(config, local=False),
                deadlines=config.deadlines,
                prepare=setup.stand_ins(config) if how.rehearse else None,
                log=log,
                open_at=open_at,
            )

        def telling(job: dict[str, Any]) -> Teller:
            return Teller(_line(job) if _behind_runpod() else None, how.progress_every)

        desk = Desk(service, pool, how.in_flight, log, _taken, telling)
        try:
            _sdk.serverless.start(
                {"handler": desk.handle, "concurrency_modifier": desk.concurrency}
            )
        finally:
            if desk.draining:
                log("drained", never_started=_taken())
            log("worker_leaving")


def _metrics(how: Options) -> "Metrics | None":
    if not how.metrics_port:
        return None
    from runner.service.metrics import Metrics

    return Metrics()


def _require(check: Callable[[], None], stack: ExitStack) -> None:
    """Behind RunPod the SDK does it: it tells RunPod of a machine that cannot serve, and ends it."""

    @functools.wraps(check)
    def require() -> None:
        try:
            check()
        except RuntimeError:
            stack.close()  # the SDK ends the process without a chance for it
            if _behind_runpod():
                raise
            sys.exit(1)

    if _behind_runpod():
        _sdk.serverless.register_fitness_check(require)
    else:
        require()


@contextlib.asynccontextmanager
async def _line(job: dict[str, Any]) -> AsyncGenerator[Send]:
    """Sends updates of a job. The SDK's own `progress_update` sends each in a thread, in any order."""
    session: Any
    async with AsyncClientSession() as session:

        async def send(update: dict[str, Any]) -> None:
            await send_result(session, {"status": "IN_PROGRESS", "output": update}, job)

        yield send


def _taken() -> list[str]:
    """The ids of the jobs that the SDK holds."""
    held: Any = JobsProgress()
    return [str(job) for job in held]


def _behind_runpod() -> bool:
    """Else it is the SDK's local server or a single test job."""
    return bool(os.environ.get("RUNPOD_WEBHOOK_GET_JOB"))


def _quiet() -> None:
    """Unless asked, the SDK does not log whole jobs and answers: they hold signed addresses."""
    if not os.environ.get("RUNPOD_LOG_LEVEL") and not os.environ.get("RUNPOD_DEBUG_LEVEL"):
        logger: Any = RunPodLogger()
        logger.set_level("WARN")
