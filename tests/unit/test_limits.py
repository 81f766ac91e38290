"""An Integer's list of numbers, as the pack's node checks it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.ops import limits

FPS = "24, 25\n\n 30 ,25,"


def problem(value: int, choices: str, *, required: bool = True) -> str | None:
    return limits.integer_problem(
        value, minimum=1, maximum=240, step=1, required=required, choices=choices
    )


@pytest.mark.parametrize(
    ("value", "choices", "message"),
    [
        (27, FPS, "27 is not one of 24, 25, 30; nearest 25"),
        (1, FPS, "1 is not one of 24, 25, 30; nearest 24"),
        (300, FPS, "300 is not one of 24, 25, 30; nearest 30"),
        (3, "4\n2", "3 is not one of 4, 2; nearest 2 or 4"),
        (0, FPS, "0 is not one of 24, 25, 30; nearest 24"),
        (25, "24\n29.97\nfast", "its choices are no whole numbers: 29.97, fast; write 24, 25, 30"),
        (300, "", "300 is not between 1 and 240"),
        (300, " \n", "300 is not between 1 and 240"),
    ],
)
def test_what_is_not_of_the_list(value: int, choices: str, message: str) -> None:
    assert problem(value, choices) == message


def test_a_list_counts_and_not_the_range() -> None:
    assert problem(500, "-5\n0\n500") is None
    assert problem(-5, "-5\n0\n500") is None


def test_0_is_not_given_where_the_list_lacks_it() -> None:
    assert problem(0, FPS, required=False) is None
    nought = {"minimum": 0, "maximum": 9, "required": False}
    assert limits.stands_for_not_given(0, choices=[24, 30], **nought)
    assert not limits.stands_for_not_given(0, choices=[0, 30], **nought)
    assert not limits.stands_for_not_given(0, **nought)


@given(st.lists(st.integers(-999, 999), min_size=1), st.integers(-999, 999))
def test_exactly_the_numbers_of_the_list_are_taken(choices: list[int], value: int) -> None:
    assert (problem(value, "\n".join(map(str, choices))) is None) == (value in choices)
