"""What RunPod and the worker behind it say of a job → where it stands, its result, its error. Pure."""

import base64
import binascii
import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.errors import Canceled, InvalidParameters, Problem, RanTooLong, RunnerError
from runner.job import Artifact, Probe, Progress, Result, Status
from runner.remote.errors import EndpointError, EndpointUnavailable, ResultExpired
from runner.shape import mapping, sequence

_STATUS = {
    "IN_QUEUE": Status.QUEUED,
    "IN_PROGRESS": Status.RUNNING,
    "RUNNING": Status.RUNNING,
    "COMPLETED": Status.SUCCEEDED,
    "FAILED": Status.FAILED,
    "TIMED_OUT": Status.FAILED,
    "CANCELLED": Status.CANCELED,
}
TERMINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)
_SAID = 2_000  # characters of a foreign error that are repeated


@dataclass(frozen=True)
class Standing:
    """Where a job stands. `result` or `error` are there once it has ended."""

    status: Status
    progress: Progress
    result: Result | None = None
    inlined: Mapping[str, bytes] = field(default_factory=dict[str, bytes])  # by location
    error: RunnerError | None = None


def standing(said: Mapping[str, Any]) -> Standing:
    """From the body of a status. Raises EndpointError for what is none."""
    word = said.get("status")
    status = _STATUS.get(str(word))
    if status is None:
        raise EndpointError(f"the endpoint says that the job is {word!r}, which is no known status")
    if status is Status.SUCCEEDED:
        return _succeeded(said.get("output"))
    if status is Status.QUEUED:
        return Standing(status, Progress(0.0, "waiting for a worker"))
    if status is Status.RUNNING:
        return Standing(status, _progress(mapping(said.get("output"))))
    error = _ended(str(word), said)
    return Standing(status, Progress(0.0, str(status)), error=error)


def error_of(said: Mapping[str, Any]) -> RunnerError:
    """The error that a worker has told: `code`, `message`, `details`, `retryable`."""
    code, message = str(said.get("code")), str(said.get("message") or "")
    details, retryable = dict(mapping(said.get("details"))), bool(said.get("retryable"))
    if code == InvalidParameters.code:
        found = [
            Problem(str(p.get("parameter")), str(p.get("message")))
            for p in map(mapping, sequence(details.get("problems")))
        ]
        return InvalidParameters(found or [Problem("params", message)])
    known = [kind for kind in _kinds(RunnerError) if kind.code == code]
    exact = [kind for kind in known if kind.retryable == retryable]
    if known:
        return (exact or known)[0](message, details=details)
    kind = EndpointUnavailable if retryable else EndpointError
    return kind(message, details={**details, "code": code})


def _kinds(kind: type[RunnerError]) -> Iterator[type[RunnerError]]:
    """The tree of errors that are made of a message and details, the general ones first."""
    level = [kind]
    while level:
        yield from (k for k in level if k.__init__ is RunnerError.__init__)
        level = [
            sub for k in level for sub in k.__subclasses__() if not sub.__name__.startswith("_")
        ]


def _progress(said: Mapping[str, Any]) -> Progress:
    """A worker's update; empty before its first."""

    def number(name: str) -> float | None:
        value = said.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    step, steps = number("step"), number("steps")
    return Progress(
        min(1.0, max(0.0, number("progress") or 0.0)),
        str(said.get("stage") or "starting"),
        None if step is None else int(step),
        None if steps is None else int(steps),
        number("eta"),
    )


def _succeeded(output: object) -> Standing:
    said = mapping(output)
    try:
        result, inlined = _result(said)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise EndpointError(
            "the endpoint's answer is no result of a callsheet worker; is it one, of this version?",
            details={"fields": sorted(map(str, said))[:20]},
        ) from error
    return Standing(Status.SUCCEEDED, Progress(1.0, "done"), result, inlined)


def _result(said: Mapping[str, Any]) -> tuple[Result, dict[str, bytes]]:
    """A worker of a later version may say more: what is not known is left out."""
    artifacts = [dict(artifact) for artifact in said["artifacts"]]
    texts = {a["location"]: a["base64"] for a in artifacts if a.get("base64")}
    own = _fields(Result, said)
    own["artifacts"] = [
        {**_fields(Artifact, a), "probe": _fields(Probe, a["probe"])} for a in artifacts
    ]
    inlined = {place: base64.b64decode(text, validate=True) for place, text in texts.items()}
    return Result.from_dict(own), inlined


def _fields(kind: Any, said: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in dataclasses.fields(kind)}
    return {name: value for name, value in said.items() if name in names}


def _ended(word: str, said: Mapping[str, Any]) -> RunnerError:
    """Why a job has not succeeded."""
    told = said.get("error") or mapping(said.get("output")).get("error") or ""
    text = told if isinstance(told, str) else json.dumps(told, default=str)
    parsed = mapping(_parsed(text))
    if word == "CANCELLED":
        return Canceled("the job was canceled at RunPod")
    if {"code", "message"} <= parsed.keys():
        return error_of(parsed)
    if parsed.get("error_message"):  # the SDK's own, where a handler has raised
        text = f"{parsed.get('error_type') or 'error'}: {parsed['error_message']}"
    short = text if len(text) <= _SAID else f"{text[: _SAID - 1]}…"
    if text == "Job ID not found":  # the SDK's local server
        return ResultExpired("the endpoint does not know the job; its result was asked for before")
    if word == "TIMED_OUT" or "timed out" in text:
        return RanTooLong(
            f"RunPod has ended the job: {short or 'its time is over'}; "
            "--timeout, or the endpoint's execution timeout, allows more"
        )
    return EndpointError(f"the job failed at the endpoint: {short or 'no reason is given'}")


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
