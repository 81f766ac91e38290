"""The limits of a parameter: which values are right, and what would be right instead.

Each `…_problem` answers None, or one sentence without the parameter's name (the caller knows it).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

# 0.1 + 0.2 is 0.30000000000000004, and people mean 0.3: off by a millionth of a step is on it.
TOLERANCE = 1e-6
WHOLE = re.compile(r"-?[0-9]{1,15}")  # more digits than JavaScript keeps are no choice


def stands_for_not_given(
    value: float, *, minimum: float, maximum: float, required: bool, choices: Sequence[int] = ()
) -> bool:
    """An optional number says "not given" by 0, where 0 could not be meant as a value."""
    meant = 0 in choices if choices else minimum <= 0 <= maximum
    return not required and value == 0 and not meant


def integer_problem(
    value: int, *, minimum: int, maximum: int, step: int, required: bool, choices: str = ""
) -> str | None:
    """`choices`, such as `24, 25, 30`, stand in place of minimum, maximum and step."""
    try:
        offered = whole_choices(choices)
    except ValueError as error:
        return str(error)
    if stands_for_not_given(
        value, minimum=minimum, maximum=maximum, required=required, choices=offered
    ):
        return None
    if offered:
        return whole_choice_problem(value, choices=offered)
    return range_problem(value, minimum=minimum, maximum=maximum) or whole_step_problem(
        value, minimum=minimum, maximum=maximum, step=step
    )


def number_problem(
    value: float, *, minimum: float, maximum: float, step: float, required: bool
) -> str | None:
    if not math.isfinite(value):
        return f"{value} is not a number"
    if stands_for_not_given(value, minimum=minimum, maximum=maximum, required=required):
        return None
    return range_problem(value, minimum=minimum, maximum=maximum) or step_problem(
        value, minimum=minimum, maximum=maximum, step=step
    )


def text_problem(value: str, *, min_length: int, max_length: int, required: bool) -> str | None:
    """`max_length` 0 is no limit. An empty text is "not given" where it is not required."""
    length = len(value)
    if not value and not required:
        return None
    if max_length and max_length < min_length:
        return f"its limits allow nothing: min_length {min_length} is above max_length {max_length}"
    if length < min_length:
        return f"{characters(length)} is too short; at least {min_length}"
    if max_length and length > max_length:
        return f"{characters(length)} is too long; at most {max_length}"
    return None


def choice_problem(value: str, *, choices: list[str]) -> str | None:
    if not choices:
        return "it offers no choices; write one per line"
    if value in choices:
        return None
    return f"{value!r} is not one of {', '.join(choices)}"


def parse_choices(text: str) -> list[str]:
    """One per line; blank lines and repetitions do not count."""
    lines = (line.strip() for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line))


def whole_choices(text: str) -> list[int]:
    """`24, 25, 30`, or one per line; ValueError names what is no whole number."""
    parts = [part for part in re.split(r"[\s,]+", text) if part]
    wrong = [part for part in parts if not WHOLE.fullmatch(part)]
    if wrong:
        raise ValueError(f"its choices are no whole numbers: {', '.join(wrong)}; write 24, 25, 30")
    return list(dict.fromkeys(map(int, parts)))


def whole_choice_problem(value: int, *, choices: list[int]) -> str | None:
    if value in choices:
        return None
    distance = min(abs(choice - value) for choice in choices)
    near = sorted(choice for choice in choices if abs(choice - value) == distance)
    offered = ", ".join(map(str, choices))
    return f"{value} is not one of {offered}; nearest {' or '.join(map(str, near))}"


def range_problem(value: float, *, minimum: float, maximum: float) -> str | None:
    if minimum > maximum:
        return f"its limits allow nothing: min {show(minimum)} is above max {show(maximum)}"
    if not minimum <= value <= maximum:
        return f"{show(value)} is not between {show(minimum)} and {show(maximum)}"
    return None


def whole_step_problem(
    value: int, *, minimum: int, maximum: int, step: int, reason: str = ""
) -> str | None:
    """Integers of any size exactly; a step of 0 or less allows every one.

    `reason`, of the step, stands behind it.
    """
    if step <= 0 or (value - minimum) % step == 0:
        return None
    below = value - (value - minimum) % step
    rule = multiple_of(step, start=minimum % step) + reason
    return f"{value} is not {rule}; {nearest(below, below + step, maximum=maximum)}"


def step_problem(value: float, *, minimum: float, maximum: float, step: float) -> str | None:
    if step <= 0:
        return None
    steps = (value - minimum) / step
    if abs(steps - round(steps)) <= TOLERANCE:
        return None
    below = minimum + math.floor(steps) * step
    start = 0 if is_multiple(minimum, step) else minimum
    rule = multiple_of(step, start=start)
    return f"{show(value)} is not {rule}; {nearest(below, below + step, maximum=maximum)}"


def is_multiple(value: float, step: float) -> bool:
    return abs(value / step - round(value / step)) <= TOLERANCE


def multiple_of(step: float, *, start: float) -> str:
    return (
        f"{show(start)} plus a multiple of {show(step)}" if start else f"a multiple of {show(step)}"
    )


def nearest(below: float, above: float, *, maximum: float) -> str:
    if above > maximum + TOLERANCE * (above - below):
        return f"nearest {show(below)}"
    return f"nearest {show(below)} or {show(above)}"


def characters(count: int) -> str:
    return "1 character" if count == 1 else f"{count} characters"


def is_number(value: Any) -> bool:
    """A finite one. To Python, NaN and Infinity are JSON, true is a number and no int too large."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def show(value: float) -> str:
    """As people write it: 0.3 and not 0.30000000000000004."""
    return str(value) if isinstance(value, int) else f"{value:.10g}"
