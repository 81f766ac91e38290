"""Subgraphs, the values of their hosts, and the group nodes of old."""

from typing import Any

import pytest

from runner.errors import WorkflowError
from runner.graph import to_api

from graph_files import SERVER, copied, file, inputs_of, node, prompt, subgraph

SAMPLE = node(10, "Sample", 1, "fixed", 20, "heun", inputs={"steps": 1, "image": 2, "seed": 3},
              outputs=[("IMAGE", 4)])  # fmt: skip
SAMPLER = subgraph(
    "sampler",
    SAMPLE,
    inputs={"steps": [1], "image": [2], "seed": [3]},
    outputs={"IMAGE": [4]},
    wires=((1, -10, 0, 10, 1), (2, -10, 1, 10, 5), (3, -10, 2, 10, 2), (4, 10, 0, -20, 0)),
)
SOURCE = node(1, "Source", outputs=[("IMAGE", 1)])


def host(*values: Any, kind: str = "sampler", node_id: int = 5, **more: Any) -> dict[str, Any]:
    return node(node_id, kind, *values, **more)


def test_inner_nodes_are_named_by_their_path() -> None:
    save = node(2, "SaveImage", inputs={"images": 2})
    converted = prompt(SOURCE, host(inputs={"image": 1}), save, subgraphs=[SAMPLER],
                       wires=((1, 1, 0, 5, 1), (2, 5, 0, 2, 0)))  # fmt: skip
    assert list(converted) == ["1", "2", "5:10"]
    assert converted["5:10"]["inputs"]["image"] == ["1", 0]
    assert converted["2"]["inputs"]["images"] == ["5:10", 0]


def test_an_input_with_no_link_has_the_inner_widgets_value_or_none() -> None:
    assert inputs_of("5:10", host(), subgraphs=[SAMPLER]) == {
        "seed": 1,
        "steps": 20,
        "sampler": "heun",
    }


def test_hosts_have_values_of_their_own_in_the_order_of_inputs_with_a_value() -> None:
    hosts = [host(7, 8), host(None, node_id=6)]
    converted = prompt(*hosts, subgraphs=[SAMPLER])
    assert converted["5:10"]["inputs"] == {"steps": 7, "seed": 8, "sampler": "heun"}
    assert converted["6:10"]["inputs"] == {"steps": None, "seed": 1, "sampler": "heun"}


def test_a_linked_input_counts_in_the_order_and_the_link_wins() -> None:
    width = node(1, "Source", outputs=[("INT", 1)])
    found = inputs_of("5:10", width, host(7, 8, inputs={"steps": 1}), subgraphs=[SAMPLER],
                      wires=((1, 1, 0, 5, 0),))  # fmt: skip
    assert found["steps"] == ["1", 0]
    assert found["seed"] == 8


@pytest.mark.parametrize(
    ("entries", "values", "steps", "seed"),
    [
        ([["10", "seed"], ["10", "steps"]], [4, 5], 5, 4),
        ([["-1", "seed"], ["-1", "steps"]], [4, 5], 5, 4),
        ([["10", "steps"], ["10", "seed"]], [None, 5], None, 5),
        ([["99", "steps"]], [4], 4, 1),
        ([["10", "steps"], ["malformed"]], [4, 5], 4, 5),
    ],
)
def test_proxy_widgets_say_which_value_is_whose(
    entries: list[list[str]], values: list[Any], steps: int, seed: int
) -> None:
    found = inputs_of("5:10", host(*values, properties={"proxyWidgets": entries}),
                      subgraphs=[SAMPLER])  # fmt: skip
    assert (found["steps"], found["seed"]) == (steps, seed)


def test_a_proxy_widget_without_an_input_overrides_for_this_host() -> None:
    shows = {"proxyWidgets": [["10", "sampler"]]}
    hosts = [host("dpm", properties=shows), host(node_id=6)]
    # The values are positional too, for the first input with a value.
    converted = prompt(*hosts, subgraphs=[SAMPLER])
    assert converted["5:10"]["inputs"]["sampler"] == "dpm"
    assert converted["6:10"]["inputs"]["sampler"] == "heun"


def test_previews_and_controls_among_proxy_widgets_are_dropped() -> None:
    shows = {"proxyWidgets": [["10", "$$canvas-image-preview"], ["10", "control_after_generate"]]}
    found = inputs_of("5:10", host(properties=shows), subgraphs=[SAMPLER])
    assert found == {"seed": 1, "steps": 20, "sampler": "heun"}


