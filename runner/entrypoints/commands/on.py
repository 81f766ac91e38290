"""`callsheet run … --on runpod://ENDPOINT_ID`: the same request, rendered at an endpoint."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from runner.entrypoints import console
from runner.errors import Canceled, InvalidParameters, Problem
from runner.job import Job, Progress, Result, new_job_id
from runner.jobs import stored
from runner.remote import Client, Patience
from runner.request import check
from runner.run import fingerprint
from runner.storage.local import LocalStorage
from runner.workflow import Workflow


def run_on(
    endpoint: str,
    workflow: str,
    given: Mapping[str, Any],
    *,
    found: Workflow | None,
    to: str,
    job_id: str | None = None,
    media_to: str | None = None,
    timeout: float | None = None,
    queue_timeout: float | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Result:
    """Render at an endpoint. Ctrl-C cancels the job there.

    `to`: a folder that the outputs are brought to, or an address with `://` where the endpoint
    stores them. `found`: the workflow, where it is known here. Raises RunnerError.
    """
    job_id = job_id or new_job_id(workflow.partition("@")[0], datetime.now())
    known = _known(Job(job_id, workflow, given), found, to) if found else None
    if known is not None:
        return known
    try:
        return _rendered(endpoint, workflow, given, job_id=job_id, to=to, media_to=media_to,
                         timeout=timeout, queue_timeout=queue_timeout, patience=patience)  # fmt: skip
    except KeyboardInterrupt:
        raise Canceled("the job was canceled") from None


def _rendered(
    endpoint: str,
    workflow: str,
    given: Mapping[str, Any],
    *,
    to: str,
    media_to: str | None,
    patience: Patience,
    **how: Any,
) -> Result:
    away = "://" in to
    with (
        Client.runpod(endpoint, media_to=media_to, patience=patience) as client,
        console.progress_shown("checking the request") as report,
        client.submit(
            workflow, given, to=to if away else None, inline=not away, report=report, **how
        ) as job,
    ):
        try:
            return job.result(report) if away else job.download(to, report)
        except KeyboardInterrupt:
            report(Progress(0.0, "canceling at the endpoint"))
            raise


def values(pairs: Sequence[str]) -> dict[str, Any]:
    """`-p name=value` for a workflow that is not known here: JSON where it is some, else text.

    Raises InvalidParameters.
    """
    wrong = [Problem(pair, "write it as name=value") for pair in pairs if "=" not in pair]
    if wrong:
        raise InvalidParameters(wrong)
    return {name: _value(text) for name, _, text in (pair.partition("=") for pair in pairs)}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _known(job: Job, found: Workflow, to: str) -> Result | None:
    """The result that an earlier call of this job has brought home, if its files are still there."""
    if "://" in to:
        return None
    try:
        ready = check(job, found)
    except InvalidParameters:
        return None  # told with all else that is wrong
    result = stored(ready, LocalStorage(Path(to)), fingerprint(ready, rehearsal=False))
    there = result and all(Path(artifact.location).is_file() for artifact in result.artifacts)
    return result if there else None
