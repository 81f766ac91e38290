"""A job at an endpoint: checked here, its media sent there, followed to its end."""

import dataclasses
import os
import random
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from runner import parameters
from runner import settings as settings_module
from runner import workflow as workflows
from runner.errors import (
    Canceled,
    InputError,
    InvalidParameters,
    Problem,
    QueuedTooLong,
    RequestError,
    RunnerError,
    UnknownWorkflow,
)
from runner.job import Job, Progress, Report, Result, Status, new_job_id
from runner.remote import answers, api, home, media
from runner.remote.answers import TERMINAL, Standing
from runner.remote.api import Api, NotThere, Patience, retry_after
from runner.remote.errors import EndpointError, EndpointUnavailable, ResultExpired
from runner.remote.media import Use
from runner.request import Ready, check
from runner.run import fingerprint
from runner.workflow import Workflow

_LEAST, _MOST = 5, 7 * 24 * 3600  # seconds that RunPod takes as a limit
_MISSED = 3  # answers in a row that the job is not there, before it is believed
_NOT_REACHED = "the endpoint is not reached; the job goes on"


class Client:
    """One endpoint whose workers run callsheet. Close it, or use it in a `with`."""

    def __init__(
        self,
        endpoint: Api,
        *,
        media_to: str | None = None,
        folders: tuple[Path, ...] = (),
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        self._api, self._media_to, self._folders = endpoint, media_to, folders
        self._patience = patience

    @classmethod
    def runpod(
        cls,
        endpoint: str,
        *,
        key: str | None = None,
        media_to: str | None = None,
        patience: Patience = Patience(),  # noqa: B008 - frozen
        environment: Mapping[str, str] = os.environ,
    ) -> "Client":
        """An endpoint by its id, as `runpod://ID`, or by its whole address.

        `key`: else `RUNPOD_API_KEY`. `media_to`: a bucket for files of this machine, such as
        `s3://bucket/prefix`; without one only files under 5 MB can be sent. `CALLSHEET_RUNPOD_API`
        names another API than RunPod's: without a path, the local server of its SDK. Workflows that
        are found here (`CALLSHEET_WORKFLOWS`) are checked here. Raises RequestError.
        """
        url = api.address(endpoint, environment.get("CALLSHEET_RUNPOD_API") or api.API)
        found = Api(url, key or environment.get("RUNPOD_API_KEY", "").strip(), patience)
        folders = settings_module.from_environment(environment).workflows
        return cls(found, media_to=media_to, folders=folders, patience=patience)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._api.close()

    def submit(
        self,
        workflow: str,
        params: Mapping[str, Any] | None = None,
        *,
        job_id: str | None = None,
        to: str | None = None,
        inline: bool = False,
        media_to: str | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        report: Report = lambda _: None,
    ) -> "RemoteJob":
        """Check a request, send its files, queue it. Everything wrong with it is told before.

        Files of this machine are named as Path, or as text where the workflow takes media.
        `job_id`: else one is made; the same request under the same id is not rendered twice by one
        worker. `to`: where the endpoint stores the outputs, if its operator lets callers choose.
        `inline`: outputs of up to 5 MB travel in the answer. `timeout`: seconds that it may run,
        else the endpoint's own limit; `queue_timeout`: seconds that it may wait for a worker.
        Raises InvalidParameters, InputError, RequestError, StorageError, EndpointError.
        """
        given = dict(params or {})
        policy = _policy(timeout)
        found = self._find(workflow)
        uses = media.uses(parameters.read(found.document) if found else (), given)
        ready = _require_right(workflow, found, given, uses)
        job_id = job_id or new_job_id(workflow.partition("@")[0], datetime.now())
        places = self._sent(uses, media_to or self._media_to, report)
        request: dict[str, Any] = {
            "workflow": workflow,
            "params": media.replaced(given, places),
            "job_id": job_id,
            **({"to": to} if to else {}),
            **({"inline": True} if inline else {}),
        }
        report(Progress(0.0, "submitting"))
        remote_id = self._api.submit(
            {"input": request, **policy}, tell=lambda said: report(Progress(0.0, said))
        )
        asked = fingerprint(ready, rehearsal=False) if ready else ""
        return RemoteJob(self._api, remote_id, self._patience, job_id, queue_timeout, asked)

    def job(self, remote_id: str) -> "RemoteJob":
        """A job that was submitted earlier, by RunPod's id of it. Asks nothing."""
        return RemoteJob(self._api, remote_id, self._patience)

    def health(self) -> Mapping[str, Any]:
        """RunPod's counts of the endpoint's workers and jobs. Raises EndpointError."""
        return self._api.health()

    def _find(self, reference: str) -> Workflow | None:
        """The workflow, if it is known here. Raises RequestError for a file: workers have their own."""
        if reference.endswith(".json"):
            raise RequestError(
                f"{reference}: an endpoint runs the workflows that are released there; "
                "write name@version"
            )
        try:
            return workflows.find(reference, self._folders)
        except UnknownWorkflow:
            return None

    def _sent(
        self, uses: list[Use], media_to: str | None, report: Report
    ) -> dict[media.Place, str]:
        if not uses:
            return {}
        return media.put_all(uses, media.uploads(media_to) if media_to else media.inline, report)


class RemoteJob:
    """A job at an endpoint. In a `with`, it is canceled when the block is left by an exception."""

    def __init__(
        self,
        endpoint: Api,
        remote_id: str,
        patience: Patience,
        job_id: str | None = None,
        queue_timeout: float | None = None,
        request: str = "",
    ) -> None:
        self.id = remote_id  # RunPod's
        self.job_id = job_id  # ours; None: it was submitted by somebody else
        self._api, self._patience, self._queue_timeout = endpoint, patience, queue_timeout
        self._request = request  # fingerprint of what was asked for
        self._submitted = time.monotonic()
        self._last = Standing(Status.QUEUED, Progress(0.0, "queued"))

    @property
    def status(self) -> Status:
        """As it was when it was last asked for. Terminal ones are final."""
        return self._last.status

    def __enter__(self) -> "RemoteJob":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is not None and self.status not in TERMINAL:
            self._end()

    def __iter__(self) -> Iterator[Progress]:
        """Every change, until the job has ended; its fraction never falls.

        Raises EndpointUnavailable if RunPod is not reached for `Patience.lost` seconds, while the
        job goes on; ResultExpired if RunPod knows it no more.
        """
        highest, shown = 0.0, None
        pauses = _Pauses(self._patience)
        while self.status not in TERMINAL:
            progress, asked = self._look(pauses)
            highest = max(highest, progress.fraction)
            progress = dataclasses.replace(progress, fraction=highest)
            moved = progress != shown
            if moved:
                shown = progress
                yield progress
            if self.status not in TERMINAL:
                self._require_started()
                time.sleep(pauses.next(moved=moved, asked=asked))

    def result(self, report: Report = lambda _: None) -> Result:
        """Wait for the end. The artifacts' locations are where the endpoint stored them.

        Raises what the job failed with, as if it had run here: EngineError, InputError, …
        """
        for progress in self:
            report(progress)
        if self._last.error is not None:
            raise self._last.error
        assert self._last.result is not None, "it has ended, and well"
        return dataclasses.replace(self._last.result, request=self._request)

    def download(self, folder: str | Path, report: Report = lambda _: None) -> Result:
        """Wait for the end and bring the outputs home, verified; the locations are then paths.

        Called again it continues, and fetches nothing twice. Raises as `result`, and StorageError.
        """
        result = self.result(report)
        return home.bring(
            result,
            Path(folder),
            inlined=self._last.inlined,
            report=report,
            patience=self._patience,
        )

    def cancel(self) -> Status:
        """End the job at RunPod, wait shortly for it, and say how it stands. Raises EndpointError."""
        if self.status not in TERMINAL and not self._api.cancel(self.id):
            raise EndpointError(
                f"job {self.id} cannot be canceled: it is not there, or the endpoint is the SDK's "
                "local server"
            )
        end = time.monotonic() + self._patience.cancel
        while self.status not in TERMINAL and time.monotonic() < end:
            try:
                self._last = answers.standing(self._api.status(self.id))
            except NotThere:
                self._last = _canceled()
            except EndpointUnavailable:
                pass
            if self.status not in TERMINAL:
                time.sleep(min(self._patience.poll, self._patience.cancel / 10))
        return self.status

    def _look(self, pauses: "_Pauses") -> tuple[Progress, float | None]:
        """How it stands now, and after how many seconds RunPod wants to be asked again."""
        try:
            said = self._api.status(self.id)
        except EndpointUnavailable as error:
            pauses.lost(error, self.id)
            return Progress(0.0, _NOT_REACHED), retry_after(error)
        except NotThere as error:
            pauses.missed(error, self.id)
            return self._last.progress, None
        pauses.heard()
        self._last = answers.standing(said)
        return self._last.progress, None

    def _require_started(self) -> None:
        """Raises QueuedTooLong; the job is canceled then."""
        limit = self._queue_timeout
        if limit is None or self.status is not Status.QUEUED:
            return
        if time.monotonic() - self._submitted > limit:
            self._end()
            error = QueuedTooLong(
                f"no worker has taken the job within {limit:g} s", details={"limit": limit}
            )
            if self._last.result is None:
                self._last = dataclasses.replace(_canceled(), error=error)

    def _end(self) -> None:
        """Cancel without a further error."""
        try:
            self.cancel()
        except RunnerError:
            return


class _Pauses:
    """How long to wait between two questions, and when to stop asking."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._pause = patience.poll
        self._heard = time.monotonic()
        self._missed = 0

    def heard(self) -> None:
        self._heard, self._missed = time.monotonic(), 0

    def lost(self, error: EndpointUnavailable, job_id: str) -> None:
        """Raises EndpointUnavailable, once it has been so for long."""
        silent = time.monotonic() - self._heard + (retry_after(error) or 0.0)
        if silent > self._patience.bears(error, self._patience.lost):
            raise EndpointUnavailable(
                f"{error.message}; job {job_id} may go on there, and can be followed later",
                details={**error.details, "runpod_id": job_id},
            ) from error

    def missed(self, error: NotThere, job_id: str) -> None:
        """Raises ResultExpired, once it has been said a few times."""
        self._missed += 1
        if self._missed >= _MISSED:
            raise ResultExpired(
                f"RunPod does not know job {job_id} any more: it keeps a result for 30 minutes, and "
                "a job for its time to live; what the endpoint has stored is still there",
                details={"runpod_id": job_id},
            ) from error

    def next(self, *, moved: bool, asked: float | None) -> float:
        """Seconds: short while the job moves, then longer; never at the same time for many callers."""
        if asked is not None:
            return asked
        slower = min(self._patience.slowest, self._pause * 1.5)
        self._pause = self._patience.poll if moved else slower
        return self._pause * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


def _canceled() -> Standing:
    return Standing(
        Status.CANCELED,
        Progress(0.0, "canceled"),
        error=Canceled("the job was canceled at RunPod"),
    )


def _policy(timeout: float | None) -> dict[str, Any]:
    """RunPod's own limit for a run, in its milliseconds. Raises RequestError."""
    if timeout is None:
        return {}
    if not _LEAST <= timeout <= _MOST:
        raise RequestError(
            f"timeout={timeout:g}: RunPod takes {_LEAST} to {_MOST:,} seconds (7 days)"
        )
    return {"policy": {"executionTimeout": round(timeout * 1000)}}


def _require_right(
    workflow: str, found: Workflow | None, given: Mapping[str, Any], uses: list[Use]
) -> Ready | None:
    """The request, where the workflow is known. Raises InvalidParameters or InputError with every problem."""
    ready: Ready | None = None
    wrong = [
        Problem(name, "is no parameter: single widgets cannot be set at an endpoint")
        for name in given
        if "." in name
    ]
    if found is not None:
        named = {name: value for name, value in given.items() if "." not in name}
        texts = media.replaced(named, {use.place: str(use.path) for use in uses})
        try:
            ready = check(Job("", workflow, texts), found)
        except InvalidParameters as error:
            wrong += error.problems
    files = [Problem(use.name, said) for use in uses if (said := media.trouble(use))]
    if wrong:
        raise InvalidParameters([*wrong, *files])
    if files:
        listed = [
            {"parameter": p.parameter, "message": p.message, "retryable": False} for p in files
        ]
        raise InputError("\n".join(map(str, files)), details={"problems": listed})
    return ready and dataclasses.replace(ready, job=Job("", workflow, given))
