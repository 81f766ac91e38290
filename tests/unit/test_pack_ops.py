"""The pack's pure functions, without ComfyUI: nothing above `comfy_entrypoint` imports it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from callsheet.ops import frames, limits, wan

# --- limits ---------------------------------------------------------------------------------------


def integer(value: int, low: int, high: int, step: int = 1, required: bool = True) -> str | None:
    return limits.integer_problem(value, minimum=low, maximum=high, step=step, required=required)


def number(
    value: float, low: float, high: float, step: float = 0, required: bool = True
) -> str | None:
    return limits.number_problem(value, minimum=low, maximum=high, step=step, required=required)


def text(value: str, least: int = 0, most: int = 0, required: bool = True) -> str | None:
    return limits.text_problem(value, min_length=least, max_length=most, required=required)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (integer(1000, 64, 1920, 16), "1000 is not a multiple of 16; nearest 992 or 1008"),
        (integer(18, 1, 241, 4), "18 is not 1 plus a multiple of 4; nearest 17 or 21"),
        (integer(18, 5, 241, 4), "18 is not 1 plus a multiple of 4; nearest 17 or 21"),
        (integer(99, 0, 99, 10), "99 is not a multiple of 10; nearest 90"),
        (integer(-3, -4, 4, 4), "-3 is not a multiple of 4; nearest -4 or 0"),
        (integer(2000, 64, 1920, 16), "2000 is not between 64 and 1920"),
        (integer(5, 9, 1), "its limits allow nothing: min 9 is above max 1"),
        (number(0.75, 0.2, 1, 0.1), "0.75 is not a multiple of 0.1; nearest 0.7 or 0.8"),
        (number(0.5, 0.25, 1, 0.5), "0.5 is not 0.25 plus a multiple of 0.5; nearest 0.25 or 0.75"),
        (number(0.9, 0.25, 1, 0.5), "0.9 is not 0.25 plus a multiple of 0.5; nearest 0.75"),
        (number(15.5, 0.25, 15), "15.5 is not between 0.25 and 15"),
        (number(float("nan"), 0, 1), "nan is not a number"),
        (text("ab", least=3), "2 characters is too short; at least 3"),
        (text("", least=1), "0 characters is too short; at least 1"),
        (text("abcd", most=3), "4 characters is too long; at most 3"),
        (text("a", 5, 3), "its limits allow nothing: min_length 5 is above max_length 3"),
        (
            limits.choice_problem("x", choices=["fast", "balanced", "quality"]),
            "'x' is not one of fast, balanced, quality",
        ),
        (limits.choice_problem("x", choices=[]), "it offers no choices; write one per line"),
    ],
)
def test_message_says_what_is_wrong_and_what_would_be_right(
    problem: str | None, message: str
) -> None:
    assert problem == message


@pytest.mark.parametrize(
    "problem",
    [
        integer(64, 64, 1920, 16),
        integer(1920, 64, 1920, 16),
        integer(17, 1, 241, 4),
        integer(7, 0, 10, 0),
        number(0.30000000000000004, 0, 1, 0.1),
        number(0.7, 0.2, 1, 0.1),
        number(0.333, 0, 1),
        text(""),
        text("abc", 3, 3),
        limits.choice_problem("b", choices=["a", "b"]),
    ],
)
def test_right_values_have_no_problem(problem: str | None) -> None:
    assert problem is None


@pytest.mark.parametrize("check", [integer, number])
def test_zero_is_not_given_where_it_could_not_be_a_value(check: Any) -> None:
    assert check(0, 5, 241, 4, required=False) is None
    assert check(0, 5, 241, 4, required=True) == "0 is not between 5 and 241"
    assert check(4, 5, 241, 4, required=False) == "4 is not between 5 and 241"
    assert not limits.stands_for_not_given(0, minimum=0, maximum=9, required=False)
    assert limits.stands_for_not_given(0, minimum=-9, maximum=-1, required=False)


def test_empty_text_is_not_given_unless_required() -> None:
    assert text("", least=3, required=False) is None
    assert text("ab", least=3, required=False) is not None


def test_choices_are_lines() -> None:
    assert limits.parse_choices("a\n\n  b c \r\na\n") == ["a", "b c"]
    assert limits.parse_choices("") == []


@given(low=st.integers(-1000, 1000), steps=st.integers(0, 100), step=st.integers(1, 64))
def test_every_integer_on_a_step_is_allowed(low: int, steps: int, step: int) -> None:
    assert integer(low + steps * step, low, low + 100 * step, step) is None


@given(value=st.integers(0, 500), low=st.integers(0, 50), step=st.integers(1, 64))
def test_what_an_integers_message_offers_is_allowed(value: int, low: int, step: int) -> None:
    problem = integer(value, low, 400, step)
    if problem and "nearest" in problem:
        offered = [int(word) for word in re.findall(r"\d+", problem.split("nearest")[1])]
        assert offered and all(integer(each, low, 400, step) is None for each in offered)
        assert all(abs(each - value) < step for each in offered)


@given(steps=st.integers(0, 1000), step=st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.3, 1.0, 2.5]))
def test_every_number_on_a_step_is_allowed_however_it_was_reached(steps: int, step: float) -> None:
    added = sum([step] * steps)  # as arrow keys do, with all the rounding errors
    assert number(0.2 + added, 0.2, 0.2 + 1001 * step, step) is None


# --- frames ---------------------------------------------------------------------------------------


def counts(duration: float, fps: float, rule: str, num_frames: int = 0) -> tuple[int, int]:
    return frames.frame_counts(duration=duration, fps=fps, rule=rule, num_frames=num_frames)


@pytest.mark.parametrize(
    ("answer", "generate", "keep"),
    [
        (counts(5, 16, "4k+1"), 81, 80),
        (counts(5, 24, "4k+1"), 121, 120),
        (counts(5, 16, "any"), 80, 80),
        (counts(3.5, 24, "6k+1"), 85, 84),
        (counts(30, 30, "8k+1"), 905, 900),
        (counts(5, 16, "4k+1", num_frames=81), 81, 81),
        (counts(5, 16, "4k+1", num_frames=82), 85, 82),
        (counts(0, 16, "4k+1"), 1, 1),
        (counts(0, 0, "4k+1", num_frames=9), 9, 9),  # the count makes the others irrelevant
        (counts(2.5, 1, "any"), 3, 3),  # halves go up
    ],
)
def test_frame_counts(answer: tuple[int, int], generate: int, keep: int) -> None:
    assert answer == (generate, keep)


@given(
    duration=st.floats(0, 60),
    fps=st.floats(1, 60),
    rule=st.sampled_from(sorted(frames.RULES)),
    num_frames=st.integers(0, 500),
)
def test_generated_frames_fit_the_rule_and_are_never_too_few(
    duration: float, fps: float, rule: str, num_frames: int
) -> None:
    generate, keep = counts(duration, fps, rule, num_frames)
    assert 1 <= keep <= generate < keep + frames.RULES[rule]
    assert (generate - 1) % frames.RULES[rule] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 0, "any"), "fps: 0 is not above 0"),
        ((-1, 16, "any"), "duration: -1 s is not 0 or more"),
        ((5, 16, "5k+1"), "rule: '5k+1' is not one of 4k+1, 6k+1, 8k+1, any"),
        ((5, 16, "any", -2), "num_frames: -2 is below 0; 0 takes the duration"),
    ],
)
def test_frame_counts_refuse(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        counts(*arguments)


def test_kept_frames_are_the_first_and_not_copied() -> None:
    images = torch.rand(9, 4, 4, 3)
    kept = frames.keep_first(images, count=5)
    assert torch.equal(kept, images[:5])
    assert kept.data_ptr() == images.data_ptr()
    with pytest.raises(ValueError, match="12 frames are asked for, but there are only 9"):
        frames.keep_first(images, count=12)
    with pytest.raises(ValueError, match="0 frames cannot be kept"):
        frames.keep_first(images, count=0)


# --- WAN 2.2 --------------------------------------------------------------------------------------

# facts/domain.md 1.1: steps on the high-noise expert at boundary 0.875.
BOUNDARY_STEPS = {
    3: {20: 6, 30: 9, 40: 12, 50: 15},
    5: {20: 9, 30: 13, 40: 17, 50: 21},
    8: {20: 11, 30: 17, 40: 22, 50: 27},
    12: {20: 13, 30: 19, 40: 26, 50: 32},
}


@pytest.mark.parametrize(
    ("shift", "steps", "high"),
    [(shift, steps, high) for shift, row in BOUNDARY_STEPS.items() for steps, high in row.items()],
)
def test_switch_step(shift: float, steps: int, high: int) -> None:
    assert wan.switch_step(steps=steps, shift=shift, boundary=0.875) == high


@given(
    steps=st.integers(1, 100),
    shift=st.floats(0.5, 20),
    boundary=st.floats(0.01, 1),
)
def test_switch_step_stays_within_the_steps(steps: int, shift: float, boundary: float) -> None:
    step = wan.switch_step(steps=steps, shift=shift, boundary=boundary)
    assert 1 <= step <= steps
    assert step <= wan.switch_step(steps=steps, shift=shift + 1, boundary=boundary)


def plan(preset: str, width: int = 1280, height: int = 720, **overrides: float) -> Any:
    presets = wan.parse_presets(wan.DEFAULT_PRESETS)
    return wan.plan(
        preset=wan.choose_preset(presets, preset),
        overrides=wan.Overrides(**overrides),
        width=width,
        height=height,
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (plan("fast"), (4, 2, 1.0, 1.0, 5.0)),
        (plan("balanced"), (20, 9, 3.5, 3.5, 5.0)),
        (plan("balanced", 832, 480), (20, 6, 3.5, 3.5, 3.0)),
        (plan("quality"), (40, 26, 4.0, 3.0, 12.0)),
        (plan("quality", 832, 480), (40, 26, 4.0, 3.0, 12.0)),  # the preset's shift, not the size's
        (plan("quality", guidance_scale=6.0), (40, 26, 6.0, 6.0, 12.0)),
        (plan("quality", guidance_scale_2=2.0), (40, 26, 4.0, 2.0, 12.0)),
        (plan("quality", guidance_scale=6.0, guidance_scale_2=2.0), (40, 26, 6.0, 2.0, 12.0)),
        (plan("balanced", steps=30, flow_shift=12.0), (30, 19, 3.5, 3.5, 12.0)),
        (plan("fast", boundary=1.0), (4, 1, 1.0, 1.0, 5.0)),
    ],
)
def test_plan(answer: Any, expected: tuple[float, ...]) -> None:
    got = (answer.steps, answer.switch_step, answer.guidance_high, answer.guidance_low)
    assert (*got, answer.shift) == expected


@pytest.mark.parametrize(
    ("width", "height", "shift"),
    [(1280, 720, 5.0), (720, 1280, 5.0), (832, 480, 3.0), (480, 832, 3.0), (1024, 576, 3.0)],
)
def test_flow_shift_goes_by_size(width: int, height: int, shift: float) -> None:
    assert wan.flow_shift_for(width=width, height=height) == shift


def test_unknown_preset_lists_the_known() -> None:
    with pytest.raises(ValueError, match="preset: 'best' is not one of fast, balanced, quality"):
        plan("best")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{", "presets: not JSON: "),
        ([], "presets: not a table like"),
        ({}, "presets: not a table like"),
        ({"a": 3}, "presets: a: 3 is not a table of steps, guidance_scale"),
        ({"a": {"steps": 4}}, "presets: a: guidance_scale is missing"),
        ({"a": {"steps": 4, "guidance": 1}}, "presets: a: 'guidance' is not one of steps, "),
        ({"a": {"steps": 4.5, "guidance_scale": 1}}, "a.steps: 4.5 is not a whole number above 0"),
        ({"a": {"steps": 0, "guidance_scale": 1}}, "a.steps: 0 is not a whole number above 0"),
        ({"a": {"steps": True, "guidance_scale": 1}}, "a.steps: True is not a whole number"),
        ({"a": {"steps": 4, "guidance_scale": "1"}}, "a.guidance_scale: '1' is not a number"),
        (
            {"a": {"steps": 4, "guidance_scale": 1, "boundary": 2}},
            "a.boundary: 2 is not between 0 and 1",
        ),
    ],
)
def test_broken_preset_tables_say_where(table: Any, message: str) -> None:
    text_of_table = table if isinstance(table, str) else json.dumps(table)
    with pytest.raises(ValueError, match=re.escape(message)):
        wan.parse_presets(text_of_table)
