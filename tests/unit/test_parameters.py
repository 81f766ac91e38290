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


FPS = parameter("Integer", 20, 30, "fps", "", False, 24, 30, 1, "24, 25, 30")
LAYERS = parameter("Integer", 21, 0, "layers", "", False, 0, 100, 1, "2\n4")
LISTED = parameters.read(document(FPS, LAYERS))


def test_numbers_of_a_list_and_no_others() -> None:
    schema = parameters.schema(LISTED, name="test@1.0.0")
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["fps"] == {
        "title": "Integer", "description": "", "type": "integer", "enum": [24, 25, 30], "default": 30,
    }  # fmt: skip
    assert parameters.validate(LISTED, {}) == {"fps": 30, "layers": None}
    assert parameters.validate(LISTED, {"fps": 25.0, "layers": None})["fps"] == 25
    assert parameters.validate(LISTED, {"layers": 4})["layers"] == 4
    assert not list(Draft202012Validator(schema).iter_errors({"layers": None}))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fps": 27}, "27 is not one of 24, 25, 30; nearest 25"),
        ({"fps": 60}, "60 is not one of 24, 25, 30; nearest 30"),
        ({"fps": 29.97}, "29.97 is not a whole number"),
        ({"fps": "30"}, "'30' is not a whole number"),
        ({"fps": True}, "True is not a whole number"),
        ({"fps": None}, "None is not a whole number"),
        ({"fps": float("nan")}, "nan is not a whole number"),
        ({"layers": 3}, "3 is not one of 2, 4; nearest 2 or 4"),
        ({"layers": 0}, "0 is not one of 2, 4; nearest 2"),
    ],
)
def test_a_number_that_is_not_of_the_list(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidParameters) as caught:
        parameters.validate(LISTED, params)
    assert [p.message for p in caught.value.problems] == [message]


def test_a_list_of_numbers_may_be_missing_from_files_and_prompts() -> None:
    bare, empty = (
        parameters.read(document({**FPS, "widgets_values": FPS["widgets_values"][:7] + more}))
        for more in ([], [""])
    )
    assert bare == empty
    assert bare[0].limits == {"type": "integer", "minimum": 24, "maximum": 30}
    inputs = dict(zip(parameters.WIDGETS["CallsheetInteger"], FPS["widgets_values"], strict=True))
    prompt = {"20": {"class_type": "CallsheetInteger", "inputs": inputs}}
    assert parameters.read(prompt)[0].limits["enum"] == [24, 25, 30]
    del inputs["choices"]
    assert parameters.read(prompt)[0].limits == bare[0].limits
    by_name = {**FPS, "widgets_values": inputs}
    assert parameters.read(document(by_name)) == bare


