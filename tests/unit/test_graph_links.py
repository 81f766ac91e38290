"""Links followed through all that only passes on."""

import pytest

from runner.errors import WorkflowError
from runner.graph import to_api

from graph_files import SERVER, file, inputs_of, node, prompt

SOURCE = node(1, "Source", outputs=[("IMAGE", 1), ("MASK", 2)])


def test_a_link_takes_the_widgets_place() -> None:
    sample = node(2, "Sample", inputs={"steps": 1, "image": 2, "positive": None})
    found = inputs_of("2", SOURCE, sample, wires=((1, 1, 0, 2, 0), (2, 1, 1, 2, 1)))
    assert found["steps"] == ["1", 0]
    assert found["image"] == ["1", 1]
    assert "positive" not in found


def test_muted_and_bypassed_nodes_are_left_out() -> None:
    nodes = [node(1, "Source"), node(2, "Source", mode=2), node(3, "Source", mode=4)]
    assert list(prompt(*nodes)) == ["1"]


def test_a_muted_origin_leaves_the_widget_its_value() -> None:
    muted = node(1, "Source", outputs=[("INT", 1)], mode=2)
    sample = node(2, "Sample", 1, "fixed", 8, inputs={"steps": 1})
    assert inputs_of("2", muted, sample, wires=((1, 1, 0, 2, 0),))["steps"] == 8


@pytest.mark.parametrize(("slot", "origin"), [(0, ["1", 0]), (1, ["1", 1])])
def test_bypass_prefers_the_input_at_the_same_place(slot: int, origin: list[object]) -> None:
    bypassed = node(2, "Filter", inputs={"image": 1, "mask": 2}, mode=4)
    kind = ("images", "image")[slot]
    after = node(3, "SaveImage" if slot == 0 else "Filter", inputs={kind: 3} if slot == 0 else
                 {"mask": 3})  # fmt: skip
    wires = ((1, 1, 0, 2, 0), (2, 1, 1, 2, 1), (3, 2, slot, 3, 0))
    found = inputs_of("3", SOURCE, bypassed, after, wires=wires)
    assert origin in found.values()


def test_bypass_takes_an_input_of_exactly_the_type() -> None:
    bypassed = node(2, "Sample", inputs={"image": 1, "positive": None}, mode=4)
    save = node(3, "SaveImage", inputs={"images": 2})
    wires = ((1, 1, 0, 2, 1), (2, 2, 0, 3, 0))
    assert inputs_of("3", SOURCE, bypassed, save, wires=wires)["images"] == ["1", 0]


def test_bypass_does_not_look_for_another_input_if_that_one_is_free() -> None:
    bypassed = node(2, "Filter", inputs={"image": None, "mask": 2}, mode=4)
    save = node(3, "SaveImage", inputs={"images": 3})
    wires = ((2, 1, 1, 2, 1), (3, 2, 0, 3, 0))
    assert "images" not in inputs_of("3", SOURCE, bypassed, save, wires=wires)


def test_bypass_without_a_fitting_input_gives_nothing() -> None:
    bypassed = node(2, "Encode", "hi", inputs={"clip": None}, mode=4)
    sample = node(3, "Sample", inputs={"positive": 1})
    assert "positive" not in inputs_of("3", bypassed, sample, wires=((1, 2, 0, 3, 0),))


def test_bypass_for_any_type_takes_the_same_place() -> None:
    bypassed = node(2, "Filter", inputs={"image": 1, "mask": 2}, mode=4)
    wires = ((1, 1, 0, 2, 0), (2, 1, 1, 2, 1), (3, 2, 1, 3, 0))
    found = inputs_of("3", SOURCE, bypassed, node(3, "Any", inputs={"source": 3}), wires=wires)
    assert found == {"source": ["1", 1]}


def test_reroutes_vanish() -> None:
    reroutes = [
        node(2, "Reroute", inputs={"": 1}, outputs=[("IMAGE", 2)]),
        node(3, "Reroute", inputs={"": 2}, outputs=[("IMAGE", 3)]),
    ]
    save = node(4, "SaveImage", inputs={"images": 3})
    wires = ((1, 1, 0, 2, 0), (2, 2, 0, 3, 0), (3, 3, 0, 4, 0))
    converted = prompt(SOURCE, *reroutes, save, wires=wires)
    assert list(converted) == ["1", "4"]
    assert converted["4"]["inputs"]["images"] == ["1", 0]


def test_a_dangling_reroute_gives_nothing() -> None:
    reroute = node(2, "Reroute", inputs={"": None}, outputs=[("IMAGE", 3)])
    save = node(4, "SaveImage", inputs={"images": 3})
    assert "images" not in inputs_of("4", reroute, save, wires=((3, 2, 0, 4, 0),))


def test_native_reroutes_change_nothing() -> None:
    save = node(2, "SaveImage", inputs={"images": 1})
    extra = {
        "reroutes": [{"id": 1, "linkIds": [1], "pos": [0, 0]}],
        "linkExtensions": [{"id": 1, "parentId": 1}],
    }
    found = inputs_of("2", SOURCE, save, wires=((1, 1, 0, 2, 0),), extra=extra)
    assert found["images"] == ["1", 0]


