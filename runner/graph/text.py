"""Text that changes on its way into the prompt: dynamic prompts and %replacements%. Pure."""

import re
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import Any, cast

from runner.errors import WorkflowError

_COMMENT = re.compile("/\\*[\\s\\S]*?\\*/|//[^\n\r\u2028\u2029]*")
_PATTERN = re.compile(r"%([^%]+)%")
_DATE_PART = re.compile(r"dd?|MM?|hh?|mm?|ss?|yyy?y?")
_MAX_DEPTH = 100
# What a file name cannot hold.
_FORBIDDEN = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')


def dynamic_prompt(text: str, rng: Random) -> str:
    """The text without comments, each `{a|b}` replaced by one of its choices.

    As in the editor, `//` is a comment everywhere, so that a URL loses all behind its scheme, and
    braces around a single choice vanish, so that JSON loses its own.

    Raises WorkflowError if braces are nested without end.
    """
    _refuse_deep(text)
    return _drawn(text, rng)


def _drawn(text: str, rng: Random) -> str:
    result: list[str] = []
    rest, position = _COMMENT.sub("", text), 0
    while position < len(rest):
        char = rest[position]
        if char == "\\":
            result.append(rest[position : position + 2])
            position += 2
        elif char == "{":
            choices, position = _choices(rest, position + 1)
            result.append(_drawn(choices[int(rng.random() * len(choices))], rng))
        else:
            result.append(char)
            position += 1
    return re.sub(r"\\([{}|])", r"\1", "".join(result))


def _refuse_deep(text: str) -> None:
    depth = 0
    for brace in re.findall(r"[{}]", re.sub(r"\\[\s\S]", "", text)):
        depth = depth + 1 if brace == "{" else max(depth - 1, 0)
        if depth > _MAX_DEPTH:
            raise WorkflowError(f"a text has braces nested more than {_MAX_DEPTH} deep")


def _choices(text: str, start: int) -> tuple[list[str], int]:
    """The choices of a block that begins at `start`, and where what follows it begins."""
    choices, choice_start, depth, position = list[str](), start, 0, start
    while position < len(text):
        char = text[position]
        if char == "\\":
            position += 1
        elif char == "{":
            depth += 1
        elif char == "}" and depth:
            depth -= 1
        elif char == "}":
            break
        elif char == "|" and not depth:
            choices.append(text[choice_start:position])
            choice_start = position + 1
        position += 1
    choices.append(text[choice_start:position])
    return choices, position + 1


def replace_patterns(
    text: str, *, now: datetime | None, widget_value: Callable[[str, str], str | None]
) -> str:
    """The text with `%date:format%` and `%Node.widget%` filled in; unknown patterns stay.

    `%width%` and the like are the server's. Without a clock dates stay too.
    """

    def replacement(match: re.Match[str]) -> str:
        parts = match[1].split(".")
        if len(parts) == 2:
            value = widget_value(parts[0], parts[1])
            return match[0] if value is None else _FORBIDDEN.sub("_", value)
        if parts[0].startswith("date:") and now is not None:
            return format_date(parts[0].removeprefix("date:"), now)
        return match[0]

    return _PATTERN.sub(replacement, text)


def format_date(pattern: str, now: datetime) -> str:
    """The editor's own notation: yyyy yy MM M dd d hh h mm m ss s."""
    values = {"d": now.day, "M": now.month, "h": now.hour, "m": now.minute, "s": now.second}

    def part(match: re.Match[str]) -> str:
        text = match[0]
        if text[0] == "y":
            years = {"yy": f"{now.year:04}"[2:], "yyyy": str(now.year)}
            return years.get(text, text)
        return str(values[text[0]]).rjust(len(text), "0")

    return _DATE_PART.sub(part, pattern)


def as_text(value: Any) -> str:
    """A value as JavaScript writes it into a text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ",".join(map(as_text, cast(list[Any], value)))
    return "[object Object]" if isinstance(value, dict) else str(value)
