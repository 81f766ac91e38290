"""A stranger's request → a job: what may be asked for, and every problem of it at once. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runner.errors import InvalidParameters, Problem, UnknownWorkflow
from runner.job import Job
from runner.service import compatibility
from runner.service.compatibility import SERVICES, Old
from runner.shape import mapping

_OURS = ("job_id", "to", "inline")  # beside a workflow's parameters, or an old request's fields
_LONGEST_ID = 200  # characters


@dataclass(frozen=True)
class Served:
    """What callers may ask for."""

    workflows: tuple[str, ...] = ()  # references; empty: every released one
    services: tuple[str, ...] = SERVICES  # whose old requests are taken

    @property
    def shown(self) -> list[str] | str:
        """The workflows as a log says them: none named means all."""
        return list(self.workflows) or "all"


@dataclass(frozen=True)
class Asked:
    """A request, read."""

    job: Job
    to: str | None = None  # where the caller wants the outputs
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])  # for a destination's path
    inline: bool = False  # the outputs' bytes in the answer
    old: Old | None = None  # it has the shape of an old service


def read(request: object, *, given_id: str, now: datetime, served: Served = Served()) -> Asked:
    """Read a request. `given_id` is the job's id where the request names none.

    Raises InvalidParameters with every problem of its outer fields, or UnknownWorkflow.
    """
    if not isinstance(request, Mapping):
        raise InvalidParameters([Problem("input", "is no JSON object; " + _SHAPE)])
    said = mapping(request)  # pyright: ignore[reportUnknownArgumentType]
    if said.get("workflow") is not None:
        return _new(said, given_id, now, served)
    old = compatibility.meant(said, served.services)
    if old is None:
        raise InvalidParameters([Problem("workflow", f"is missing; {_SHAPE}")])
    return _old(old, said, given_id, now)


_SHAPE = 'write {"workflow": "name@1", "params": {…}}'


def _new(said: Mapping[str, Any], given_id: str, now: datetime, served: Served) -> Asked:
    problems = _unknown(said, ("workflow", "params", *_OURS))
    problems += _wrong_outer(said)
    workflow: Any = said["workflow"]
    params = mapping(said.get("params"))
    if not isinstance(workflow, str):
        problems.append(Problem("workflow", "is no text; write name@version"))
    if said.get("params") is not None and not isinstance(said["params"], Mapping):
        problems.append(Problem("params", "is no JSON object of parameters by name"))
    problems += [
        Problem(f"params.{name}", "is no parameter: single widgets cannot be set here")
        for name in params
        if "." in name
    ]
    if problems:
        raise InvalidParameters(problems)
    _require_served(str(workflow), served)
    job = Job(_id(said, given_id), str(workflow), params)
    return Asked(job, said.get("to"), _fields(job, now), bool(said.get("inline")))


def _old(old: Old, said: Mapping[str, Any], given_id: str, now: datetime) -> Asked:
    problems = _unknown(said, (*compatibility.known(old), *_OURS))
    problems += _wrong_outer(said)
    problems += [
        Problem(
            name,
            f"is missing: without `workflow` this is read as a request of the old {old.service} "
            f'service; to ask by name write {{"workflow": "{old.workflow}", "params": {{…}}}}',
        )
        for name in old.required
        if said.get(name) is None
    ]
    own = compatibility.fields(old, said)
    problems += [
        Problem(name, "is neither a text nor a whole number")
        for name, value in own.items()
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int))
    ]
    if problems:
        raise InvalidParameters(problems)
    job = Job(_id(said, given_id), old.workflow, compatibility.params(old, said))
    inline = bool(said.get("inline"))
    return Asked(job, said.get("to"), {**_fields(job, now), **own}, inline, old)


def _fields(job: Job, now: datetime) -> dict[str, Any]:
    return {"job_id": job.id, "stamp": f"{now:%Y%m%d_%H%M%S}"}


def _id(said: Mapping[str, Any], given_id: str) -> str:
    return str(said.get("job_id") or given_id)


def _wrong_outer(said: Mapping[str, Any]) -> list[Problem]:
    job_id, to, inline = (said.get(name) for name in _OURS)
    problems: list[Problem] = []
    if job_id is not None and not (isinstance(job_id, str) and 0 < len(job_id) <= _LONGEST_ID):
        problems.append(Problem("job_id", f"is no text of 1 to {_LONGEST_ID} characters"))
    if to is not None and not isinstance(to, str):
        problems.append(Problem("to", "is no text; write gs://bucket/prefix or another address"))
    if inline is not None and not isinstance(inline, bool):
        problems.append(Problem("inline", "is neither true nor false"))
    return problems


def _unknown(said: Mapping[str, Any], known: Sequence[str]) -> list[Problem]:
    return [
        Problem(str(name)[:80], f"is no field of such a request{_near(str(name)[:80], known)}")
        for name in said
        if name not in known
    ]


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"


def _require_served(reference: str, served: Served) -> None:
    """A caller far away names no file of this machine, and nothing that is not meant for it."""
    name, _, version = reference.partition("@")
    fitting = [w.partition("@") for w in served.workflows]
    allowed = not fitting or any(
        name == own and (not own_version or f"{version}.".startswith(f"{own_version}."))
        for own, _, own_version in fitting
    )
    if reference.endswith(".json") or not allowed:
        known = ", ".join(served.workflows)
        raise UnknownWorkflow(
            f"there is no workflow {reference[:200]!r} here{f'; there is {known}' if known else ''}",
            details={"known": list(served.workflows)} if known else None,
        )
