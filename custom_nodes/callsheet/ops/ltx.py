"""LTX-2's presets: frames, sizes and noise levels of one or two stages. Pure, without torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from . import frames, limits
from .limits import show

FRAME_RULE = "8k+1"
GRID = 32  # pixels of the picture for one of the latent
TIME_GRID = 8  # frames of the video for one of the latent
MOST_FRAMES = 1000  # LTXVEmptyLatentAudio makes no latent for more
SMALLEST = 64  # pixels, of the first stage too
LARGEST = 16384

# The distilled model's noise levels, and those of the second stage: LTX-2, utils/constants.py.
# `steps` without `sigmas` is the curve of LTXVScheduler, with these:
MAX_SHIFT, BASE_SHIFT, TERMINAL = 2.05, 0.95, 0.1
FEW_TOKENS, MANY_TOKENS = 1024, 4096  # where base_shift and max_shift hold

DEFAULT_PRESETS = """{
  "fast": {
    "two_stage": false, "cfg": 1.0,
    "sigmas": "1., 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0"
  },
  "balanced": {
    "two_stage": true, "cfg": 1.0,
    "sigmas": "1., 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0",
    "sigmas_2": "0.909375, 0.725, 0.421875, 0.0"
  },
  "quality": {
    "two_stage": true, "cfg": 4.0, "steps": 20,
    "sigmas_2": "0.909375, 0.725, 0.421875, 0.0"
  },
  "high": "balanced",
  "ultra": "quality"
}"""


@dataclass(frozen=True)
class Preset:
    """A row of the table, under the name that it has there and not under an old one."""

    name: str
    index: int  # place among the rows, old names not counted
    two_stage: bool
    cfg: float  # of the first stage
    steps: int = 0  # of the first stage; 0: as many as `sigmas` has
    sigmas: str = ""  # of the first stage; empty: LTXVScheduler's curve
    sigmas_2: str = ""  # of the second stage


@dataclass(frozen=True)
class Plan:
    generate: int  # frames
    keep: int  # frames
    width_1: int  # pixels, of the first stage
    height_1: int  # pixels, of the first stage
    sigmas_1: str
    sigmas_2: str
    cfg: float
    steps: int
    two_stage: bool
    index: int


def plan(
    *,
    preset: Preset,
    width: int,
    height: int,
    duration: float,  # seconds
    fps: float,
    steps: int = 0,  # of the first stage; 0: the preset's
) -> Plan:
    """ValueError names every value that is wrong, and what would be right."""
    found = problems(
        two_stage=preset.two_stage, width=width, height=height, duration=duration, fps=fps
    )
    if found:
        raise ValueError("; ".join(found))
    generate, keep = frames.frame_counts(duration=duration, fps=fps, rule=FRAME_RULE)
    scale = 2 if preset.two_stage else 1
    width_1, height_1 = width // scale, height // scale
    count = steps or preset.steps or len(numbers(preset.sigmas)) - 1
    return Plan(
        generate=generate,
        keep=keep,
        width_1=width_1,
        height_1=height_1,
        sigmas_1=sigmas_for(
            preset,
            steps=count,
            tokens=tokens_in(frames=generate, width=width_1, height=height_1),
        ),
        # A single stage has no second one, but a node that asks for its sigmas must not fail.
        sigmas_2=preset.sigmas_2 or "0.0",
        cfg=preset.cfg,
        steps=count,
        two_stage=preset.two_stage,
        index=preset.index,
    )


def sigmas_for(preset: Preset, *, steps: int, tokens: int) -> str:
    if not preset.sigmas:
        return written(schedule(steps=steps, tokens=tokens))
    levels = numbers(preset.sigmas)
    return preset.sigmas if steps == len(levels) - 1 else written(resampled(levels, steps=steps))


def schedule(*, steps: int, tokens: int) -> list[float]:
    """The noise levels of ComfyUI's LTXVScheduler, stretched; they depend on the latent's size.

    Written without its differences from 1: from some 20 000 tokens on, its single floats lose the
    curve in them, and later divide 0 by 0. What one step leaves is the first level alone.
    """
    slope = (MAX_SHIFT - BASE_SHIFT) / (MANY_TOKENS - FEW_TOKENS)
    flat = math.exp(slope * FEW_TOKENS - BASE_SHIFT - tokens * slope)  # 0 for the largest
    ratios = [i / (steps - i) for i in range(steps)]  # of signal to noise, before the shift
    away = [ratio / (1 + ratio * flat) for ratio in ratios]  # from 1, but for a factor
    stretch = away[-1] / (1 - TERMINAL) or 1.0
    return [1 - distance / stretch for distance in away] + [0.0]


def resampled(levels: list[float], *, steps: int) -> list[float]:
    """The same curve in another number of steps: straight lines between its points."""
    last = len(levels) - 1
    wanted: list[float] = []
    for index in range(steps + 1):
        place = index * last / steps
        below = min(math.floor(place), last - 1)
        wanted.append(levels[below] + (levels[below + 1] - levels[below]) * (place - below))
    return wanted


def written(levels: list[float]) -> str:
    """As ManualSigmas reads it: it knows no exponents. Nine digits hold every bit of a float32."""
    return ", ".join(f"{level:.9f}" for level in levels)


def tokens_in(*, frames: int, width: int, height: int) -> int:
    return ((frames - 1) // TIME_GRID + 1) * (width // GRID) * (height // GRID)


def problems(
    *,
    two_stage: bool | None,
    width: int | None,
    height: int | None,
    duration: float | None,
    fps: float | None,
) -> list[str]:
    """What is wrong, by name. None is not known yet."""
    found = [
        f"{name}: {problem}"
        for name, size in (("width", width), ("height", height))
        if size is not None and (problem := size_problem(size, two_stage=bool(two_stage)))
    ]
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        found.append(f"fps: {show(fps)} is not above 0")
    elif duration is not None and (problem := duration_problem(duration, fps=fps)):
        found.append(f"duration: {problem}")
    return found


def size_problem(size: int, *, two_stage: bool) -> str | None:
    scale = 2 if two_stage else 1
    least, step = SMALLEST * scale, GRID * scale
    reason = " (two stages)" if two_stage else ""
    if outside := limits.range_problem(size, minimum=least, maximum=LARGEST):
        return outside + reason
    return limits.whole_step_problem(size, minimum=least, maximum=LARGEST, step=step, reason=reason)


def duration_problem(duration: float, *, fps: float | None) -> str | None:
    if not (math.isfinite(duration) and duration > 0):
        return f"{show(duration)} s is not above 0"
    if fps is None:
        return None
    generate, keep = frames.frame_counts(duration=duration, fps=fps, rule=FRAME_RULE)
    if generate <= MOST_FRAMES:
        return None
    most = (MOST_FRAMES - 1) // TIME_GRID * TIME_GRID + 1
    longest = show(math.floor(most / fps * 100) / 100)
    return f"{show(duration)} s at {show(fps)} fps are {keep} frames; at most {most}, {longest} s"


# --- the table ------------------------------------------------------------------------------------


def parse_presets(text: str) -> dict[str, Preset]:
    """Every name, old ones too. A ValueError says what is wrong and where."""
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"presets: not JSON: {error}") from error
    if not isinstance(table, dict) or not table:
        raise ValueError('presets: not a table like {"fast": {"sigmas": "1.0, 0.5, 0.0", …}}')
    rows = {name: row for name, row in table.items() if not isinstance(row, str)}
    presets = {
        name: parse_preset(name, row, index=index) for index, (name, row) in enumerate(rows.items())
    }
    for old, name in table.items():
        if isinstance(name, str):
            if name not in rows:
                raise ValueError(f"presets: {old}: {name!r} is not one of {', '.join(rows)}")
            presets[old] = presets[name]
    return presets


def parse_preset(name: str, row: Any, *, index: int) -> Preset:
    where = f"presets: {name}"
    known = [field.name for field in fields(Preset) if field.name not in ("name", "index")]
    if not isinstance(row, dict):
        raise ValueError(f"{where}: {row!r} is not a table of {', '.join(known)}")
    for key in row:
        if key not in known:
            raise ValueError(f"{where}: {key!r} is not one of {', '.join(known)}")
    two_stage = row.get("two_stage")
    if not isinstance(two_stage, bool):
        raise ValueError(f"{where}.two_stage: {two_stage!r} is not true or false")
    check_number(f"{where}.cfg", row.get("cfg"), whole=False)
    if ("steps" in row) == ("sigmas" in row):
        raise ValueError(f"{where}: it names steps or sigmas, one of both")
    if "steps" in row:
        check_number(f"{where}.steps", row["steps"], whole=True)
    if two_stage != ("sigmas_2" in row):
        raise ValueError(f"{where}: sigmas_2 belongs to two stages, and to them only")
    for key in ("sigmas", "sigmas_2"):
        if key in row:
            check_sigmas(f"{where}.{key}", row[key])
    return Preset(name=name, index=index, **row)


def choose_preset(presets: dict[str, Preset], name: str) -> Preset:
    if name not in presets:
        raise ValueError(f"preset: {name!r} is not one of {', '.join(presets)}")
    return presets[name]


def check_number(where: str, value: Any, *, whole: bool) -> None:
    wanted = "a whole number" if whole else "a number"
    if not limits.is_number(value) or (whole and not isinstance(value, int)) or value <= 0:
        raise ValueError(f"{where}: {value!r} is not {wanted} above 0")


def check_sigmas(where: str, text: Any) -> None:
    try:
        levels = numbers(text)
    except (AttributeError, ValueError):
        levels = []
    falling = all(a > b for a, b in pairwise(levels))
    if len(levels) < 2 or not falling or levels[0] > 1 or levels[-1] != 0:
        raise ValueError(
            f"{where}: {text!r} are not numbers from 1 at most falling to 0, like '1.0, 0.5, 0.0'"
        )


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]
