"""Sampling numbers for WAN 2.2: two experts share the steps; the high-noise one begins.

The numbers are those of Wan2.2's `wan_t2v_A14B.py`: boundary 0.875, 40 steps, guidance 4 and 3,
shift 12.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any

from . import limits

BOUNDARY = 0.875
FLOW_SHIFT_480P = 3.0
FLOW_SHIFT_720P = 5.0
# Where the 480p class ends: the geometric mean of both sizes, about 606 000 pixels.
CLASS_BORDER = math.sqrt((832 * 480) * (1280 * 720))  # pixels

DEFAULT_PRESETS = """{
  "fast": {"steps": 4, "guidance_scale": 1.0, "flow_shift": 5.0},
  "balanced": {"steps": 20, "guidance_scale": 3.5},
  "quality": {"steps": 40, "guidance_scale": 4.0, "guidance_scale_2": 3.0, "flow_shift": 12.0}
}"""


@dataclass(frozen=True)
class Preset:
    """A 0 is "not named here"."""

    steps: int
    guidance_scale: float = 0.0
    guidance_scale_2: float = 0.0
    flow_shift: float = 0.0
    boundary: float = 0.0


@dataclass(frozen=True)
class Overrides:
    """What a caller sets beside the preset; a 0 leaves it to the preset."""

    steps: int = 0
    guidance_scale: float = 0.0
    guidance_scale_2: float = 0.0
    flow_shift: float = 0.0
    boundary: float = 0.0


@dataclass(frozen=True)
class Plan:
    steps: int
    switch_step: int  # steps on the high-noise expert, counted from the first
    guidance_high: float
    guidance_low: float
    shift: float


def plan(*, preset: Preset, overrides: Overrides, width: int, height: int) -> Plan:
    """Pure. The caller's value, else the preset's, else the rule for this size."""
    steps = overrides.steps or preset.steps
    shift = overrides.flow_shift or preset.flow_shift or flow_shift_for(width=width, height=height)
    boundary = overrides.boundary or preset.boundary or BOUNDARY
    guidance_high = overrides.guidance_scale or preset.guidance_scale
    return Plan(
        steps=steps,
        switch_step=switch_step(steps=steps, shift=shift, boundary=boundary),
        guidance_high=guidance_high,
        guidance_low=low_guidance(preset=preset, overrides=overrides),
        shift=shift,
    )


def low_guidance(*, preset: Preset, overrides: Overrides) -> float:
    """A caller who sets one guidance means both: a preset's second one would contradict it."""
    if overrides.guidance_scale_2:
        return overrides.guidance_scale_2
    if overrides.guidance_scale:
        return overrides.guidance_scale
    return preset.guidance_scale_2 or preset.guidance_scale


def flow_shift_for(*, width: int, height: int) -> float:
    return FLOW_SHIFT_720P if width * height >= CLASS_BORDER else FLOW_SHIFT_480P


def switch_step(*, steps: int, shift: float, boundary: float) -> int:
    """How many of `steps` lie at or above `boundary` on the shifted schedule; at least 1."""
    high = sum(shifted_time(i, steps=steps, shift=shift) >= boundary for i in range(steps))
    return min(max(high, 1), steps)


def shifted_time(index: int, *, steps: int, shift: float) -> float:
    """From 1 (noise) towards 0 (picture)."""
    # Shift 3 meets 0.875 exactly at u = 0.7 (shift 8 at u = 7/15), and there the last bit of a
    # float decides on which side a step lies. Another order of these operations would move a step
    # from one expert to the other, and change the videos of released workflows.
    u = 1 - index / steps
    return shift * u / (1 + (shift - 1) * u)


def choose_preset(presets: dict[str, Preset], name: str) -> Preset:
    if name not in presets:
        raise ValueError(f"preset: {name!r} is not one of {', '.join(presets)}")
    return presets[name]


def parse_presets(text: str) -> dict[str, Preset]:
    """A ValueError says what is wrong and where."""
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"presets: not JSON: {error}") from error
    if not isinstance(table, dict) or not table:
        raise ValueError('presets: not a table like {"fast": {"steps": 4, "guidance_scale": 1.0}}')
    return {name: parse_preset(name, row) for name, row in table.items()}


def parse_preset(name: str, row: Any) -> Preset:
    known = [field.name for field in fields(Preset)]
    if not isinstance(row, dict):
        raise ValueError(f"presets: {name}: {row!r} is not a table of {', '.join(known)}")
    for key in row:
        if key not in known:
            raise ValueError(f"presets: {name}: {key!r} is not one of {', '.join(known)}")
    for key in ("steps", "guidance_scale"):
        if key not in row:
            raise ValueError(f"presets: {name}: {key} is missing")
    for key, value in row.items():
        check_number(f"presets: {name}.{key}", value, whole=key == "steps")
    if row.get("boundary", BOUNDARY) > 1:
        raise ValueError(f"presets: {name}.boundary: {row['boundary']} is not between 0 and 1")
    return Preset(**row)


def check_number(where: str, value: Any, *, whole: bool) -> None:
    wanted = "a whole number" if whole else "a number"
    if not limits.is_number(value) or (whole and not isinstance(value, int)) or value <= 0:
        raise ValueError(f"{where}: {value!r} is not {wanted} above 0")
