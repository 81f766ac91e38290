"""What `callsheet models …` shows: tables, bars, and the same as JSON."""

import threading
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from runner.entrypoints import console
from runner.modelfiles.finding import Found, Wanted
from runner.modelfiles.hashing import Verdict
from runner.modelfiles.pulling import Planned, Pulled
from runner.modelfiles.sources import Source

_COLOURS = {
    "found": "green", "right": "green", "pulled": "green", "present": "green",
    "missing": "red", "broken": "red", "refused": "red", "wrong": "red", "failed": "red",
    "to pull": "yellow", "unknown": "yellow",
}  # fmt: skip
_ALIKE = 0.1  # of a file: how often a log hears of it


class Progress:
    """A bar for each file and one for all on a terminal; lines elsewhere. Any thread may tell it."""

    def __init__(self, bars: Bars | None, sizes: Mapping[str, int]) -> None:
        self._bars, self._lock = bars, threading.Lock()
        self._sizes, self._there = dict(sizes), dict.fromkeys(sizes, 0)
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, tuple[str, int]] = {}
        many = bars is not None and len(sizes) > 1
        self._all = bars.add_task("all files", total=sum(sizes.values())) if bars and many else None

    def __call__(self, name: str, what: str, there: int, size: int | None) -> None:
        with self._lock:
            if size is not None:
                self._sizes[name] = size
            self._there[name] = there
            if self._bars is None:
                self._line(name, what, there, size)
            else:
                self._bar(self._bars, name, what, there, size)

    def _bar(self, bars: Bars, name: str, what: str, there: int, size: int | None) -> None:
        label = escape(name if what == "pulling" else f"{name} ({what})")
        if name not in self._tasks:
            self._tasks[name] = bars.add_task(label, total=size, completed=there)
        bars.update(self._tasks[name], total=size, completed=there, description=label)
        if self._all is not None:
            total, done = sum(self._sizes.values()), sum(self._there.values())
            bars.update(self._all, total=total, completed=done)

    def _line(self, name: str, what: str, there: int, size: int | None) -> None:
        now = (what, int(there / size / _ALIKE) if size else 0)
        if self._said.get(name) == now:
            return
        self._said[name] = now
        done, total = sum(self._there.values()), sum(self._sizes.values())
        share = f"{there / size:4.0%}" if size else "    "
        whole = f"  ({done / total:.0%} of {bytes_of(total)} in all)" if total else ""
        console.err.print(f"{share}  {what} {name}{whole}", highlight=False, markup=False,
                          soft_wrap=True)  # fmt: skip


@contextmanager
def progress_of(sizes: Mapping[str, int]) -> Generator[Progress]:
    """`sizes` are bytes by name, as far as they are known."""
    if not console.err.is_terminal:
        yield Progress(None, sizes)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(),
               TransferSpeedColumn(), TimeRemainingColumn())  # fmt: skip
    with Bars(*columns, console=console.err, transient=True) as bars:
        yield Progress(bars, sizes)


def bytes_of(count: int | None) -> str:
    if count is None:
        return "size unknown"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def show_found(found: Sequence[Found], sources: Mapping[Wanted, Source | str]) -> None:
    common = _common(source for source in sources.values() if isinstance(source, str))
    for one in found:
        _head(one.state, one.model, _size(one, sources.get(one.model)))
        if one.path and one.place:
            _line(f"{one.path} ({one.place.label})")
        if one.alias:
            _line(f"under its other name {one.alias}")
        source = sources.get(one.model)
        _line(source.shown if isinstance(source, Source) else None if source in common else source)
        _line(one.problem)
        _line(one.hint)
        if one.model.choice and one.state == "missing":
            _line("only loaded where a request chooses it")
    _say_common(common)
    _sum_up(one.state for one in found)
    known = [s.size for s in sources.values() if isinstance(s, Source) and s.size]
    if known:
        console.out.print(f"to fetch: {bytes_of(sum(known))}", highlight=False)


def show_verdicts(verdicts: Iterable[Verdict]) -> None:
    listed = list(verdicts)
    for one in listed:
        said = f"sha256 {one.sha256[:16]}…" if one.sha256 else ""
        by = f", as the {one.known_by} says" if one.state == "right" else ""
        _head(one.state, one.found.model, f"{said}{by}")
        _line(str(one.found.path) if one.found.path else None)
        _line(one.reason)
    _sum_up(one.state for one in listed)