def test_a_list_of_numbers_that_are_none_is_a_broken_file() -> None:
    node = {**FPS, "widgets_values": [*FPS["widgets_values"][:7], "24\n29.97\nfast"]}
    with pytest.raises(WorkflowError, match=r"its choice '29\.97' is no whole number") as caught:
        parameters.read(document(node))
    assert "'fast'" in str(caught.value)


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
        ([{**WIDTH, "widgets_values": [1, "width"]}],
         "holds no values for description, required, min, max, step$"),
        ([{**WIDTH, "widgets_values": None}], "holds no values"),
    ],
)  # fmt: skip
def test_a_broken_contract_is_a_workflow_error(nodes: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        parameters.read(document(*nodes))


# --- files and lists ------------------------------------------------------------------------------

IMAGE = parameter("Image", 11, "", "image_url", "", False, "image")
AUDIO = parameter("Audio", 12, "voice.wav", "audio_url", "Speech.", True, 30, None)
VIDEO = parameter("Video", 13, "clip.mp4", "video_url", "", False, "image")
ROWS = '[{"image": "a.png", "position": "first", "strength": null}, {"image": "b.png", "position": ""}]'
KEYFRAMES = parameter("Keyframes", 14, ROWS, "keyframes", "Pictures.", False, 2, 9)
NO_KEYFRAMES = parameter("Keyframes", 14, "[]", "keyframes", "Pictures.", False, 1, 9)
FILES = parameters.read(document(IMAGE, AUDIO, VIDEO, KEYFRAMES))
SHAPE = '[{"image_url": "a.png", "frame_position": "first"}, {"image_url": "b.png"}]'
A, B = {"image_url": "https://x/a.png"}, {"image_url": "https://x/b.png"}


def file_problems(**given_params: Any) -> dict[str, str]:
    with pytest.raises(InvalidParameters) as caught:
        parameters.validate(FILES, {"audio_url": "https://x/a.wav", **given_params})
    return {p.parameter: p.message for p in caught.value.problems}


def test_the_schema_of_files_and_lists() -> None:
    schema = parameters.schema(FILES, name="test@1.0.0")
    Draft202012Validator.check_schema(schema)
    image, audio = schema["properties"]["image_url"], schema["properties"]["audio_url"]
    assert (image["type"], image["x-media"]) == (["string", "null"], "image")
    assert (audio["type"], audio["x-media"], audio["x-max-duration"]) == ("string", "audio", 30)
    assert schema["properties"]["video_url"]["default"] == "clip.mp4"
    keyframes = schema["properties"]["keyframes"]
    assert (keyframes["type"], keyframes["minItems"], keyframes["maxItems"]) == ("array", 2, 9)
    assert keyframes["items"]["required"] == ["image_url"]
    assert keyframes["default"] == [
        {"image_url": "a.png", "frame_position": "first"}, {"image_url": "b.png"},
    ]  # fmt: skip
    assert not list(Draft202012Validator(keyframes).iter_errors(keyframes["default"]))


def test_left_out_files_are_not_given_or_the_files_own() -> None:
    values = parameters.validate(FILES, {"audio_url": "https://x/a.wav"})
    assert values["image_url"] is None
    assert values["video_url"] == "clip.mp4"
    assert [row["image_url"] for row in values["keyframes"]] == ["a.png", "b.png"]
    none = parameters.read(document(NO_KEYFRAMES))
    assert parameters.validate(none, {}) == {"keyframes": None}
    assert none[0].schema["type"] == ["array", "null"]


@pytest.mark.parametrize(
    ("params", "name", "message"),
    [
        ({"image_url": 5}, "image_url", "5 is not the URL of an image"),
        ({"image_url": ""}, "image_url", "is empty; a URL is needed"),
        ({"audio_url": None}, "audio_url", "None is not the URL of a sound"),
        ({"keyframes": "a.png"}, "keyframes", f"'a.png' is not a list of keyframes; write {SHAPE}"),
        (
            {"keyframes": '[{"image_url": "a.png"'},
            "keyframes",
            """'[{"image_url": "a.png"' is not a list of keyframes: no JSON, """
            f"expecting ',' delimiter: line 1 column 23 (char 22); write {SHAPE}",
        ),
        ({"keyframes": [A] * 10}, "keyframes", "10 keyframes; at most 9"),
        ({"keyframes": [A]}, "keyframes", "1 keyframe; at least 2"),
        (
            {"keyframes": [A, {**B, "frame_position": 1.5}]},
            "keyframes[1].frame_position",
            "1.5 is not between 0 and 1",
        ),
        (
            {"keyframes": [A, {**B, "frame_position": "middle"}]},
            "keyframes[1].frame_position",
            "'middle' is not first, last or a number between 0 and 1",
        ),
        (
            {"keyframes": [{**A, "strength": "high"}, B]},
            "keyframes[0].strength",
            "'high' is not a number",
        ),
        ({"keyframes": [{**A, "strength": -1}, B]}, "keyframes[0].strength",
         "-1 is not between 0 and 1"),
        ({"keyframes": [A, {"strength": 1}]}, "keyframes[1].image_url", "is required"),
        ({"keyframes": [A, {"image_url": None}]}, "keyframes[1].image_url",
         "None is not the URL of an image"),
        (
            {"keyframes": [A, {**B, "position": 1}]},
            "keyframes[1].position",
            "is no key of a keyframe; did you mean frame_position?",
        ),
        (
            {"keyframes": [A, "b.png"]},
            "keyframes[1]",
            "'b.png' is not an object with image_url, frame_position, strength",
        ),
    ],
)  # fmt: skip
def test_a_problem_of_a_file_or_row(params: dict[str, Any], name: str, message: str) -> None:
    assert file_problems(**params) == {name: message}


@pytest.mark.parametrize(
    ("one", "other"), [("first", 0), (0, "first"), ("last", 1.0), (0.5, 0.5), ("last", "last")]
)
def test_two_rows_at_one_place_are_refused(one: Any, other: Any) -> None:
    between = [{"image_url": "https://x/c.png"}, {"image_url": "https://x/d.png"}]
    rows = [{**A, "frame_position": one}, *between, {**B, "frame_position": other}]
    assert file_problems(keyframes=rows) == {
        "keyframes[3].frame_position": f"{other!r} is the place of keyframes[0] ({one!r}), too"
    }
    assert FILES[3].schema["x-unique"] == "frame_position"


def test_the_first_row_is_at_first_and_the_last_at_last_unless_they_say_otherwise() -> None:
    at = {"first": {**B, "frame_position": "first"}, "last": {**A, "frame_position": 1}}
    assert file_problems(keyframes=[A, at["first"]]) == {
        "keyframes[1].frame_position": "'first' is the place of keyframes[0] ('first'), too"
    }
    assert file_problems(keyframes=[at["last"], B]) == {
        "keyframes[1].frame_position": "'last' is the place of keyframes[0] (1), too"
    }


def test_rows_at_places_of_their_own_are_taken() -> None:
    first, early, late, last = ({**A, "frame_position": p} for p in ("first", 0.01, 0.99, "last"))
    rows = [first, early, A, B, late, last]
    parameters.validate(FILES, {"audio_url": "https://x/a.wav", "keyframes": rows})


def test_the_example_of_a_required_list_is_a_list() -> None:
    required = parameter("Keyframes", 14, ROWS, "keyframes", "Pictures.", True, 2, 9)
    schema = parameters.read(document(required))[0].schema
    assert schema["examples"] == [
        [{"image_url": "a.png", "frame_position": "first"}, {"image_url": "b.png"}]
    ]
    assert not list(Draft202012Validator(schema).iter_errors(schema["examples"][0]))
    for nothing in ("[]", ""):
        empty = parameter("Keyframes", 14, nothing, "keyframes", "Pictures.", True, 2, 9)
        assert "examples" not in parameters.read(document(empty))[0].schema


@pytest.mark.parametrize(
    ("said", "blamed"),
    [
        ("image_url: no such image: a.png", {"image_url": "no such image: a.png"}),
        (
            "image_url: 8 is odd; nearest 7 or 9; audio_url: gone",
            {"image_url": "8 is odd; nearest 7 or 9", "audio_url": "gone"},
        ),
        (
            "keyframes: 3 keyframes; at most 2; row 2: no such image: b; row 2: odd; row 10: c",
            {"keyframes": "3 keyframes; at most 2", "keyframes[1]": "no such image: b|odd",
             "keyframes[9]": "c"},
        ),
        ("lora_name: gone.safetensors is not in models/loras", {}),
        ("presets: not JSON; image_url: gone", {}),
        ("something else", {}),
    ],
)  # fmt: skip
def test_what_nodes_say_belongs_to_parameters(said: str, blamed: dict[str, str]) -> None:
    found: dict[str, str] = {}
    for problem in parameters.blamed(FILES, said):
        earlier = found.get(problem.parameter)
        found[problem.parameter] = f"{earlier}|{problem.message}" if earlier else problem.message
    assert found == blamed
    assert parameters.blamed((), said) == []


def test_every_row_is_reported_at_once() -> None:
    rows = [{**A, "frame_position": 1.5, "strength": "high"}, {"strength": 2}, "c.png"]
    assert set(file_problems(keyframes=rows, image_url=1)) == {
        "image_url",
        "keyframes[0].frame_position",
        "keyframes[0].strength",
        "keyframes[1].strength",
        "keyframes[1].image_url",
        "keyframes[2]",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["image_url", "frame_position", "strength", "x"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_list_is_either_valid_or_invalid_parameters(keyframes: Any) -> None:
    try:
        parameters.validate(FILES, {"audio_url": "a.wav", "keyframes": keyframes})
    except InvalidParameters as error:
        assert all(problem.parameter.startswith("keyframes") for problem in error.problems)


def test_filling_takes_names_of_files_and_rows_as_text() -> None:
    source = document(IMAGE, AUDIO, VIDEO, KEYFRAMES)
    text = '[{"image": "job/1.png"}]'
    values = {
        "image_url": "job/i.png", "audio_url": "job/a.wav", "video_url": None, "keyframes": text,
    }  # fmt: skip
    filled = parameters.fill(source, FILES, values)
    assert [n["widgets_values"][0] for n in filled["nodes"]] == ["job/i.png", "job/a.wav", "", text]
    assert filled["nodes"][0]["widgets_values"][-1] == "image"  # the upload button's


def test_filling_writes_rows_as_the_node_calls_them() -> None:
    source = document(KEYFRAMES)
    rows = [{"image_url": "a.png", "frame_position": 0.5, "strength": 1}]
    found = parameters.read(source)
    filled = parameters.fill(source, found, {"keyframes": rows})
    assert json.loads(filled["nodes"][0]["widgets_values"][0]) == [
        {"image": "a.png", "position": 0.5, "strength": 1}
    ]
    assert parameters.read(filled)[0].default == rows
    empty = parameters.fill(source, found, {"keyframes": None})
    assert empty["nodes"][0]["widgets_values"][0] == "[]"


@pytest.mark.parametrize("text", ["{broken", "7", '{"image": "a.png"}', None, 5])
def test_rows_that_are_no_list_are_left_to_the_server_to_name(text: Any) -> None:
    node = {**KEYFRAMES, "widgets_values": [text, "keyframes", "", False, 1, 9]}
    (found,) = parameters.read(document(node))
    assert found.default == text or found.optional


def test_a_list_on_the_command_line_is_json() -> None:
    typed = parameters.from_text(FILES, {"keyframes": '[{"image_url": "a"}]', "image_url": "7"})
    assert typed == {"keyframes": [{"image_url": "a"}], "image_url": "7"}
    assert parameters.from_text(FILES, {"keyframes": "[a.png"}) == {"keyframes": "[a.png"}


def test_an_addresss_secrets_are_not_repeated() -> None:
    image = parameter("Image", 9, "", "image_url", "", True)
    found = parameters.read(document(image))
    with pytest.raises(InvalidParameters) as caught:
        parameters.validate(
            found, {"image_url": ["https://user:pass@example.test/a.png?token=hush"]}
        )
    assert "example.test/a.png" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "pass" not in str(caught.value)


def test_a_number_beyond_all_floats_is_out_of_range() -> None:
    found = parameters.read(document(parameter("Number", 1, 0.5, "x", "", False, 0.0, 1.0, 0.1)))
    with pytest.raises(InvalidParameters, match="between 0 and 1"):
        parameters.validate(found, {"x": 10**400})
