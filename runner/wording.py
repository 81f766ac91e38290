"""Changes of a workflow file in words: one line each, for terminals and changelogs. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from runner.contract import Change
from runner.shape import mapping, sequence

_LONG = 60  # characters; of a longer text only what differs is shown
_CONTEXT = 16  # characters of what is the same, on either side
_MOST_LINES = 12  # of a text of many lines


def said(change: Change) -> str:
    """What the change is, without the name of what has changed."""
    if change.subject == "link":
        return _link(change)
    if change.kind == "renamed":
        return f"was {change.before}"
    if change.field == "mode":
        return "active again" if change.after == "active" else str(change.after)
    if change.kind in ("added", "removed") and change.subject == "model":
        return ""  # its name says it
    if change.kind in ("added", "removed"):
        return _whole(change.before if change.kind == "removed" else change.after)
    if change.kind == "reordered":
        return f"{change.field}: {', '.join(change.after)} (was {', '.join(change.before)})"
    colon = ":" if sequence(change.before) and sequence(change.after) else ""
    return f"{change.field}{colon} {_between(change)}"


def text_diff(change: Change) -> list[str]:
    """The lines that differ, marked with - and +, if the value is a text of many lines."""
    if not _many_lines(change):
        return []
    before, after = (str(value or "").splitlines() for value in (change.before, change.after))
    lines = [line for line in difflib.unified_diff(before, after, n=0, lineterm="")
             if not line.startswith(("---", "+++", "@@"))]  # fmt: skip
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"… {more} more lines"] if more > 0 else [])]


def value(item: Any) -> str:
    """A JSON value as people write it."""
    if isinstance(item, str):
        return item or '""'
    if isinstance(item, bool) or item is None:
        return {True: "true", False: "false", None: "none"}[item]
    if isinstance(item, float) and item.is_integer() and abs(item) < 1e15:
        return str(int(item))
    if "by" in mapping(item):
        return _step(mapping(item))
    return _clipped(str(item))


def _link(change: Change) -> str:
    if change.kind == "added":
        return f"{change.field} comes from {change.after}"
    if change.kind == "removed":
        return f"{change.field} no longer comes from {change.before}"
    return f"{change.field} now comes from {change.after}, not from {change.before}"


def _between(change: Change) -> str:
    before, after = change.before, change.after
    if sequence(before) and sequence(after):
        return _items(sequence(before), sequence(after))
    if _many_lines(change):
        return "has other lines"
    if isinstance(before, str) and isinstance(after, str):
        before, after = _excerpts(before, after)
    if change.field == "default":
        before, after = ("by rule" if side is None else side for side in (before, after))
    return f"{value(before)} → {value(after)}"


def _items(before: Sequence[Any], after: Sequence[Any]) -> str:
    gone = [f"- {value(item)}" for item in before if item not in after]
    came = [f"+ {value(item)}" for item in after if item not in before]
    return "  ".join([*gone, *came]) or f"now in the order: {', '.join(map(value, after))}"


def _many_lines(change: Change) -> bool:
    return change.kind == "changed" and any(
        isinstance(side, str) and "\n" in side for side in (change.before, change.after)
    )


def _excerpts(before: str, after: str) -> tuple[str, str]:
    """Two texts, or, if they are long, where they differ."""
    if max(len(before), len(after)) <= _LONG:
        return before, after
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    return _cut(before, start, end), _cut(after, start, end)


def _common(before: str, after: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(before, after, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(before), len(after)))


def _cut(text: str, start: int, end: int) -> str:
    """What differs with the words around it."""
    first = text.rfind(" ", 0, max(start - _CONTEXT, 0)) + 1
    last = text.find(" ", len(text) - end + _CONTEXT)
    last = len(text) if last < 0 else last
    middle = _clipped(text[first:last])
    return f"{'…' if first else ''}{middle}{'…' if last < len(text) else ''}"


def _clipped(text: str) -> str:
    return text if len(text) <= 2 * _LONG else f"{text[: 2 * _LONG - 1]}…"


def _whole(what: Any) -> str:
    """Something that came or went, in a line."""
    facts = mapping(what)
    if "required" in facts:
        return _parameter(facts)
    if "values" in facts:
        held = ", ".join(
            f"{name} {_short(item)}" for name, item in mapping(facts["values"]).items()
        )
        return f"{facts['type']}{f': {held}' if held else ''}"
    if sequence(what):
        return ", ".join(map(value, sequence(what)))
    return "" if what is None else value(what)


def _parameter(facts: Mapping[str, Any]) -> str:
    limits = mapping(facts["limits"])
    parts = [str(facts["type"])]
    if "minimum" in limits:
        parts.append(f"{value(limits['minimum'])} to {value(limits['maximum'])}")
    if "x-step" in limits:
        parts.append(f"step {value(limits['x-step'])}")
    if "enum" in limits:
        parts.append(" | ".join(map(str, limits["enum"])))
    if "maxLength" in limits:
        parts.append(f"up to {value(limits['maxLength'])} characters")
    default = facts.get("default")
    said_default = "by rule" if default is None else _short(default)
    parts.append("required" if facts["required"] else f"default {said_default}")
    return ", ".join(parts)


def _short(item: Any) -> str:
    text = value(item).splitlines()[0] if value(item) else ""
    return text if len(text) <= 40 and text == value(item) else f"{text[:39]}…"


def _step(step: Mapping[str, Any]) -> str:
    return f"{value(step['by'])} from {value(step['from'])}"