def show_plan(planned: Iterable[Planned]) -> None:
    listed = list(planned)
    common = _common(one.problem for one in listed)
    for one in listed:
        _head(one.state, one.found.model, bytes_of(one.source.size) if one.source else "")
        if one.source:
            _line(f"{one.source.shown} → {one.target}")
            _line(_trust(one.source.known_by))
        _line(None if one.problem in common else one.problem)
    _say_common(common)
    left = sum(one.left for one in listed)
    console.out.print(f"to fetch: {bytes_of(left)}", highlight=False)


def show_pulled(pulled: Iterable[Pulled]) -> None:
    listed = list(pulled)
    for one in listed:
        _head(one.state, one.planned.found.model, bytes_of(one.bytes) if one.bytes else "")
        _line(str(one.path) if one.path else None)
        if one.state == "pulled":
            _line(_trust(one.verified_by))
        _line(one.reason)
    _sum_up(one.state for one in listed)


def found_json(found: Found, source: Source | str | None) -> dict[str, Any]:
    known = source if isinstance(source, Source) else None
    return {
        **_model_json(found.model),
        "state": found.state,
        "path": str(found.path) if found.path else None,
        "place": found.place.label if found.place else None,
        "alias": found.alias,
        "bytes": _bytes(found) or (known.size if known else None),
        "sha256": known.sha256 if known else found.model.sha256,
        "problem": found.problem or (source if isinstance(source, str) else None),
        "hint": found.hint,
    }


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        **_model_json(verdict.found.model),
        "state": verdict.state,
        "path": str(verdict.found.path) if verdict.found.path else None,
        "sha256": verdict.sha256,
        "expected": verdict.expected,
        "verified_by": verdict.known_by if verdict.state == "right" else None,
        "problem": verdict.reason,
    }


def planned_json(planned: Planned) -> dict[str, Any]:
    source = planned.source
    return {
        **_model_json(planned.found.model),
        "state": planned.state,
        "path": str(planned.target) if planned.target else None,
        "bytes": source.size if source else None,
        "bytes_left": planned.left,
        "sha256": source.sha256 if source else None,
        "problem": planned.problem,
    }


def pulled_json(pulled: Pulled) -> dict[str, Any]:
    return {
        **_model_json(pulled.planned.found.model),
        "state": pulled.state,
        "path": str(pulled.path) if pulled.path else None,
        "bytes": pulled.bytes,
        "sha256": pulled.sha256,
        "verified_by": pulled.verified_by,
        "problem": pulled.reason,
    }


def _model_json(model: Wanted) -> dict[str, Any]:
    return {
        "name": model.name,
        "directory": model.directory,
        "url": model.url,
        "workflows": list(model.workflows),
        "choice": model.choice,
    }


def _bytes(found: Found) -> int | None:
    return found.path.stat().st_size if found.path else None


def _size(found: Found, source: Source | str | None) -> str:
    if found.path:
        return bytes_of(_bytes(found))
    return bytes_of(source.size) if isinstance(source, Source) else ""


def _trust(known_by: str | None) -> str:
    return f"sha256 by the {known_by}" if known_by else "no sha256 is known: only length and header"


def _head(state: str, model: Wanted, more: str) -> None:
    mark = f"[{_COLOURS[state]}]{state:8}[/]"
    console.out.print(f"{mark} [bold]{escape(model.shown)}[/]  [dim]{escape(more)}[/]",
                      highlight=False, soft_wrap=True)  # fmt: skip


def _line(said: str | None) -> None:
    if said:
        console.out.print(Text(f"         {said}", "dim"), highlight=False, soft_wrap=True)


def _common(problems: Iterable[str | None]) -> dict[str, int]:
    """What several files share, and how many do: said once. Pure."""
    counted = Counter(problem for problem in problems if problem)
    return {problem: count for problem, count in counted.items() if count > 1}


def _say_common(common: Mapping[str, int]) -> None:
    for problem, count in common.items():
        said = Text.assemble((f"for {count} of them: ", "bold"), problem)
        console.out.print(said, highlight=False, soft_wrap=True)


def _sum_up(states: Iterable[str]) -> None:
    counted: dict[str, int] = {}
    for state in states:
        counted[state] = counted.get(state, 0) + 1
    said = ", ".join(f"{count} {state}" for state, count in counted.items())
    console.out.print(said or "no models are named", highlight=False)