def test_a_get_node_passes_on_what_the_set_node_of_its_name_gets() -> None:
    setter = node(2, "SetNode", "picture", inputs={"IMAGE": 1})
    getter = node(3, "GetNode", "picture", outputs=[("IMAGE", 2)])
    save = node(4, "SaveImage", inputs={"images": 2})
    converted = prompt(SOURCE, setter, getter, save, wires=((1, 1, 0, 2, 0), (2, 3, 0, 4, 0)))
    assert list(converted) == ["1", "4"]
    assert converted["4"]["inputs"]["images"] == ["1", 0]


def test_a_primitive_writes_its_value_into_all_its_targets() -> None:
    primitive = node(5, "PrimitiveNode", 9, "fixed", outputs=[("INT", 1, 2)])
    nodes = [
        primitive,
        node(6, "Sample", 1, "fixed", 2, inputs={"steps": 1}),
        node(7, "Source", 64, inputs={"width": 2}),
    ]
    # The slot numbers in the links are stale: the inputs themselves name their links.
    converted = prompt(*nodes, wires=((1, 5, 0, 6, 77), (2, 5, 0, 7, 0)))
    assert converted["6"]["inputs"]["steps"] == 9
    assert converted["7"]["inputs"]["width"] == 9
    assert "5" not in converted


def test_a_primitive_without_a_value_has_that_of_its_first_target() -> None:
    primitive = node(5, "PrimitiveNode", outputs=[("INT", 1, 2)])
    first, second = (node(i, "Source", i, inputs={"width": i - 5}) for i in (6, 7))
    converted = prompt(primitive, first, second, wires=((1, 5, 0, 6, 0), (2, 5, 0, 7, 0)))
    assert converted["7"]["inputs"]["width"] == 6


def test_an_input_that_the_definition_does_not_have_keeps_its_link() -> None:
    save = node(2, "SaveImage", inputs={"images": None, "extra": 1})
    assert inputs_of("2", SOURCE, save, wires=((1, 1, 0, 2, 1),))["extra"] == ["1", 0]


def test_version_1_writes_links_as_objects() -> None:
    save = node(2, "SaveImage", inputs={"images": 1})
    document = file(SOURCE, save) | {
        "version": 1,
        "state": {"lastNodeId": 2},
        "links": [
            {"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0,
             "type": "IMAGE", "parentId": 3}
        ],
    }  # fmt: skip
    assert to_api(document, SERVER)["2"]["inputs"]["images"] == ["1", 0]


def test_ids_are_in_the_order_of_a_javascript_object() -> None:
    nodes = [node("b", "Source"), node(10, "Source"), node(2, "Source"), node("a", "Source")]
    assert list(prompt(*nodes)) == ["2", "10", "b", "a"]


@pytest.mark.parametrize(
    ("wires", "said"),
    [
        ((), "there is no link 3"),
        (((3, 99, 0, 2, 0),), "comes from node 99, which is not there"),
        (((3, 2, 0, 2, 0),), None),
    ],
)
def test_a_broken_link_says_where(wires: tuple[tuple[int, ...], ...], said: str | None) -> None:
    nodes = [node(2, "Filter", inputs={"image": 3})]
    if said is None:
        assert inputs_of("2", *nodes, wires=wires)["image"] == ["2", 0]
        return
    with pytest.raises(WorkflowError, match=said) as caught:
        prompt(*nodes, wires=wires)
    assert caught.value.details == {"reason": "broken_link", "node": "2", "type": "Filter"}


def test_reroutes_in_a_circle_are_an_error() -> None:
    nodes = [
        node(2, "Reroute", inputs={"": 2}),
        node(3, "Reroute", inputs={"": 1}),
        node(4, "SaveImage", inputs={"images": 2}),
    ]
    with pytest.raises(WorkflowError, match=r"SaveImage.*'images'.*links lead in a circle"):
        prompt(*nodes, wires=((1, 2, 0, 3, 0), (2, 3, 0, 2, 0)))


def test_unknown_nodes_are_all_named() -> None:
    nodes = [
        node(1, "Strange", title="Odd", properties={"cnr_id": "odd-pack"}),
        node(2, "Stranger", properties={"aux_id": "someone/odder"}),
        node(3, "Strangest", mode=4),
    ]
    with pytest.raises(WorkflowError) as caught:
        prompt(*nodes)
    assert caught.value.details["nodes"] == [
        {"id": "1", "type": "Strange", "title": "Odd", "pack": "odd-pack"},
        {"id": "2", "type": "Stranger", "title": "Stranger", "pack": "someone/odder"},
    ]
    assert "Odd (node 1) is a Strange of odd-pack" in caught.value.message


def test_unknown_nodes_that_do_not_run_do_not_matter() -> None:
    assert list(prompt(node(1, "Strange", mode=2), node(2, "Source"))) == ["2"]