def test_a_proxy_widget_of_a_primitive_reaches_all_its_targets() -> None:
    inner = subgraph(
        "pair",
        node(20, "PrimitiveNode", 1, "fixed", outputs=[("INT", 1, 2)]),
        node(21, "Source", 64, inputs={"width": 1}),
        node(22, "Source", 64, inputs={"width": 2}),
        wires=((1, 20, 0, 21, 0), (2, 20, 0, 22, 0)),
    )
    shows = {"proxyWidgets": [["20", "value"]]}
    nodes = [host(128, kind="pair", properties=shows), host(256, kind="pair", node_id=6,
             properties=shows)]  # fmt: skip
    converted = prompt(*nodes, subgraphs=[inner])
    widths = {i: n["inputs"]["width"] for i, n in converted.items()}
    assert widths == {"5:21": 128, "5:22": 128, "6:21": 256, "6:22": 256}


def test_a_value_reaches_an_input_that_is_no_widget() -> None:
    inner = subgraph("both", node(10, "Source", 64, inputs={"width": 1}),
                     node(11, "Any", inputs={"source": 2}), inputs={"size": [1, 2]},
                     wires=((1, -10, 0, 10, 0), (2, -10, 0, 11, 0)))  # fmt: skip
    converted = prompt(host(99, kind="both"), subgraphs=[inner])
    assert converted["5:11"]["inputs"] == {"source": 99}


def test_a_promoted_text_is_sent_as_it_is() -> None:
    inner = subgraph("text", node(10, "Encode", "own", inputs={"text": 1}), inputs={"text": [1]},
                     wires=((1, -10, 0, 10, 1),))  # fmt: skip
    found = inputs_of("5:10", host('{"a": "http://b"}', kind="text"), subgraphs=[inner])
    assert found == {"text": '{"a": "http://b"}'}


def test_an_empty_promoted_combo_takes_its_first_choice() -> None:
    inner = subgraph("combo", node(10, "Sample", inputs={"sampler": 1}), inputs={"sampler": [1]},
                     wires=((1, -10, 0, 10, 3),))  # fmt: skip
    assert inputs_of("5:10", host(None, kind="combo"), subgraphs=[inner])["sampler"] == "euler"


NESTING = subgraph(
    "nesting",
    node(30, "sampler", inputs={"steps": 1, "image": 3}, outputs=[("IMAGE", 2)]),
    inputs={"steps": [1], "image": [3]},
    outputs={"IMAGE": [2]},
    wires=((1, -10, 0, 30, 0), (2, 30, 0, -20, 0), (3, -10, 1, 30, 1)),
)


@pytest.mark.parametrize("order", [[SAMPLER, NESTING], [NESTING, SAMPLER]])
def test_nested_hosts(order: list[dict[str, Any]]) -> None:
    converted = prompt(host(9, kind="nesting"), subgraphs=order)
    assert converted["5:30:10"]["inputs"] == {"steps": 9, "seed": 1, "sampler": "heun"}


def _bypassing(mode: int) -> dict[str, Any]:
    inner = {**NESTING["nodes"][0], "mode": mode, "outputs": [{"type": "IMAGE", "links": [2]}]}
    save = node(2, "SaveImage", inputs={"images": 2})
    ports = [{"name": n, "type": t, "linkIds": [i]} for n, t, i in
             (("steps", "INT", 1), ("image", "IMAGE", 2), ("seed", "INT", 3))]  # fmt: skip
    outputs = [{"name": "IMAGE", "type": "IMAGE", "linkIds": [4]}]
    definitions = [SAMPLER | {"inputs": ports, "outputs": outputs}, NESTING | {"nodes": [inner]}]
    return prompt(SOURCE, host(kind="nesting", inputs={"image": 1}), save,
                  subgraphs=definitions, wires=((1, 1, 0, 5, 1), (2, 5, 0, 2, 0)))  # fmt: skip


def test_a_bypassed_nested_host_is_expanded_but_passed_by() -> None:
    converted = _bypassing(4)
    assert "5:30:10" in converted
    assert converted["2"]["inputs"]["images"] == ["1", 0]


def test_a_muted_nested_host_gives_nothing() -> None:
    assert "images" not in _bypassing(2)["2"]["inputs"]


def test_a_muted_or_bypassed_host_in_the_root_graph_is_not_expanded() -> None:
    assert prompt(host(mode=4), host(node_id=6, mode=2), subgraphs=[SAMPLER]) == {}


