"""Stored values → widgets → the values that are sent."""

from typing import Any

import pytest

from graph_files import inputs_of, node, prompt


def sent(kind: str, *values: Any, **more: Any) -> dict[str, Any]:
    return inputs_of("1", node(1, kind, *values, **more))


def test_values_are_positional_and_a_control_widget_is_not_sent() -> None:
    assert sent("Sample", 42, "randomize", 8, "heun") == {"seed": 42, "steps": 8, "sampler": "heun"}


def test_a_missing_control_value_shifts_all_that_follow() -> None:
    assert sent("Sample", 42, 20, 8) == {"seed": 42, "steps": 8, "sampler": "euler"}


def test_a_seed_has_a_control_unless_the_definition_switches_it_off() -> None:
    assert sent("Seeds", 1, "fixed", 2) == {"seed": 1, "noise_seed": 2}


def test_too_few_values_leave_defaults_and_too_many_are_ignored() -> None:
    assert sent("Sample", 7) == {"seed": 7, "steps": 20, "sampler": "euler"}
    assert sent("Source", 64, "what", "is this") == {"width": 64}


def test_values_are_not_repaired() -> None:
    assert sent("Source", "64") == {"width": "64"}
    assert sent("Source", None) == {"width": None}
    assert sent("Sample", 1, "fixed", 2, "gone.safetensors")["sampler"] == "gone.safetensors"


def test_an_empty_combo_takes_its_first_choice() -> None:
    assert sent("Sample", 1, "fixed", 2, None)["sampler"] == "euler"


def test_a_text_area_takes_null_for_an_empty_text() -> None:
    assert sent("Encode", None) == {"text": ""}


def test_values_by_name_are_assigned_by_name() -> None:
    stored = node(1, "Sample") | {"widgets_values": {"steps": 3, "unheard": 1}}
    assert inputs_of("1", stored) == {"seed": 0, "steps": 3, "sampler": "euler"}


def test_no_values_at_all_leave_defaults() -> None:
    stored = node(1, "Source") | {"widgets_values": None}
    assert inputs_of("1", stored) == {"width": 512}


def test_old_files_hold_a_value_for_an_input_that_no_longer_is_a_widget() -> None:
    assert sent("Old", "a value of once", 0.5) == {"strength": 0.5}
    assert sent("Old", 0.5) == {"strength": 0.5}


def test_old_sampler_names_lose_their_prefix() -> None:
    assert sent("KSampler", "sample_euler") == {"sampler_name": "euler"}


def test_lists_are_wrapped_and_objects_are_not() -> None:
    assert sent("Source", [1, 2]) == {"width": {"__value__": [1, 2]}}
    assert sent("Source", {"a": 1}) == {"width": {"a": 1}}
    points = [[0, 0], [1, 1]]
    assert sent("Curve", points) == {"curve": {"__type__": "CURVE", "__value__": points}}


def test_title_is_the_files_or_the_definitions() -> None:
    titles = prompt(node(1, "Source"), node(2, "Source", title="mine"), node(3, "Filter"))
    assert [n["_meta"]["title"] for n in titles.values()] == ["A Source", "mine", "Filter"]


# --- dynamic combos and autogrow ------------------------------------------------------------------


def test_a_dynamic_combos_value_brings_its_own_widgets_next_in_the_row() -> None:
    assert sent("Save", "lossy", 30, "hm") == {
        "codec": "lossy",
        "codec.quality": 30,
        "codec.note": "hm",
    }
    assert sent("Save", "auto", 30) == {"codec": "auto"}


def test_a_dynamic_combo_starts_with_its_first_key_whatever_its_default() -> None:
    assert sent("Save") == {"codec": "auto"}
    assert sent("Save", None) == {"codec": "auto"}


def test_an_unknown_key_brings_nothing() -> None:
    assert sent("Save", "gone", 30) == {"codec": "gone"}


def test_widgets_that_a_value_has_brought_draw_no_dynamic_prompts() -> None:
    assert sent("Save", "lossy", 30, "{a}")["codec.note"] == "{a}"


@pytest.mark.parametrize(("linked", "kept"), [([0, 1, 2], [0, 1, 2]), ([0, 2], [0])])
def test_inputs_of_a_group_in_a_dynamic_combo_grow_as_they_are_linked(
    linked: list[int], kept: list[int]
) -> None:
    source = node(2, "Source", outputs=[("IMAGE", *range(3))])
    save = node(1, "Save", "frames", inputs={f"codec.images.image{i}": i for i in linked})
    wires = tuple((i, 2, 0, 1, i) for i in range(3))
    found = inputs_of("1", save, source, wires=wires)
    assert {name for name, value in found.items() if value == ["2", 0]} == {
        f"codec.images.image{i}" for i in kept
    }


def test_inputs_of_another_key_are_dropped() -> None:
    source = node(2, "Source", outputs=[("IMAGE", 1)])
    save = node(1, "Save", "auto", inputs={"codec.images.image0": 1})
    assert inputs_of("1", save, source, wires=((1, 2, 0, 1, 0),)) == {"codec": "auto"}


def test_empty_inputs_of_a_group_vanish() -> None:
    source = node(2, "Source", outputs=[("IMAGE", 1)])
    batch = node(1, "Batch", inputs={"images.a": 1, "images.b": None})
    assert inputs_of("1", batch, source, wires=((1, 2, 0, 1, 0),)) == {"images.a": ["2", 0]}


# --- widgets that the frontend makes --------------------------------------------------------------


def test_upload_buttons_have_a_place_but_are_not_sent() -> None:
    assert sent("LoadImage", "cat.png", "image") == {"image": "cat.png"}
    assert sent("LoadAudio", "talk.wav", "", "") == {"audio": "talk.wav"}


def test_image_compare_sends_a_placeholder() -> None:
    assert sent("ImageCompare") == {"compare_view": {"__value__": ["", ""]}}


def test_a_bounding_box_stores_its_numbers_again() -> None:
    box = {"x": 1, "y": 2, "width": 3, "height": 4}
    assert sent("ImageCrop", box, 1, 2, 3, 4) == {"region": box}
    assert sent("ImageCrop")["region"] == {"x": 0, "y": 0, "width": 512, "height": 512}


def test_a_3d_view_has_buttons() -> None:
    values = ("none", "upload3dmodel", "uploadExtraResources", "clear", "")
    assert sent("Load3D", *values) == {
        "model_file": "none",
        "upload 3d model": "upload3dmodel",
        "upload extra resources": "uploadExtraResources",
        "clear": "clear",
        "image": "",
    }


def test_custom_combo_counts_its_options_itself() -> None:
    assert sent("CustomCombo", "b", 99, "a", "b", "") == {
        "choice": "b",
        "index": 1,
        "option1": "a",
        "option2": "b",
        "option3": "",
    }


def test_custom_combo_shows_an_empty_option_behind_the_last() -> None:
    assert sent("CustomCombo", "c", 0, "a")["option2"] == ""
    assert sent("CustomCombo", "c", 0, "a")["index"] == -1


# --- nodes of unknown type ------------------------------------------------------------------------


def test_an_unknown_node_is_kept_as_the_editor_writes_it() -> None:
    stored = node(1, "Strange", "text", 1, None, title="Odd")
    assert prompt(stored, unknown="keep")["1"] == {
        "inputs": {"UNKNOWN": "text", "UNKNOWN_1": 1, "UNKNOWN_2": "null"},
        "_meta": {"title": "Odd"},
    }
