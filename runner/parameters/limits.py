"""What a parameter takes, as keywords of JSON Schema. Pure."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from runner.parameters.kinds import ROWS, SEED_MAX, Schema


def _text_limits(widgets: Mapping[str, Any]) -> Schema:
    limits: Schema = {"type": "string"}
    if widgets["min_length"]:
        limits["minLength"] = widgets["min_length"]
    if widgets["max_length"]:
        limits["maxLength"] = widgets["max_length"]
    return limits


def _integer_limits(widgets: Mapping[str, Any]) -> Schema:
    choices = whole_choices(widgets)  # they stand in place of min, max and step
    if choices:
        return {"type": "integer", "enum": list(dict.fromkeys(map(int, choices)))}
    return {"type": "integer", **_range(widgets)}


def _number_limits(widgets: Mapping[str, Any]) -> Schema:
    return {"type": "number", **_range(widgets)}


def _range(widgets: Mapping[str, Any]) -> Schema:
    low, step = widgets["min"], widgets["step"]
    limits: Schema = {"minimum": low, "maximum": widgets["max"]}
    if step and not (isinstance(step, int) and step == 1):
        # A step counts from the minimum, which no standard keyword says unless it divides it.
        limits |= {"multipleOf": step} if is_multiple(low, step) else {}
        limits["x-step"] = {"from": low, "by": step}
    return limits


def _choice_limits(widgets: Mapping[str, Any]) -> Schema:
    return {"type": "string", "enum": list(choices_of(widgets))}


def _media_limits(widgets: Mapping[str, Any], kind: str) -> Schema:
    limits: Schema = {"type": "string", "minLength": 1, "format": "uri-reference", "x-media": kind}
    if widgets.get("max_duration"):
        limits["x-max-duration"] = widgets["max_duration"]  # seconds
    return limits


def _keyframes_limits(widgets: Mapping[str, Any]) -> Schema:
    share = {"type": "number", "minimum": 0, "maximum": 1}
    cells: Schema = {
        "image_url": _media_limits({}, "image"),
        "frame_position": {"anyOf": [{"enum": ["first", "last"]}, share]},
        "strength": share,
    }
    return _list_limits(widgets, "keyframes", cells)


def _speakers_limits(widgets: Mapping[str, Any]) -> Schema:
    number, length = {"type": "number", "minimum": 0}, {"type": "number", "exclusiveMinimum": 0}
    cells: Schema = {
        "audio_url": _media_limits(widgets, "audio"),
        "bbox": {
            "type": ["array", "null"],
            "prefixItems": [number, number, length, length],
            "minItems": 4,
            "maxItems": 4,
            "description": "Where the speaker is seen: x, y of the upper left corner, width and "
            "height, in pixels of the picture, or as shares of it where none is above 1. "
            "Without it: of two speakers, the first on the left half and the second on the right.",
        },
        "mask_url": {
            **_media_limits({}, "image"),
            "type": ["string", "null"],
            "description": "A picture that is white where the speaker is seen; "
            "it takes precedence over bbox.",
        },
    }
    return _list_limits(widgets, "speakers", cells)


def _list_limits(widgets: Mapping[str, Any], kind: str, cells: Schema) -> Schema:
    row = {
        "type": "object",
        "properties": cells,
        "required": [key for key, cell in ROWS[kind].cells.items() if cell.required],
        "additionalProperties": False,
    }
    least, most = widgets["min_rows"], widgets["max_rows"]
    # No standard keyword says that rows differ in one key.
    once = {"x-unique": ROWS[kind].once} if ROWS[kind].once else {}
    return {"type": "array", "minItems": least, "maxItems": most, "items": row, **once}


LIMITS: Mapping[str, Callable[[Mapping[str, Any]], Schema]] = {
    "text": _text_limits,
    "integer": _integer_limits,
    "number": _number_limits,
    "boolean": lambda _: {"type": "boolean"},
    "choice": _choice_limits,
    "seed": lambda _: {"type": "integer", "minimum": 0, "maximum": SEED_MAX},
    "image": lambda widgets: _media_limits(widgets, "image"),
    "audio": lambda widgets: _media_limits(widgets, "audio"),
    "video": lambda widgets: _media_limits(widgets, "video"),
    "keyframes": _keyframes_limits,
    "speakers": _speakers_limits,
}


def choices_of(widgets: Mapping[str, Any]) -> tuple[str, ...]:
    lines = str(widgets.get("choices") or "").splitlines()
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def whole_choices(widgets: Mapping[str, Any]) -> tuple[str, ...]:
    """`24, 25, 30`, or one per line."""
    parts = re.split(r"[\s,]+", str(widgets.get("choices") or ""))
    return tuple(dict.fromkeys(part for part in parts if part))


def within(value: float, limits: Mapping[str, Any]) -> bool:
    return limits["minimum"] <= value <= limits["maximum"]


def allows(limits: Mapping[str, Any], value: float) -> bool:
    """Whether a number could be meant as a value, its step aside."""
    return value in limits["enum"] if "enum" in limits else within(value, limits)


def finite(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    try:
        # 0.1 + 0.2 is 0.30000000000000004, and people mean 0.3; the pack's nodes allow as much.
        return abs(value / step - round(value / step)) <= 1e-6
    except OverflowError:
        return False
