"""Media inputs of a job: fetched from where the caller says, safely, into ComfyUI's input folder."""

import contextlib
import re
import shutil
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from runner.errors import Canceled, InputError, Problem
from runner.inputs import net, sources
from runner.inputs.buckets import Buckets
from runner.inputs.cache import Cache
from runner.inputs.disk import DiskFull, is_full, require_room
from runner.inputs.net import Allowed, Patience, Resolve
from runner.inputs.sources import Failed, Fetched, Limits, Moved, Wanted
from runner.job import Progress, Report
from runner.parameters import MEDIA, ROWS, Cell, Parameter
from runner.request import Ready
from runner.shape import mapping, sequence

__all__ = [
    "Access",
    "Allowed",
    "Buckets",
    "Cache",
    "DiskFull",
    "Limits",
    "Patience",
    "fetch",
    "folder_in",
    "is_full",
    "public_values",
    "require_room",
]

_STAGE = "fetching inputs"


@dataclass(frozen=True)
class Access:
    """Where inputs may come from and how much of them: an entry point's decision."""

    local: bool = False  # files of this machine: only where the caller is its user
    hosts: Allowed = field(default_factory=Allowed)  # may be asked although they are not public
    buckets: Buckets = field(default_factory=Buckets)  # read with the operator's credentials
    cache: Cache | None = None  # of downloads, for later jobs
    min_free: int = 1_000_000_000  # bytes that a disk must have free before a job starts
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
    ready: Ready,
    folder: Path,
    *,
    root: Path,
    access: Access,
    report: Report = lambda _: None,
    look: Callable[[], None] = lambda: None,
) -> Ready:
    """The request with every file in `folder`, and its name below `root` as the parameter's value.

    The filled document then holds no URL. `look` is called a few times a second, and what it
    raises ends every download. Raises InputError with every problem at once, DiskFull.
    """
    found = [p for p in ready.parameters if p.kind in (*MEDIA, *ROWS)]
    uses = [use for parameter in found for use in _uses(parameter, ready, root)]
    uses += [use for parameter in ready.media for use in _widget_uses(parameter, ready, root)]
    if not uses:
        return ready
    names = _fetch(uses, folder, root=root, access=access, report=report, look=look)
    values: dict[str, Any] = {}
    for parameter in (*found, *ready.media):
        own = {use.place: names[use] for use in uses if use.parameter == parameter.name}
        values[parameter.name] = _with_names(ready.values[parameter.name], own)
    return ready.with_files(values)


def public_values(ready: Ready) -> dict[str, Any]:
    """The request's values as they may be shown: URLs without query, userinfo and tokens. Pure."""
    kinds = {p.name: p.kind for p in (*ready.parameters, *ready.media)}
    return {name: _public(kinds.get(name), value) for name, value in ready.values.items()}


# How ComfyUI names a file with its folder.
_FOLDER = re.compile(r" \[(input|output|temp)\]$")

# A row of a list, counted from 0, and its key; None: the value itself.
_Place: TypeAlias = tuple[int, str] | None


@dataclass(frozen=True)
class _Use:
    """One place in a request that asks for a file."""

    parameter: str
    place: _Place
    wanted: Wanted

    def problem(self, reason: str) -> Problem:
        within = "" if self.place is None else f"[{self.place[0]}].{self.place[1]}"
        return Problem(f"{self.parameter}{within}", reason)


def _uses(parameter: Parameter, ready: Ready, root: Path) -> list[_Use]:
    """The files that a parameter asks for, but for those that lie in the input folder already."""
    value = ready.values.get(parameter.name)
    if isinstance(value, str) and parameter.kind in MEDIA:
        texts: list[tuple[_Place, str, str]] = [(None, value, parameter.kind)]
    else:
        texts = _cells(parameter.kind, value)
    given = ready.job.params.get(parameter.name) is not None
    seconds = parameter.widgets.get("max_duration") or None
    beside = ready.workflow.path.parent if ready.workflow.path else None
    return [
        _Use(
            parameter.name,
            place,
            Wanted(text, kind, None if kind == "image" else seconds, None if given else beside),
        )
        for place, text, kind in texts
        if given or not _inside(root, text)
    ]


def _widget_uses(parameter: Parameter, ready: Ready, root: Path) -> list[_Use]:
    """The file that a caller gives for another pack's widget, unless ComfyUI has it by that name."""
    name = ready.values[parameter.name]
    if _FOLDER.search(name) or _inside(root, name):
        return []
    return [_Use(parameter.name, None, Wanted(name, parameter.kind))]


def _fetch(
    uses: Sequence[_Use],
    folder: Path,
    *,
    root: Path,
    access: Access,
    report: Report,
    look: Callable[[], None],
) -> dict[_Use, str]:
    downloads = net.Downloads(access.hosts, access.patience, access.resolve, access.cache)
    wanted = list(dict.fromkeys(use.wanted for use in uses))

    def seen(moved: Moved) -> None:
        look()
        report(Progress(0.0, _STAGE, moved.files, len(wanted)))

    seen(Moved(0, None, 0))
    try:
        got = sources.fetch_all(
            wanted,
            folder,
            downloads=downloads,
            local=access.local,
            limits=access.limits,
            allowed=access.buckets,
            seen=seen,
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


def _with_names(value: Any, names: Mapping[_Place, str]) -> Any:
    """A file's name for a source; in a list, for each row's."""
    if not names or None in names:
        return names.get(None, value)
    return [
        {key: names.get((index, key), cell) for key, cell in row.items()}
        for index, row in enumerate(map(mapping, value))
    ]


def _cells(kind: str | None, value: object) -> list[tuple[_Place, str, str]]:
    """Where the rows of a list name files: place, source, kind of file."""
    cells: Mapping[str, Cell] = ROWS[kind].cells if kind and kind in ROWS else {}
    return [
        ((index, key), str(row[key]), cell.media)
        for index, row in enumerate(map(mapping, sequence(value)))
        for key, cell in cells.items()
        if cell.media and row.get(key)
    ]


def _inside(root: Path, name: str) -> bool:
    """Whether a file of this name lies in the input folder."""
    if not name or "\0" in name or "://" in name:
        return False
    path = (root / name).resolve()
    return path.is_relative_to(root.resolve()) and path.is_file()


def _public(kind: str | None, value: Any) -> Any:
    if kind in MEDIA and isinstance(value, str):
        return sources.shown(value)
    shown = {place: sources.shown(source) for place, source, _ in _cells(kind, value)}
    return _with_names(value, shown)
