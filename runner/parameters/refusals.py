"""What is wrong with a value, and what would be right, in words. Pure."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from runner.parameters.declared import Parameter
from runner.parameters.kinds import MEDIA, ROWS, RowKind
from runner.parameters.limits import finite, within

EMPTY = "is empty; a URL is needed"
_TYPE_NAMES = {
    "text": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "choice": "one of its choices",
    "seed": "a whole number",
    "image": "the URL of an image",
    "audio": "the URL of a sound",
    "video": "the URL of a video",
    "keyframes": "a list of keyframes",
    "speakers": "a list of speakers",
}


def wrong_value(parameter: Parameter, value: Any, keyword: str) -> str:
    limits = parameter.limits
    shown = short(value)
    match keyword:
        case "type" if parameter.kind in ROWS:
            return f"{shown} is not {_TYPE_NAMES[parameter.kind]}{_bad_json(value)}; write {ROWS[parameter.kind].shape}"
        case "type" if parameter.kind != "choice":
            return f"{shown} is not {_TYPE_NAMES[parameter.kind]}"
        case "enum" if parameter.kind == "integer" and finite(value):
            return _no_choice(value, limits["enum"])
        case "type" | "enum":
            near = difflib.get_close_matches(str(value), parameter.choices, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"{shown} is not one of {', '.join(parameter.choices)}{hint}"
        case "minimum" | "maximum":
            return f"{shown} is not between {number(limits['minimum'])} and {number(limits['maximum'])}"
        case "x-step":
            return _off_step(value, limits)
        case "minLength" if parameter.kind in MEDIA:
            return EMPTY
        case "minItems":
            return f"{_counted(value, parameter)}; at least {limits['minItems']}"
        case "maxItems":
            why = ROWS[parameter.kind].why_most
            said = f"{_counted(value, parameter)}; at most {limits['maxItems']}"
            return f"{said}: {why}" if why and limits["maxItems"] > 1 else said
        case "minLength":
            return f"{len(value)} characters; at least {limits['minLength']} are needed"
        case "maxLength":
            return f"{len(value)} characters; at most {limits['maxLength']} are taken"
        case _:
            raise AssertionError(f"no wording for {keyword}")


def wrong_cell(key: str, kind: RowKind, value: Any, keyword: str) -> str:
    shown = short(value)
    if media := kind.cells[key].media:
        return EMPTY if keyword == "minLength" else f"{shown} is not {_TYPE_NAMES[media]}"
    match key, keyword:
        case "bbox", "exclusiveMinimum" if all(finite(n) and n >= 0 for n in value):
            return f"{shown} has no area; width and height are above 0"
        case "bbox", _:
            return f"{shown} is not x, y, width, height: four numbers of 0 or more"
        case "frame_position", _ if not finite(value):
            return f"{shown} is not first, last or a number between 0 and 1"
        case _, "type":
            return f"{shown} is not a number"
        case _:
            return f"{shown} is not between 0 and 1"


def near(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there is {', '.join(known) or 'none'}"


def _bad_json(value: Any) -> str:
    """Where a text that was meant as a list breaks off being one."""
    try:
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            json.loads(value)
    except ValueError as error:
        return f": no JSON, {str(error)[:1].lower()}{str(error)[1:]}"
    return ""


def _no_choice(value: int, choices: Sequence[int]) -> str:
    distance = min(abs(choice - value) for choice in choices)
    near = sorted(choice for choice in choices if abs(choice - value) == distance)
    offered = ", ".join(map(str, choices))
    return f"{number(value)} is not one of {offered}; nearest {' or '.join(map(str, near))}"


def _off_step(value: float, limits: Mapping[str, Any]) -> str:
    low, by = limits["x-step"]["from"], limits["x-step"]["by"]
    below = low + (value - low) // by * by
    near = [n for n in (below, below + by) if within(n, limits)]
    return f"{number(value)} is not {step_rule(limits)}; nearest {' or '.join(map(number, near))}"


def step_rule(limits: Mapping[str, Any]) -> str:
    """Which numbers a parameter with an `x-step` takes, in words: `a multiple of 16`, `4k+1`. Pure."""
    low, by = limits["x-step"]["from"], limits["x-step"]["by"]
    if "multipleOf" in limits:
        return f"a multiple of {number(by)}"
    if isinstance(low, int) and isinstance(by, int):
        return f"{by}k+{low % by}"  # as the field writes it: 4k+1
    return f"{number(low)} plus a multiple of {number(by)}"


def number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _counted(rows: Sequence[object], parameter: Parameter) -> str:
    noun = ROWS[parameter.kind].noun
    return f"1 {noun}" if len(rows) == 1 else f"{len(rows)} {noun}s"


# What may be secret in an address: what stands before an @ and behind a question mark.
_SECRETS = re.compile(r"(?<=://)[^/@\s]*@|\?[^\s'\"]*")


def short(value: Any) -> str:
    text = repr(value)
    if "://" in text:
        text = _SECRETS.sub("…", text)
    return text if len(text) <= 60 else f"{text[:57]}…"
