"""Keyframes: rows of JSON text → values, and the frames of a video they fall on. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import rows
from .limits import is_number, show

FIRST, LAST = "first", "last"
FIRST_STRENGTH, OTHER_STRENGTH = 1.0, 0.8  # where a row names none
KEYS = ("image", "position", "strength")
SHAPE = '[{"image": "a.png", "position": "first"}, …]'

Position = float | str | None  # 0 to 1 of the video, "first", "last"; None: evenly spread


@dataclass(frozen=True)
class Row:
    image: str  # a file in the input folder
    position: Position = None
    strength: float = OTHER_STRENGTH


def parse(
    text: str,
    *,
    least: int = 1,
    most: int = 9,
    required: bool = True,
    file_problem: Callable[[str], str | None] = lambda _: None,
) -> tuple[list[Row], list[str]]:
    """The rows and every problem at once, each named by its row. Rows with a problem are left out.

    `file_problem` looks at an image: what is wrong with it, or None.
    """
    items, unreadable = rows.read(text, shape=SHAPE)
    if unreadable:
        return [], unreadable
    count = count_problem(len(items), least=least, most=most, required=required)
    problems = [count] if count else []
    found: dict[int, Row] = {}
    for number, item in enumerate(items, start=1):
        wrong = row_problems(item, file_problem)
        problems += [f"row {number}: {problem}" for problem in wrong]
        if not wrong:
            found[number] = row(item, first=number == 1)
    return list(found.values()), problems + repeated(found, count=len(items))


def count_problem(count: int, *, least: int, most: int, required: bool) -> str | None:
    """No row at all is "not given" where the parameter is not required."""
    if least > most:
        return f"its limits allow nothing: min_rows {least} is above max_rows {most}"
    if count > most:
        return f"{keyframes(count)}; at most {most}"
    if count < least and (count or required):
        return f"{keyframes(count)}; at least {least}"
    return None


def keyframes(count: int) -> str:
    return "1 keyframe" if count == 1 else f"{count} keyframes"


def row(item: dict[str, Any], *, first: bool) -> Row:
    """Of an item without problems."""
    position, strength = item.get("position"), item.get("strength")
    usual = FIRST_STRENGTH if first else OTHER_STRENGTH
    return Row(
        image=item["image"],
        position=None if position == "" else position,
        strength=usual if strength in (None, "") else float(strength),
    )


def row_problems(item: Any, file_problem: Callable[[str], str | None]) -> list[str]:
    unfit = rows.shape_problems(item, keys=KEYS, shape=SHAPE)
    if not isinstance(item, dict):
        return unfit
    problems = [
        image_problem(item.get("image"), file_problem),
        position_problem(item.get("position")),
        share_problem("strength", item.get("strength")),
    ]
    return unfit + [problem for problem in problems if problem]


def image_problem(value: Any, file_problem: Callable[[str], str | None]) -> str | None:
    if value is None or value == "":
        return "no image is chosen"
    if not isinstance(value, str):
        return f"image {value!r} is not the name of a file"
    return file_problem(value)


def position_problem(value: Any) -> str:
    if isinstance(value, str) and value not in (FIRST, LAST, ""):
        return f"position {value!r} is not first, last or a number between 0 and 1"
    return "" if isinstance(value, str) else share_problem("position", value)


def share_problem(name: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if not is_number(value):
        return f"{name} {value!r} is not a number"
    return "" if 0 <= value <= 1 else f"{name} {show(value)} is not between 0 and 1"


def repeated(given: dict[int, Row], *, count: int) -> list[str]:
    """Rows of `count`, by number, that ask for the same place, whatever the length of the video."""
    ends = {count: LAST, 1: FIRST}  # a single row is the first
    places = {FIRST: 0.0, LAST: 1.0}
    seen: dict[Any, int] = {}
    asked: dict[int, str] = {}
    problems: list[str] = []
    for number, one in given.items():
        position = ends.get(number) if one.position is None else one.position
        if position is None:
            continue
        asked[number] = said(position) if one.position is not None else f"no position: {position}"
        earlier = seen.setdefault(places.get(position, position), number)
        if earlier != number:
            problems.append(
                f"row {earlier} ({asked[earlier]}) and row {number} ({asked[number]}) "
                "are at the same place"
            )
    return problems


def said(position: Position) -> str:
    if position is None:
        return "evenly spread"
    return position if isinstance(position, str) else show(position)


def frame_indexes(positions: list[Position], frames: int, *, grid: int = 8) -> list[int]:
    """The frame of each keyframe, in the order of the rows; ValueError says why there is none.

    Frames are multiples of `grid` (a latent frame of LTX holds 8), the last one as it is. A row
    without a position lies evenly between its neighbours; at an end, on the first or last frame.
    """
    if frames < 1:
        raise ValueError(f"{frames} frames; a video has at least 1")
    last, cells = frames - 1, cells_in(frames, grid=grid)
    if len(positions) > cells:
        where = f", on every {grid}th frame and on the last" if grid > 1 and cells > 1 else ""
        there = "1 frame has" if frames == 1 else f"{frames} frames have"
        raise ValueError(f"{keyframes(len(positions))} do not fit: {there} room for {cells}{where}")
    placed = [snap(share * last, last=last, grid=grid) for share in spread(positions)]
    taken: dict[int, int] = {}
    problems: list[str] = []
    for number, frame in enumerate(placed, start=1):
        earlier = taken.setdefault(frame, number)
        if earlier != number:
            problems.append(
                f"row {earlier} ({said(positions[earlier - 1])}) and row {number} "
                f"({said(positions[number - 1])}) fall on the same frame, {frame} of 0 to {last}"
            )
    if problems:
        apart = f"; keyframes are at least {grid} frames apart" if grid > 1 else ""
        raise ValueError("; ".join(problems) + apart)
    return placed


def cells_in(frames: int, *, grid: int) -> int:
    """How many keyframes have room. The last cell is the one nearest to the last frame."""
    last = frames - 1
    return max(1, half_up(last / grid)) + 1 if last else 1


def snap(frame: float, *, last: int, grid: int) -> int:
    whole = half_up(frame)
    cell = half_up(frame / grid)
    if whole >= last or cell >= cells_in(last + 1, grid=grid) - 1:
        return last
    return cell * grid


def spread(positions: list[Position]) -> list[float]:
    """Every position as a number from 0 to 1."""
    known = [{FIRST: 0.0, LAST: 1.0}.get(p, p) for p in positions]  # type: ignore[call-overload]
    if known == [None]:
        return [0.0]
    if known and known[0] is None:
        known[0] = 0.0
    if known and known[-1] is None:
        known[-1] = 1.0
    anchors = [index for index, position in enumerate(known) if position is not None]
    for left, right in itertools.pairwise(anchors):
        start, end = known[left], known[right]
        for index in range(left + 1, right):
            known[index] = start + (end - start) * (index - left) / (right - left)
    return known


def half_up(value: float) -> int:
    """Not round(): it rounds halves to even, and evenly spread frames would collide."""
    return math.floor(value + 0.5)
