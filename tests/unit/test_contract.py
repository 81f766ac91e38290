"""Two workflow files: what of the contract has changed, what that means for callers, and the graph."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import contract, parameters, wording
from runner.comparison import Comparison, compare
from runner.contract import Bump, Change
from runner.errors import InvalidParameters, WorkflowError

from workflows import document, parameter

WAN = json.loads(Path("workflows/wan-t2v/1.0.0.json").read_text("utf-8"))

WIDTH = ["width", "Pixels.", False, 64, 1920, 16]
PROMPT = ["prompt", "What is seen.", True, 1, 20]
PRESET = ["preset", "", False, "fast\nquality"]


def integer(*widgets: Any, value: Any = 640) -> dict[str, Any]:
    return parameter("Integer", 2, value, *(widgets or WIDTH))


def node(node_id: int, kind: str, title: str = "", **rest: Any) -> dict[str, Any]:
    said = {"title": title} if title else {}
    return {"id": node_id, "type": kind, "inputs": [], "outputs": [], **said, **rest}


def saving(*titles: str, kind: str = "SaveVideo", **rest: Any) -> list[dict[str, Any]]:
    return [node(90 + place, kind, title, **rest) for place, title in enumerate(titles)]


def outputs(*titles: str, **rest: Any) -> dict[str, Any]:
    """Save nodes, all of them declared in App view."""
    nodes = saving(*titles, **rest)
    return document(*nodes, linearData={"outputs": [n["id"] for n in nodes]})


def only(comparison: Comparison) -> Change:
    assert len(comparison.changes) == 1, comparison.changes
    return comparison.changes[0]


def edited(**widgets: Any) -> dict[str, Any]:
    """WIDTH with some of its widgets set anew."""
    names = parameters.WIDGETS["CallsheetInteger"]
    values = dict(zip(names, [640, *WIDTH, ""], strict=True)) | widgets
    return document(integer(*list(values.values())[1:], value=values["value"]))


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("widgets", "field", "bump"),
    [
        ({"max": 1280}, "maximum", Bump.MAJOR),
        ({"max": 2560}, "maximum", Bump.MINOR),
        ({"min": 128}, "minimum", Bump.MAJOR),
        ({"min": 16}, "minimum", Bump.MINOR),
        ({"step": 32}, "step", Bump.MAJOR),
        ({"step": 8}, "step", Bump.MINOR),
        ({"step": 1}, "step", Bump.MINOR),
        ({"required": True}, "required", Bump.MAJOR),
        ({"value": 1280}, "default", Bump.MINOR),
        ({"description": "Width."}, "description", Bump.PATCH),
    ],
)
def test_each_change_of_a_parameter_has_its_bump(
    widgets: dict[str, Any], field: str, bump: Bump
) -> None:
    change = only(compare(document(integer()), edited(**widgets)))
    assert (change.kind, change.name, change.field, change.bump) == (
        "changed",
        "width",
        field,
        bump,
    )
    assert bool(change.note) == (bump is Bump.MAJOR or field == "default")


@pytest.mark.parametrize(
    ("before", "after", "bump"),
    [
        ("", "640, 1280", Bump.MAJOR),
        ("640, 1280", "640", Bump.MAJOR),
        ("640", "640, 1280", Bump.MINOR),
        ("640, 1280", "1280, 640", Bump.PATCH),
        ("640, 1280", "", Bump.MINOR),
        ("640, 1281", "", Bump.MAJOR),
    ],
)
def test_a_list_of_numbers(before: str, after: str, bump: Bump) -> None:
    change = only(compare(edited(choices=before), edited(choices=after)))
    assert (change.field, change.bump) == ("choices", bump)


def test_a_lower_minimum_that_moves_the_step_breaks() -> None:
    found = compare(document(integer()), edited(min=56)).contract
    assert {(c.field, c.bump) for c in found} == {("minimum", Bump.MINOR), ("step", Bump.MAJOR)}


def test_a_null_that_is_no_longer_taken_breaks() -> None:
    found = compare(edited(value=0), document(integer())).contract
    assert {(c.field, c.bump) for c in found} == {("null", Bump.MAJOR), ("default", Bump.MINOR)}


@pytest.mark.parametrize(
    ("choices", "bump", "words"),
    [
        ("fast", Bump.MAJOR, "choices: - quality"),
        ("fast\nquality\ndraft", Bump.MINOR, "choices: + draft"),
        ("draft\nfast", Bump.MAJOR, "choices: - quality  + draft"),
        ("quality\nfast", Bump.PATCH, "choices: now in the order: quality, fast"),
    ],
)
def test_choices(choices: str, bump: Bump, words: str) -> None:
    before = document(parameter("Choice", 5, "fast", *PRESET))
    after = document(parameter("Choice", 5, "fast", *PRESET[:3], choices))
    change = only(compare(before, after))
    assert (change.bump, wording.said(change)) == (bump, words)


def test_parameters_that_come_and_go() -> None:
    prompt, required = parameter("Text", 1, "", *PROMPT), [*WIDTH[:2], True, *WIDTH[3:]]
    both, one = document(prompt, integer()), document(prompt)
    assert only(compare(one, both)).bump is Bump.MINOR
    assert only(compare(one, document(prompt, integer(*required)))).bump is Bump.MAJOR
    gone = only(compare(both, one))
    assert (gone.kind, gone.name, gone.bump) == ("removed", "width", Bump.MAJOR)


def test_a_renamed_parameter_is_one_change() -> None:
    change = only(compare(document(integer()), edited(name="breadth")))
    assert (change.kind, change.name, change.bump) == ("renamed", "breadth", Bump.MAJOR)
    assert wording.said(change) == "was width"


def test_another_type_breaks_and_its_links_stay_where_they_are() -> None:
    def wired(kind: str) -> dict[str, Any]:
        source = parameter(kind, 2, 640, *WIDTH) | {"outputs": [{"name": "value", "links": [1]}]}
        target = node(3, "Scale", inputs=[{"name": "width", "link": 1}])
        return document(source, target) | {"links": [[1, 2, 0, 3, 0, "INT"]]}

    found = compare(wired("Integer"), wired("Number"))
    assert [(c.field, c.bump) for c in found.contract if c.field != "label"] == [
        ("type", Bump.MAJOR)
    ]
    assert not found.graph


def test_a_seed_that_is_drawn_has_no_default() -> None:
    def seed(value: int, control: str) -> dict[str, Any]:
        return document(parameter("Seed", 7, value, control, "seed", "", False))

    assert compare(seed(1, "randomize"), seed(2, "randomize")).same
    fixed = {c.field: c for c in compare(seed(1, "randomize"), seed(1, "fixed")).contract}
    assert (fixed["default"].before, fixed["null"].bump) == ("drawn", Bump.MAJOR)
    assert only(compare(seed(1, "fixed"), seed(2, "fixed"))).bump is Bump.MINOR


def test_what_a_required_parameter_was_tried_with_is_no_change() -> None:
    texts = [document(parameter("Text", 1, text, *PROMPT)) for text in ("a boat", "a kite")]
    assert compare(*texts).same


def test_the_order_of_the_form() -> None:
    nodes = [parameter("Text", 1, "", *PROMPT), integer()]
    change = only(compare(document(*nodes), document(*reversed(nodes))))
    assert (change.kind, change.bump) == ("reordered", Bump.PATCH)


NUMBERS = st.tuples(st.integers(-20, 20), st.integers(0, 40), st.integers(0, 6)).map(
    lambda t: [t[0], t[0] + t[1], t[2]]
)
COMMON = st.tuples(st.just("x"), st.just(""), st.booleans()).map(list)
KINDS = st.one_of(
    st.tuples(st.sampled_from(["Integer", "Number"]), st.integers(-25, 25), COMMON, NUMBERS),
    st.tuples(st.just("Text"), st.sampled_from(["", "a"]), COMMON,
              st.tuples(st.integers(0, 2), st.integers(0, 3)).map(list)),
    st.tuples(st.just("Choice"), st.just("a"), COMMON,
              st.lists(st.sampled_from("abc"), min_size=1, unique=True).map(lambda c: ["\n".join(c)])),
    st.tuples(st.just("Boolean"), st.booleans(), COMMON, st.just([])),
    st.tuples(st.just("Seed"), st.integers(0, 9), COMMON, st.sampled_from(["randomize", "fixed"])),
    st.none(),
)  # fmt: skip
REQUESTS = [
    {},
    *({"x": value} for value in [None, True, "", "a", "b", "c", "aa", "aaa", *range(-26, 62), 0.5]),
]


def contract_of(drawn: Any) -> tuple[dict[str, Any], tuple[parameters.Parameter, ...]]:
    if drawn is None:
        return document(), ()
    kind, value, common, rest = drawn
    widgets = [rest, *common] if kind == "Seed" else [*common, *rest]
    found = document(parameter(kind, 1, value, *widgets))
    return found, parameters.read(found)


def takes(found: tuple[parameters.Parameter, ...], request: dict[str, Any]) -> bool:
    try:
        parameters.validate(found, request)
    except InvalidParameters:
        return False
    return True


@settings(deadline=None)  # the machine may be busy
@given(KINDS, KINDS)
def test_what_refuses_a_request_that_was_taken_before_is_major(old: Any, new: Any) -> None:
    (before, old_parameters), (after, new_parameters) = contract_of(old), contract_of(new)
    broken = [r for r in REQUESTS if takes(old_parameters, r) and not takes(new_parameters, r)]
    if broken:
        assert compare(before, after).bump is Bump.MAJOR, broken[0]


@settings(deadline=None)  # the machine may be busy
@given(KINDS, KINDS)
def test_what_takes_a_request_that_was_refused_before_is_at_least_minor(old: Any, new: Any) -> None:
    (before, old_parameters), (after, new_parameters) = contract_of(old), contract_of(new)
    if any(takes(new_parameters, r) and not takes(old_parameters, r) for r in REQUESTS):
        assert compare(before, after).bump >= Bump.MINOR


# --- outputs and models --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "kind", "bump"),
    [
        (["video"], ["video", "frame"], "added", Bump.MINOR),
        (["video", "frame"], ["video"], "removed", Bump.MAJOR),
        (["video"], ["film"], "renamed", Bump.MAJOR),
    ],
)
def test_outputs(before: list[str], after: list[str], kind: str, bump: Bump) -> None:
    found = compare(outputs(*before), outputs(*after))
    change = found.contract[0]
    assert (len(found.contract), change.kind, change.subject, change.bump) == (
        1, kind, "output", bump,
    )  # fmt: skip


def test_a_new_first_output_breaks_who_takes_the_first() -> None:
    nodes = saving("video", "frame")
    before = document(*nodes, linearData={"outputs": [90]})
    after = document(*nodes, linearData={"outputs": [91, 90]})
    assert {c.kind for c in compare(before, after).contract} == {"added", "reordered"}
    assert compare(before, after).bump is Bump.MAJOR


def test_a_muted_output_is_gone_and_another_save_node_breaks() -> None:
    assert compare(outputs("video"), outputs("video", mode=2)).contract[0].kind == "removed"
    change = compare(outputs("video"), outputs("video", kind="SaveWEBM")).contract[0]
    assert (change.field, change.bump) == ("saved by", Bump.MAJOR)


def test_models_are_told_but_break_nobody() -> None:
    def loading(name: str, url: str) -> dict[str, Any]:
        model = {"name": name, "directory": "vae", "url": url}
        return document(node(1, "VAELoader", properties={"models": [model]}))

    found = compare(loading("a.safetensors", "u"), loading("b.safetensors", "u"))
    assert {(c.kind, c.name, c.bump) for c in found.contract} == {
        ("removed", "vae/a.safetensors", Bump.PATCH), ("added", "vae/b.safetensors", Bump.PATCH),
    }  # fmt: skip
    assert only(compare(loading("a", "u"), loading("a", "v"))).field == "url"


def test_identity_is_told_apart() -> None:
    before = document(info={"name": "a", "version": "1.0.0", "description": "x"})
    after = document(info={"name": "b", "version": "1.1.0", "description": "x"})
    found = compare(before, after)
    assert ([c.field for c in found.identity], found.bump) == (["name", "version"], Bump.NONE)
    assert not found.same


# --- the graph -----------------------------------------------------------------------------------


def graph_of(change: Any) -> Comparison:
    """wan-t2v against a copy that `change` has edited, given its nodes by title."""
    after = copy.deepcopy(WAN)
    change(after, {n.get("title"): n for n in after["nodes"]})
    return compare(WAN, after)


def link(after: dict[str, Any], link_id: int) -> list[Any]:
    return next(item for item in after["links"] if item[0] == link_id)


def test_a_moved_link_is_said_by_titles() -> None:
    def change(after: dict[str, Any], nodes: dict[str, Any]) -> None:
        link(after, nodes["Sample, high noise"]["inputs"][0]["link"])[1] = nodes[
            "Shift, low noise"
        ]["id"]

    found = only(graph_of(change))
    assert (found.name, wording.said(found)) == (
        "Sample, high noise", "model now comes from Shift, low noise, not from Shift, high noise",
    )  # fmt: skip


def test_a_removed_link() -> None:
    def change(after: dict[str, Any], nodes: dict[str, Any]) -> None:
        nodes["Make video"]["inputs"][2]["link"] = None

    found = graph_of(change).graph
    assert [wording.said(c) for c in found] == ["fps no longer comes from FPS"]


@pytest.mark.parametrize(
    ("title", "place", "value", "words"),
    [
        ("Sample, high noise", 5, "dpmpp_2m", "sampler_name euler → dpmpp_2m"),
        ("Sample, high noise", 2, "randomize", "control_after_generate fixed → randomize"),
        ("Encode prompt", 0, "stale", None),  # linked: what the widget holds has no effect
        ("Sample, high noise", 4, 3.5000, None),
    ],
)
def test_widgets_have_names(title: str, place: int, value: Any, words: str | None) -> None:
    def change(_: dict[str, Any], nodes: dict[str, Any]) -> None:
        nodes[title]["widgets_values"][place] = value

    assert [wording.said(c) for c in graph_of(change).changes] == ([words] if words else [])


def test_a_text_of_many_lines_shows_those_that_differ() -> None:
    def change(_: dict[str, Any], nodes: dict[str, Any]) -> None:
        values = nodes["Preset and sampling plan"]["widgets_values"]
        values[8] = values[8].replace('"steps": 20', '"steps": 24')

    found = only(graph_of(change))
    assert wording.text_diff(found) == ['-  "steps": 20,', '+  "steps": 24,']


def test_a_long_text_shows_where_it_differs() -> None:
    before, after = (
        "a boat on the sea " * 9,
        "a boat on the sea " * 5 + "at night " + "a boat on the sea " * 4,
    )
    change = Change("changed", "node", "Encode", Bump.PATCH, "text", before, after)
    assert len(wording.said(change)) < 120
    assert "at night" in wording.said(change)


@pytest.mark.parametrize(("mode", "words"), [(2, "muted"), (4, "bypassed")])
def test_muted_and_bypassed(mode: int, words: str) -> None:
    def change(_: dict[str, Any], nodes: dict[str, Any]) -> None:
        nodes["4-step LoRA, low noise"]["mode"] = mode

    assert wording.said(only(graph_of(change))) == words


def test_a_node_with_another_title_or_type_is_the_same_node() -> None:
    def retitled(_: dict[str, Any], nodes: dict[str, Any]) -> None:
        nodes["Decode"]["title"] = "Frames"

    def retyped(_: dict[str, Any], nodes: dict[str, Any]) -> None:
        nodes["Decode"] |= {"type": "VAEDecodeTiled"}

    assert wording.said(only(graph_of(retitled))) == "was Decode"
    assert wording.said(only(graph_of(retyped))) == "type VAEDecode → VAEDecodeTiled"


def test_a_reroute_is_only_a_bend_in_a_link() -> None:
    def change(after: dict[str, Any], nodes: dict[str, Any]) -> None:
        bent = link(after, nodes["Decode"]["inputs"][0]["link"])
        after["nodes"].append(
            node(99, "Reroute", inputs=[{"name": "", "link": 98}], outputs=[{"name": ""}])
        )
        after["links"].append([98, bent[1], bent[2], 99, 0, "*"])
        bent[1], bent[2] = 99, 0

    assert graph_of(change).same


def test_an_added_node_tells_its_values_and_links_and_a_removed_one_is_one_line() -> None:
    new = node(2, "Scale", "Upscale", widgets_values=["lanczos", 2], inputs=[
        {"name": "image", "link": 1}, {"name": "method", "widget": {"name": "method"}},
        {"name": "by", "widget": {"name": "by"}},
    ])  # fmt: skip
    source = node(1, "Load", "Picture", outputs=[{"name": "IMAGE"}, {"name": "MASK"}])
    small, large = document(source), document(source, new) | {"links": [[1, 1, 1, 2, 0, "IMAGE"]]}
    assert [(c.name, wording.said(c)) for c in compare(small, large).graph] == [
        ("Upscale", "Scale: method lanczos, by 2"), ("Upscale", "image comes from Picture.MASK"),
    ]  # fmt: skip
    assert only(compare(large, small)).kind == "removed"


def subgraph(graph_id: str, steps: int, inputs: tuple[str, ...] = ("model",)) -> dict[str, Any]:
    inner = node(5, "Sampler", "Sample", widgets_values=[steps],
                 inputs=[{"name": "model", "link": 1}, {"name": "steps", "widget": {"name": "steps"}}],
                 outputs=[{"name": "LATENT", "links": [2]}])  # fmt: skip
    slot = inputs.index("model")
    return {
        "id": graph_id, "name": "Two stages", "nodes": [inner],
        "inputs": [{"name": name, "linkIds": [1] if name == "model" else []} for name in inputs],
        "outputs": [{"name": "LATENT", "linkIds": [2]}],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": slot, "target_id": 5, "target_slot": 0},
            {"id": 2, "origin_id": 5, "origin_slot": 0, "target_id": -20, "target_slot": 0},
        ],
    }  # fmt: skip


def holding(definition: dict[str, Any]) -> dict[str, Any]:
    return document(node(1, definition["id"])) | {"definitions": {"subgraphs": [definition]}}


def test_subgraphs_are_compared_inside_even_under_another_id() -> None:
    before = holding(subgraph("a", 20))
    change = only(compare(before, holding(subgraph("b", 24))))
    assert (change.where, change.name, wording.said(change)) == (
        "Two stages", "Sample", "steps 20 → 24",
    )  # fmt: skip
    grown = only(compare(before, holding(subgraph("a", 20, ("clip", "model")))))
    assert (grown.name, wording.said(grown)) == ("inputs", "inputs: + clip")
    kinds = {(c.kind, c.subject) for c in compare(before, document()).graph}
    assert kinds == {("removed", "node"), ("removed", "subgraph")}


# --- what holds for all --------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.randoms(use_true_random=False))
def test_layout_ids_and_links_numbers_do_not_count(random: Any) -> None:
    after = copy.deepcopy(WAN)
    numbers = [n["id"] for n in after["nodes"]]  # dealt out anew: another node has each
    random.shuffle(numbers)
    new_id = {n["id"]: number for n, number in zip(after["nodes"], numbers, strict=True)}
    for item in after["nodes"]:
        item |= {"id": new_id[item["id"]], "pos": [random.random(), 0], "size": [1, 1], "color": "#000",
                 "order": random.randrange(99), "flags": {"collapsed": True}}  # fmt: skip
    for item in after["links"]:
        item[1], item[3] = new_id[item[1]], new_id[item[3]]
    app = after["extra"]["linearData"]
    app["inputs"] = [[new_id[entry[0]], *entry[1:]] for entry in app["inputs"]]
    app["outputs"] = [new_id[node_id] for node_id in app["outputs"]]
    random.shuffle(after["nodes"])
    after |= {"groups": [], "revision": 7, "last_node_id": 999, "config": {}}
    after["extra"]["ds"] = {"scale": random.random()}
    assert compare(WAN, after).same, compare(WAN, after).changes


@settings(deadline=None)
@given(st.sets(st.integers(0, 5)), st.sets(st.integers(0, 5)))
def test_more_changes_never_raise_less(few: set[int], more: set[int]) -> None:
    edits: list[dict[str, Any]] = [{"max": 1280}, {"min": 0}, {"step": 8}, {"required": True},
                                   {"value": 800}, {"description": "Other."}]  # fmt: skip

    def level(chosen: set[int]) -> Bump:
        widgets = {name: value for place in chosen for name, value in edits[place].items()}
        return compare(document(integer()), edited(**widgets)).bump

    # Except that a required parameter has no default to change.
    assert level(few | more) >= level(few)


KEYS = st.sampled_from(["nodes", "links", "extra", "widgets_values", "inputs", "outputs", "title",
                        "type", "id", "mode", "properties", "definitions", "link", "widget"])  # fmt: skip
JUNK = st.sampled_from([None, True, -1, 1e300, float("nan"), "", "x", [], [[]], {}, {"id": []}])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(KEYS, st.integers(0, 200), JUNK), min_size=1, max_size=4))
def test_a_broken_file_is_a_workflow_error_and_nothing_else(edits: list[Any]) -> None:
    broken = copy.deepcopy(WAN)
    for key, place, junk in edits:
        holders = [item for item in _objects(broken) if key in item]
        if holders:
            holders[place % len(holders)][key] = junk
    for pair in ((WAN, broken), (broken, WAN)):
        try:
            found = compare(*pair)
        except WorkflowError:
            continue
        json.dumps(found.to_dict())
        assert all(isinstance(wording.said(change), str) for change in found.changes)
    if not _refused(broken):
        assert compare(broken, json.loads(json.dumps(broken))).same


def _refused(source: dict[str, Any]) -> bool:
    try:
        contract.read(source)
        compare(source, source)
    except WorkflowError:
        return True
    return False


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(found for item in value.values() for found in _objects(item))]
    return [found for item in value for found in _objects(item)] if isinstance(value, list) else []


def test_a_limit_that_is_no_number_is_named() -> None:
    with pytest.raises(WorkflowError, match=r"after: Integer \(node 2\): max '9' is not a number"):
        compare(document(integer()), edited(max="9"))