def test_the_first_link_of_an_output_counts() -> None:
    inner = subgraph("two", node(10, "Source", outputs=[("IMAGE", 1)]),
                     node(11, "Source", outputs=[("IMAGE", 2)]), outputs={"IMAGE": [2, 1]},
                     wires=((1, 10, 0, -20, 0), (2, 11, 0, -20, 0)))  # fmt: skip
    save = node(2, "SaveImage", inputs={"images": 7})
    found = inputs_of("2", host(kind="two"), save, subgraphs=[inner], wires=((7, 5, 0, 2, 0),))
    assert found["images"] == ["5:11", 0]


def test_duplicate_ids_give_way_to_the_root_graph_and_to_earlier_definitions() -> None:
    one = subgraph("one", node(1, "Source", outputs=[("IMAGE", 1)]), node(8, "Source"),
                   outputs={"IMAGE": [1]}, wires=((1, 1, 0, -20, 0),))  # fmt: skip
    two = subgraph("two", node(8, "Source", 64, inputs={"width": None}))
    save = node(3, "SaveImage", inputs={"images": 1})
    hosts = [host(kind="one", node_id=1), host(77, kind="two", node_id=2,
             properties={"proxyWidgets": [["8", "width"]]})]  # fmt: skip
    converted = prompt(*hosts, save, subgraphs=[one, two], wires=((1, 1, 0, 3, 0),), last_node_id=4)
    # 1 is the root's: it becomes 5. 8 raises the counter: the next one becomes 9.
    assert set(converted) == {"3", "1:5", "1:8", "2:9"}
    assert converted["3"]["inputs"]["images"] == ["1:5", 0]
    assert converted["2:9"]["inputs"]["width"] == 77


def test_a_subgraph_that_contains_itself_is_an_error() -> None:
    inner = subgraph("sampler", node(10, "nesting"))
    with pytest.raises(WorkflowError, match=r"a subgraph contains itself: .*nesting"):
        prompt(host(), subgraphs=[inner, NESTING])


# --- group nodes ----------------------------------------------------------------------------------

GROUP = {
    "nodes": [
        {"id": -1, "type": "Encode", "widgets_values": ["kept"], "inputs": [
            {"name": "clip", "type": "CLIP", "link": None}]},
        {"id": -1, "type": "Sample", "widgets_values": [1, "fixed", 2, "euler"], "inputs": [
            {"name": "positive", "type": "CONDITIONING", "link": None},
            {"name": "image", "type": "IMAGE", "link": None}]},
    ],
    "links": [[0, 0, 1, 0, 3, "CONDITIONING"]],
    "external": [],
}  # fmt: skip


def grouped(*values: Any, kind: str = "workflow/mine", **more: Any) -> dict[str, Any]:
    group = node(5, kind, *values, inputs={"clip": None, "image": 1}, **more)
    save = node(2, "SaveImage", inputs={"images": 2})
    return prompt(SOURCE, group, save, wires=((1, 1, 0, 5, 1), (2, 5, 0, 2, 0)),
                  extra={"groupNodes": {"mine": GROUP}})  # fmt: skip


@pytest.mark.parametrize("kind", ["workflow/mine", "workflow>mine"])
def test_a_group_node_is_unpacked(kind: str) -> None:
    converted = grouped("new", 3, "fixed", 4, "heun", kind=kind)
    assert list(converted) == ["1", "2", "8:6", "8:7"]
    assert converted["8:6"]["inputs"] == {"text": "new"}
    assert converted["8:7"]["inputs"] == {
        "seed": 3,
        "steps": 4,
        "sampler": "heun",
        "positive": ["8:6", 0],
        "image": ["1", 0],
    }
    assert converted["2"]["inputs"]["images"] == ["8:7", 0]


def test_a_group_node_without_values_has_the_definitions_defaults() -> None:
    converted = grouped()
    assert converted["8:6"]["inputs"] == {"text": ""}
    assert converted["8:7"]["inputs"]["steps"] == 20


def test_a_muted_group_node_mutes_what_it_holds() -> None:
    assert list(grouped(mode=2)) == ["1", "2"]


def test_a_group_node_that_contains_itself_is_an_error() -> None:
    data = {"nodes": [{"type": "workflow/mine"}], "links": []}
    with pytest.raises(WorkflowError, match="a group node contains itself"):
        prompt(node(5, "workflow/mine"), extra={"groupNodes": {"mine": data}})


def test_the_file_stays_as_it_is() -> None:
    document = file(host(7, properties={"proxyWidgets": [["10", "sampler"]]}), subgraphs=[SAMPLER])
    before = copied(document)
    to_api(document, SERVER)
    assert document == before
