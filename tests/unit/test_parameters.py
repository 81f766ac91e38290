"""Parameters: what the schema says, what is refused and how, what is filled in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runner import parameters
from runner.errors import InvalidParameters, WorkflowError

from workflows import document, parameter

PROMPT = parameter("Text", 1, "a boat", "prompt", "What is seen.", True, 1, 20)
WIDTH = parameter("Integer", 2, 1280, "width", "Pixels.", False, 64, 1920, 16)
FRAMES = parameter("Integer", 3, 0, "num_frames", "Frames.", False, 5, 241, 4)
GUIDANCE = parameter("Number", 4, 0, "guidance", "", False, 1, 10, 0.5)
PRESET = parameter("Choice", 5, "fast", "preset", "", False, "fast\nquality")
LOOP = parameter("Boolean", 6, False, "loop", "", False)
SEED = parameter("Seed", 7, 42, "randomize", "seed", "", False)
ALL = parameters.read(document(PROMPT, WIDTH, FRAMES, GUIDANCE, PRESET, LOOP, SEED))


def problems(**given_params: Any) -> dict[str, str]:
    with pytest.raises(InvalidParameters) as caught:
        parameters.validate(ALL, given_params)
    return {p.parameter: p.message for p in caught.value.problems}


def test_every_problem_is_reported_at_once() -> None:
    found = problems(
        width=1000, num_frames=18, guidance="high", preset="fsat", loop=1, seed=-1, heigth=5
    )
    assert set(found) == {
        "prompt", "width", "num_frames", "guidance", "preset", "loop", "seed", "heigth",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("params", "name", "message"),
    [
        ({"width": 1000}, "width", "1000 is not a multiple of 16; nearest 992 or 1008"),
        ({"width": 2048}, "width", "2048 is not between 64 and 1920"),
        ({"width": "640"}, "width", "'640' is not a whole number"),
        ({"width": True}, "width", "True is not a whole number"),
        ({"num_frames": 18}, "num_frames", "18 is not 4k+1; nearest 17 or 21"),
        ({"num_frames": 0}, "num_frames", "0 is not between 5 and 241"),
        ({"guidance": 3.6}, "guidance", "3.6 is not a multiple of 0.5; nearest 3.5 or 4"),
        ({"guidance": float("nan")}, "guidance", "nan is not a number"),
        ({"preset": "fsat"}, "preset", "'fsat' is not one of fast, quality; did you mean fast?"),
        ({"prompt": ""}, "prompt", "0 characters; at least 1 are needed"),
        ({"prompt": "x" * 21}, "prompt", "21 characters; at most 20 are taken"),
        ({"prompt": 7}, "prompt", "7 is not a text"),
        ({}, "prompt", "is required: What is seen."),
        ({"promt": "x"}, "promt", "is no parameter of this workflow; did you mean prompt?"),
    ],
)
def test_a_problem_says_what_would_be_right(
    params: dict[str, Any], name: str, message: str
) -> None:
    assert problems(**params)[name] == message


def test_left_out_parameters_take_the_files_value_or_stay_not_given() -> None:
    values = parameters.validate(ALL, {"prompt": "x"})
    assert values["width"] == 1280
    assert values["num_frames"] is None
    assert values["guidance"] is None
    assert values["preset"] == "fast"


def test_null_means_not_given() -> None:
    assert parameters.validate(ALL, {"prompt": "x", "num_frames": None})["num_frames"] is None
    assert problems(prompt="x", width=None) == {"width": "None is not a whole number"}


def test_a_seed_is_drawn_unless_it_is_given_or_fixed() -> None:
    drawn = {parameters.validate(ALL, {"prompt": "x"})["seed"] for _ in range(3)}
    assert len(drawn) == 3
    fixed = parameters.read(document(parameter("Seed", 7, 42, "fixed", "seed", "", False)))
    assert parameters.validate(fixed, {}) == {"seed": 42}
    assert parameters.validate(ALL, {"prompt": "x", "seed": 5})["seed"] == 5


def test_filling_writes_a_copy() -> None:
    source = document(PROMPT, FRAMES, SEED)
    before = json.dumps(source)
    found = parameters.read(source)
    filled = parameters.fill(source, found, {"prompt": "b", "num_frames": 17, "seed": 9})
    assert [n["widgets_values"][0] for n in filled["nodes"]] == ["b", 17, 9]
    assert filled["nodes"][2]["widgets_values"][1] == "fixed"
    assert json.dumps(source) == before


def test_the_schema_is_a_valid_schema_and_agrees_with_validation() -> None:
    schema = parameters.schema(ALL, name="test@1.0.0")
    Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["prompt"]
    assert schema["properties"]["width"]["multipleOf"] == 16
    assert schema["properties"]["num_frames"]["x-step"] == {"from": 5, "by": 4}
    assert "default" not in schema["properties"]["num_frames"]
    assert schema["properties"]["preset"]["enum"] == ["fast", "quality"]


@given(st.integers(-50, 300))
def test_exactly_the_steps_from_the_minimum_are_taken(frames: int) -> None:
    right = 5 <= frames <= 241 and frames % 4 == 1
    try:
        values = parameters.validate(ALL, {"prompt": "x", "num_frames": frames})
    except InvalidParameters:
        assert not right
    else:
        assert right
        assert values["num_frames"] == frames


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.floats() | st.text()))
def test_any_request_is_either_valid_or_invalid_parameters(params: dict[str, Any]) -> None:
    try:
        parameters.validate(ALL, params)
    except InvalidParameters as error:
        assert error.problems


def test_command_line_texts_become_typed_values() -> None:
    texts = {"width": "640", "guidance": "3.5", "loop": "yes", "prompt": "12", "num_frames": "abc"}
    typed = parameters.from_text(ALL, texts)
    assert typed == {
        "width": 640, "guidance": 3.5, "loop": True, "prompt": "12", "num_frames": "abc",
    }  # fmt: skip


def test_app_view_decides_the_order_in_both_forms_of_its_ids() -> None:
    linear = {"inputs": [["3f2a:3:value", "value"], [1, "value", {"height": 120}]]}
    source = document(PROMPT, WIDTH, FRAMES, linearData=linear)
    assert [p.name for p in parameters.read(source)] == ["num_frames", "prompt", "width"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([PROMPT, {**WIDTH, "widgets_values": [1, "prompt", "", False, 0, 9, 1]}], "'prompt'"),
        ([{**WIDTH, "widgets_values": [1, "", "", False, 0, 9, 1]}], "has no name"),
        ([{**WIDTH, "widgets_values": [1, "width"]}], "holds no values"),
        ([{**WIDTH, "widgets_values": None}], "holds no values"),
    ],
)
def test_a_broken_contract_is_a_workflow_error(nodes: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        parameters.read(document(*nodes))
