"""File formats, broken files, inputs that only a browser can make."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import WorkflowError
from runner.graph import browser_only_inputs, is_api_format, is_ui_format, to_api

from graph_files import SERVER, copied, file, node, prompt, subgraph, template_server, templates

CASES = templates()
TEMPLATE_SERVER = template_server()
WILD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    99999,
    1.5,
    "",
    "x",
    "-10",
    "5:5",
    [],
    [1],
    [[]],
    {},
    {"id": 1},
    "sampler",
)


@pytest.mark.parametrize("name", CASES)
def test_a_file_in_api_format_comes_back_as_it_is(name: str) -> None:
    api = CASES[name]["prompt"]
    converted = to_api(api, {})
    assert converted == api
    assert converted is not api
    assert all(converted[i] is not api[i] for i in api)


@pytest.mark.parametrize("name", CASES)
def test_formats_are_told_apart(name: str) -> None:
    workflow, api = CASES[name]["workflow"], CASES[name]["prompt"]
    assert (is_ui_format(workflow), is_api_format(workflow)) == (True, False)
    assert (is_ui_format(api), is_api_format(api)) == (False, True)


def test_the_result_shares_nothing_with_the_file() -> None:
    document = file(node(1, "Source", {"a": [1]}))
    to_api(document, SERVER)["1"]["inputs"]["width"]["a"].append(2)
    assert document["nodes"][0]["widgets_values"] == [{"a": [1]}]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({}, "has no list of nodes"),
        ({"nodes": {}}, "has no list of nodes"),
        ({"nodes": [1]}, "the file: node: 1 is not an object"),
        ({"nodes": [{"type": "X"}]}, "None is no id"),
        ({"nodes": [{"id": 4}]}, "the file: node 4 has no type"),
        ({"nodes": [], "links": [[1, 2]]}, r"link \[1, 2\] is not \[id, origin"),
        ({"nodes": [], "links": [None]}, "a link: None is not an object"),
        ({"nodes": [{"id": 4, "type": "X", "mode": "on"}]}, "node 4: mode: 'on' is not a whole"),
        ({"nodes": [{"id": 4, "type": "X", "widgets_values": 3}]}, "widgets_values: 3 is not"),
        ({"nodes": [], "definitions": {"subgraphs": [{}]}}, "two subgraph definitions with the id"),
        ({"nodes": [{"id": 4, "type": "X"}, {"id": "4", "type": "Y"}]}, "two nodes with the id 4"),
    ],
)
def test_a_broken_file_says_what_is_wrong(broken: Any, said: str) -> None:
    with pytest.raises(WorkflowError, match=said):
        to_api(broken, SERVER)


@pytest.mark.parametrize("wrong", [None, [], "text", 3])
def test_what_is_no_object_is_an_error(wrong: Any) -> None:
    with pytest.raises(WorkflowError, match="is not an object"):
        to_api(wrong, SERVER)


def test_what_is_nested_without_end_is_an_error() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(WorkflowError, match="nested too deeply"):
        prompt(node(1, "Source", deep))
    with pytest.raises(WorkflowError, match="nested more than 100 deep"):
        prompt(node(1, "Encode", "{" * 100_000))


def test_a_thousand_reroutes_are_no_recursion() -> None:
    chain = [node(i, "Reroute", inputs={"": i}) for i in range(2, 3000)]
    wires = tuple((i, i - 1, 0, i, 0) for i in range(2, 3001))
    last = node(3000, "SaveImage", inputs={"images": 3000})
    converted = prompt(node(1, "Source"), *chain, last, wires=wires)
    assert converted["3000"]["inputs"]["images"] == ["1", 0]


def test_subgraphs_that_multiply_end_in_an_error() -> None:
    """Twenty definitions, each with two of the next, are a million nodes."""
    levels = [
        subgraph(f"level{i}", *(node(f"{i}-{k}", f"level{i + 1}") for k in range(2)))
        for i in range(30)
    ]
    last = subgraph("level30", node("leaf", "Source"))
    with pytest.raises(WorkflowError, match="more than"):
        prompt(node(1, "level0"), subgraphs=[*levels, last])


# --- whatever is wrong with a file, it is a WorkflowError ------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


PLACES = {name: list(places(case["workflow"])) for name, case in CASES.items()}


def mutated(document: Any, path: tuple[Any, ...], action: str, value: Any) -> None:
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    if action == "delete":
        del holder[path[-1]]
    elif action == "duplicate" and isinstance(holder, list):
        holder.append(copied(holder[path[-1]]))
    else:
        holder[path[-1]] = value


@st.composite
def mutants(draw: st.DrawFn) -> Any:
    name = draw(st.sampled_from(sorted(CASES)))
    document = copied(CASES[name]["workflow"])
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(PLACES[name]))
        action = draw(st.sampled_from(["delete", "duplicate", "set", "move"]))
        value = draw(st.sampled_from(WILD))
        if action == "move":  # a part from somewhere else
            value = _at(document, draw(st.sampled_from(PLACES[name])))
        try:
            mutated(document, path, action, copied(value))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return document


def _at(document: Any, path: tuple[Any, ...]) -> Any:
    try:
        for key in path:
            document = document[key]
    except (KeyError, IndexError, TypeError):
        return None
    return document


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=mutants(), unknown=st.sampled_from(["raise", "keep"]))
def test_a_mutated_template_converts_or_is_a_workflow_error(document: Any, unknown: Any) -> None:
    before = copied(document)
    try:
        converted = to_api(document, TEMPLATE_SERVER, unknown=unknown)
    except WorkflowError as error:
        assert error.message
        json.dumps(error.to_dict())
    else:
        json.dumps(converted)
    assert document == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
KEYS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("nodes", "links", "definitions", "extra", "state", "version", "last_node_id"), JSON
    ),
)


@settings(max_examples=150, deadline=None)
@given(document=JSON | KEYS)
def test_any_json_converts_or_is_a_workflow_error(document: Any) -> None:
    try:
        json.dumps(to_api(document, SERVER))
    except WorkflowError as error:
        assert error.message


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(sorted(CASES)))
def test_a_conversion_repeats(name: str) -> None:
    workflow = CASES[name]["workflow"]
    assert to_api(workflow, TEMPLATE_SERVER) == to_api(copied(workflow), TEMPLATE_SERVER)


def test_conversion_takes_milliseconds() -> None:
    started = time.perf_counter()
    for case in CASES.values():
        to_api(case["workflow"], TEMPLATE_SERVER)
    # 5 ms are meant; a slow machine with other things to do has ten times that.
    assert (time.perf_counter() - started) / len(CASES) < 0.05


# --- what only a browser can make ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "instead"),
    [
        ("Load3D", "image", "link an image"),
        ("RecordAudio", "audio", "Load Audio"),
        ("Painter", "mask", "link a mask"),
    ],
)
def test_an_empty_input_that_a_browser_fills_is_named(kind: str, name: str, instead: str) -> None:
    (problem,) = browser_only_inputs(prompt(node(4, kind, title="mine")), SERVER)
    assert (problem.node_id, problem.input, problem.title) == ("4", name, "mine")
    assert f"mine (node 4, {kind}): {name} is made by the browser" in str(problem)
    assert instead in str(problem)


def test_a_filled_input_is_no_problem() -> None:
    values = ("none", "upload3dmodel", "uploadExtraResources", "clear", "view.png")
    assert browser_only_inputs(prompt(node(4, "Load3D", *values)), SERVER) == []
    assert browser_only_inputs(prompt(node(4, "Source")), SERVER) == []


def test_an_empty_drawing_on_a_picture_is_no_problem() -> None:
    painter = node(4, "Painter", "", inputs={"image": 1})
    converted = prompt(node(1, "Source"), painter, wires=((1, 1, 0, 4, 0),))
    assert browser_only_inputs(converted, SERVER) == []
