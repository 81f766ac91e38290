"""Decided switches: taken out with what only their other branches need."""

from typing import Any

from runner.graph.prune import drop_decided, with_values

INFO = {"Save": {"output_node": True}}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}


def picked(index: Any, **more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        "lora": node("Lora", model=["plain", 0]),
        "plain": node("Loader"),
        "pick": node("CallsheetPick", index=index, option0=["lora", 0], option1=["plain", 0]),
        "save": node("Save", model=["pick", 0]),
        **more,
    }


def test_the_chosen_branch_takes_the_switchs_place() -> None:
    pruned = drop_decided(picked(1), INFO)
    assert set(pruned) == {"plain", "save"}
    assert pruned["save"]["inputs"]["model"] == ["plain", 0]


def test_a_choices_index_decides() -> None:
    choice = node("CallsheetChoice", value="quality", choices="fast\nquality")
    assert set(drop_decided(picked(["c", 1], c=choice), INFO)) == {"plain", "save"}
    choice = node("CallsheetChoice", value="fast", choices="fast\nquality")
    assert set(drop_decided(picked(["c", 1], c=choice), INFO)) == {"lora", "plain", "save"}


def test_a_computed_selector_decides_nothing() -> None:
    prompt = picked(["math", 0], math=node("Math"))
    assert drop_decided(prompt, INFO) == prompt


def test_an_unlinked_choice_is_left_for_comfyui_to_refuse() -> None:
    assert "pick" in drop_decided(picked(5), INFO)


def test_switches_in_a_row() -> None:
    prompt = {
        "a": node("Loader"),
        "b": node("Loader"),
        "inner": node("ComfySwitchNode", switch=True, on_true=["a", 0], on_false=["b", 0]),
        "outer": node("ComfySwitchNode", switch=False, on_true=["b", 0], on_false=["inner", 0]),
        "save": node("Save", model=["outer", 0]),
    }
    assert drop_decided(prompt, INFO)["save"]["inputs"]["model"] == ["a", 0]
    assert set(drop_decided(prompt, INFO)) == {"a", "save"}


def gated(enabled: Any) -> dict[str, dict[str, Any]]:
    return {
        "loader": node("Loader"),
        "gate": node("CallsheetOnlyIf", enabled=enabled, passed=["loader", 0]),
        "on": node("CallsheetBoolean", value=False),
        "save": node("Save", model=["gate", 0], images=[]),
    }


def test_a_closed_gate_is_no_link_and_an_open_one_is_what_it_passes() -> None:
    for enabled in (False, ["on", 0]):
        pruned = drop_decided(gated(enabled), INFO)
        assert set(pruned) == {"save"}
        assert pruned["save"]["inputs"] == {"images": []}
    pruned = drop_decided(gated(True), INFO)
    assert set(pruned) == {"loader", "save"}
    assert pruned["save"]["inputs"]["model"] == ["loader", 0]


def test_a_gate_that_a_node_decides_stays() -> None:
    assert "gate" in drop_decided(gated(["math", 0]) | {"math": node("Math")}, INFO)


def test_an_optional_number_that_is_not_given_decides() -> None:
    number = node("CallsheetNumber", value=0, required=False, min=1, max=10, step=0)
    switch = node("ComfySwitchNode", switch=["n", 1], on_true=["lora", 0], on_false=["plain", 0])
    prompt = picked(0, n=number, pick=switch)
    assert "lora" not in drop_decided(prompt, INFO)
    prompt["n"]["inputs"]["value"] = 3
    assert "lora" in drop_decided(prompt, INFO)


def test_switches_in_a_circle_end() -> None:
    prompt = {
        "x": node("CallsheetPick", index=0, option0=["y", 0]),
        "y": node("CallsheetPick", index=0, option0=["x", 0]),
        "save": node("Save", model=["x", 0]),
    }
    drop_decided(prompt, INFO)


def test_without_an_output_nothing_is_dropped() -> None:
    prompt = {"a": node("Loader")}
    assert drop_decided(prompt, INFO) == prompt


def test_parameters_values_stand_in_for_the_links_to_them() -> None:
    prompt = {
        "text": node("CallsheetText", value="a boat", required=True),
        "size": node("CallsheetInteger", value=0, required=False, min=64, max=99, step=1),
        "pick": node("CallsheetChoice", value="quality", choices="fast\nquality"),
        "image": node("CallsheetImage", value="a.png"),
        "linked": node("CallsheetNumber", value=["math", 0]),
        "math": node("Math"),
        "save": node(
            "Save", text=["text", 0], given=["text", 1], width=["size", 0], sized=["size", 1],
            preset=["pick", 0], index=["pick", 1], image=["image", 0], cfg=["linked", 0],
            other=["math", 0],
        ),
    }  # fmt: skip
    assert with_values(prompt)["save"]["inputs"] == {
        "text": "a boat", "given": True, "width": 0, "sized": False, "preset": "quality", "index": 1,
        "image": ["image", 0], "cfg": ["linked", 0], "other": ["math", 0],
    }  # fmt: skip
    assert set(drop_decided(with_values(prompt), INFO)) == {"image", "linked", "math", "save"}
