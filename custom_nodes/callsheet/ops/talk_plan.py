"""MultiTalk's sampling numbers: with the distillation LoRA (turbo) and without. Pure.

Without it, those of MultiTalk's `generate_multitalk.py`: 40 steps, guidance 5 for the text and 4
for the sound, shift 7 at 480 and 11 at 720. With it, those of ComfyUI's InfiniteTalk template:
6 steps, no guidance, and 8, the shift that ComfyUI gives WAN 2.1 (comfy/supported_models.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

from . import limits
from .buckets import TABLES, check_size

TURBO, FULL = "turbo", "full"
DEFAULT_PRESETS = """{
  "turbo": {"steps": 6, "text_guide_scale": 1.0, "audio_guide_scale": 1.0, "shift": 8.0},
  "full": {
    "steps": 40, "text_guide_scale": 5.0, "audio_guide_scale": 4.0,
    "shift": {"multitalk-480": 7.0, "multitalk-720": 11.0, "draft": 7.0}
  }
}"""


@dataclass(frozen=True)
class Plan:
    steps: int
    text_guide_scale: float
    audio_guide_scale: float
    shift: float


KEYS = tuple(field.name for field in fields(Plan))


def plan(presets: dict[str, dict[str, Any]], *, turbo: bool, size: str, **given: float) -> Plan:
    """`given` are the caller's own numbers, by the names of Plan; a 0 leaves it to the table."""
    check_size(size)
    row = presets[TURBO if turbo else FULL]
    shift = row["shift"][size] if isinstance(row["shift"], dict) else row["shift"]
    return Plan(**{key: given.get(key) or {**row, "shift": shift}[key] for key in KEYS})


def parse_presets(text: str) -> dict[str, dict[str, Any]]:
    """The rows turbo and full. A ValueError says what is wrong and where."""
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"presets: not JSON: {error}") from error
    if not isinstance(table, dict) or set(table) != {TURBO, FULL}:
        raise ValueError('presets: not a table like {"turbo": {…}, "full": {…}}')
    for name, row in table.items():
        check_row(f"presets: {name}", row)
    return table


def check_row(where: str, row: Any) -> None:
    if not isinstance(row, dict) or set(row) != set(KEYS):
        raise ValueError(f"{where}: {row!r} is not a table of {', '.join(KEYS)}")
    for key, value in row.items():
        if key == "shift" and isinstance(value, dict):
            check_shifts(f"{where}.shift", value)
        else:
            check_number(f"{where}.{key}", value, whole=key == "steps")


def check_shifts(where: str, shifts: dict[str, Any]) -> None:
    if set(shifts) != set(TABLES):
        raise ValueError(f"{where}: {shifts!r} is not a number, or one for each of "
                         f"{', '.join(TABLES)}")  # fmt: skip
    for size, value in shifts.items():
        check_number(f"{where}.{size}", value, whole=False)


def check_number(where: str, value: Any, *, whole: bool) -> None:
    wanted = "a whole number" if whole else "a number"
    if not limits.is_number(value) or (whole and not isinstance(value, int)) or value <= 0:
        raise ValueError(f"{where}: {value!r} is not {wanted} above 0")
