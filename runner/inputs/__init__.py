"""Media inputs of a job: fetched from where the caller says, safely, into ComfyUI's input folder."""

import contextlib
import dataclasses
import shutil
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import parameters
from runner.errors import Canceled, InputError, Problem
from runner.inputs import net, sources
from runner.inputs.net import Allowed, Patience, Resolve
from runner.inputs.sources import Failed, Fetched, Limits, Wanted
from runner.job import Progress, Report
from runner.parameters import MEDIA, Parameter
from runner.request import Ready
from runner.shape import mapping, sequence

__all__ = ["Access", "Allowed", "Limits", "Patience", "fetch", "folder_in", "public_values"]

_STAGE = "fetching inputs"


@dataclass(frozen=True)
class Access:
    """Where inputs may come from and how much of them: an entry point's decision."""

    local: bool = False  # files of this machine: only where the caller is its user
    hosts: Allowed = field(default_factory=Allowed)  # may be asked although they are not public
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    resolve: Resolve = net.resolve


@contextlib.contextmanager
def folder_in(root: Path) -> Generator[Path]:
    """A folder of this job's own in ComfyUI's input folder; removed at the end."""
    folder = root / "callsheet" / uuid.uuid4().hex
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch(
    ready: Ready, folder: Path, *, root: Path, access: Access, report: Report = lambda _: None
) -> Ready:
    """The request with every file in `folder`, and its name below `root` as the parameter's value.

    The filled document then holds no URL. Raises InputError with every problem at once.
    """
    found = [p for p in parameters.read(ready.document) if p.kind in (*MEDIA, "keyframes")]
    uses = [use for parameter in found for use in _uses(parameter, ready, root)]
    if not uses:
        return ready
    names = _fetch(uses, folder, root=root, access=access, report=report)
    values = dict(ready.values)
    for parameter in found:
        own = {use.row: names[use] for use in uses if use.parameter == parameter.name}
        values[parameter.name] = _with_names(values[parameter.name], own)
    document = parameters.fill(ready.document, found, values)
    return dataclasses.replace(ready, values=values, document=document)


def public_values(ready: Ready) -> dict[str, Any]:
    """The request's values as they may be shown: URLs without query, userinfo and tokens. Pure."""
    kinds = {p.name: p.kind for p in parameters.read(ready.document)}
    return {name: _public(kinds.get(name), value) for name, value in ready.values.items()}


@dataclass(frozen=True)
class _Use:
    """One place in a request that asks for a file."""

    parameter: str
    row: int | None  # of a list, counted from 0
    wanted: Wanted

    def problem(self, reason: str) -> Problem:
        where = self.parameter if self.row is None else f"{self.parameter}[{self.row}].image_url"
        return Problem(where, reason)


def _uses(parameter: Parameter, ready: Ready, root: Path) -> list[_Use]:
    """The files that a parameter asks for, but for those that lie in the input folder already."""
    value = ready.values.get(parameter.name)
    if isinstance(value, str) and parameter.kind in MEDIA:
        texts = [(None, value, parameter.kind)]
    else:
        texts = [(row, str(item["image_url"]), "image") for row, item in _rows(value)]
    given = ready.job.params.get(parameter.name) is not None
    seconds = parameter.widgets.get("max_duration") or None
    beside = ready.workflow.path.parent if ready.workflow.path else None
    return [
        _Use(parameter.name, row, Wanted(text, kind, seconds, None if given else beside))
        for row, text, kind in texts
        if given or not _inside(root, text)
    ]


def _fetch(
    uses: Sequence[_Use], folder: Path, *, root: Path, access: Access, report: Report
) -> dict[_Use, str]:
    downloads = net.Downloads(access.hosts, access.patience, access.resolve)
    wanted = list(dict.fromkeys(use.wanted for use in uses))
    report(Progress(0.0, _STAGE, 0, len(wanted)))
    try:
        got = sources.fetch_all(
            wanted,
            folder,
            downloads=downloads,
            local=access.local,
            limits=access.limits,
            seen=lambda moved: report(Progress(0.0, _STAGE, moved.files, len(wanted))),
        )
    except KeyboardInterrupt:
        raise Canceled("the job was canceled") from None
    failed = [(use, answer) for use in uses if isinstance(answer := got[use.wanted], Failed)]
    if failed:
        raise _input_error(failed)
    return {
        use: answer.path.relative_to(root).as_posix()
        for use in uses
        if isinstance(answer := got[use.wanted], Fetched)
    }


def _input_error(failed: Sequence[tuple[_Use, Failed]]) -> InputError:
    problems = [(use.problem(answer.reason), answer.again) for use, answer in failed]
    listed = [
        {"parameter": problem.parameter, "message": problem.message, "retryable": again}
        for problem, again in problems
    ]
    return InputError("\n".join(str(p) for p, _ in problems), details={"problems": listed})


def _with_names(value: Any, names: Mapping[int | None, str]) -> Any:
    """A file's name for a source; in a list, for each row's."""
    if not names or None in names:
        return names.get(None, value)
    return [
        {**row, "image_url": names.get(index, row.get("image_url"))}
        for index, row in enumerate(map(mapping, value))
    ]


def _rows(value: object) -> list[tuple[int, Mapping[str, Any]]]:
    """The rows of a list of keyframes that name a picture."""
    rows = enumerate(map(mapping, sequence(value)))
    return [(index, row) for index, row in rows if row.get("image_url")]


def _inside(root: Path, name: str) -> bool:
    """Whether a file of this name lies in the input folder."""
    if not name or "\0" in name or "://" in name:
        return False
    path = (root / name).resolve()
    return path.is_relative_to(root.resolve()) and path.is_file()


def _public(kind: str | None, value: Any) -> Any:
    if kind in MEDIA and isinstance(value, str):
        return sources.shown(value)
    if kind == "keyframes":
        return _with_names(
            value, {i: sources.shown(str(row["image_url"])) for i, row in _rows(value)}
        )
    return value
