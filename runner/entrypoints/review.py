"""What a reviewer reads of two workflow files: what callers feel first, then the graph."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner import wording
from runner.comparison import Comparison
from runner.contract import Bump, Change
from runner.entrypoints.console import out
from runner.release import Release, changelog_entry

_MARKS = {"added": ("+", "green"), "removed": ("-", "red")}
_GRAPH = ("node", "link", "subgraph", "group node")
_VERDICTS = {
    Bump.NONE: ("the same but for its name or version", "green"),
    Bump.PATCH: ("same contract, other graph", "green"),
    Bump.MINOR: ("callers keep working", "yellow"),
    Bump.MAJOR: ("breaks callers", "bold red"),
}


def show_comparison(
    comparison: Comparison, *, before: str, after: str, identical: bool = False
) -> None:
    """The verdict, then every change under the name of what has changed.

    `identical`: the files say the very same, layout included.
    """
    out.print(Text.assemble((before, "bold"), " → ", (after, "bold")), soft_wrap=True)
    if comparison.same:
        words = "they are the same" if identical else "no difference but in layout"
        out.print(Text(words, "green"))
        return
    words, style = _VERDICTS[comparison.bump]
    times = f" in {len(comparison.breaking)} ways" if len(comparison.breaking) > 1 else ""
    level = f"{times}: a {comparison.bump.word} release" if comparison.bump else ""
    out.print(Text.assemble((words, style), level))
    for heading, changes in (
        ("identity", comparison.identity),
        ("contract", comparison.contract),
        ("graph", comparison.graph),
    ):
        if changes:
            out.print()
            out.print(Text(heading, "bold underline"))
            out.print(_table(changes))


def show_release(release: Release, *, path: Path | None, today: date) -> None:
    """What was released, or would be: the changes, then the changelog's entry, then the file."""
    if release.comparison is None:
        out.print(Text(changelog_entry(release, today=today)))
    else:
        before = f"{release.name}@{release.previous}"
        show_comparison(release.comparison, before=before, after=release.reference)
        out.print()
    if path is None:
        out.print(
            Text.assemble((release.reference, "bold"), " would be released; nothing is written")
        )
    else:
        out.print(Text.assemble((release.reference, "bold green"), f"  {path}"), soft_wrap=True)
        if release.previous:
            out.print(Text(_reached(release.name, release.previous, release.version), "dim"))


def _reached(name: str, before: str, version: str) -> str:
    """Which callers get the version. Pure."""
    old, major = before.partition(".")[0], version.partition(".")[0]
    if old == major:
        return f"callers of {name}@{major} get it"
    return f"callers of {name}@{old} keep {before}; this one is {name}@{major}"


def _table(changes: Sequence[Change]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(max_width=30, overflow="fold")
    table.add_column(overflow="fold")
    for subject, found in groupby(changes, key=_heading):
        if subject:
            table.add_row("", Text(subject, "dim"))
        for (name, _), own in groupby(
            found, key=lambda c: (_name(c), _mark(c) if c.subject == "model" else "")
        ):
            _add_rows(table, name, list(own))
    return table


def _add_rows(table: Table, name: str, changes: Sequence[Change]) -> None:
    mark, style = _mark(changes[0])
    for place, change in enumerate(changes):
        first = place == 0
        table.add_row(
            Text(f"  {mark}" if first else "", style),
            Text(name if first else "", "bold"),
            Group(*_said(change)),
        )


def _said(change: Change) -> Iterator[RenderableType]:
    words = _file(change) if change.subject == "model" else wording.said(change)
    yield Text(words if change.breaks_callers else f"{words}{_aside(change)}")
    if change.breaks_callers:
        yield Text.assemble(("breaks callers", "bold red"), (f": {change.note}", "red"))
    for text in wording.text_diff(change):
        yield Padding(Text(text, {"+": "green", "-": "red"}.get(text[0], "dim")), (0, 0, 0, 2))


def _file(change: Change) -> str:
    """A model's file name; where it comes from only if that has changed."""
    name = change.name.rpartition("/")[2]
    return f"{name}: {wording.said(change)}" if change.kind == "changed" else name


def _aside(change: Change) -> str:
    return f" ({change.note})" if change.note else ""


def _mark(change: Change) -> tuple[str, str]:
    """A node that only has another link is changed, not added."""
    return ("~", "yellow") if change.subject == "link" else _MARKS.get(change.kind, ("~", "yellow"))


def _heading(change: Change) -> str:
    if change.subject in _GRAPH:
        return f"in subgraph {change.where}" if change.where else ""
    return "" if change.subject == "identity" else f"{change.subject}s"


def _name(change: Change) -> str:
    if change.subject == "model":
        return change.name.rpartition("/")[0]
    return change.name or ("form" if change.subject == "parameter" else "")
