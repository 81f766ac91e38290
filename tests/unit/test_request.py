"""Requests to workflows without parameter nodes: App-view inputs, and any single widget."""

import copy
import json
from typing import Any

import pytest

from runner import parameters
from runner.errors import InvalidParameters, WorkflowError
from runner.graph import to_api
from runner.job import Job
from runner.request import Ready, check, complete
from runner.workflow import Workflow

from workflows import document, parameter

INFO: dict[str, Any] = {
    "Sampler": {
        "input": {
            "required": {
                "text": ["STRING", {"multiline": True, "tooltip": "What is seen."}],
                "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}],
                "steps": ["INT", {"default": 20, "min": 1, "max": 100}],
                "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 30.0, "step": 0.5}],
                "sampler_name": [["euler", "heun"]],
                "tiled": ["BOOLEAN", {"default": False}],
            }
        },
        "output": ["LATENT"],
    },
    "CallsheetText": {"input": {"required": {"value": ["STRING", {}], **{
        name: [kind, {"socketless": True}] for name, kind in (
            ("name", "STRING"), ("description", "STRING"), ("required", "BOOLEAN"),
            ("min_length", "INT"), ("max_length", "INT"))}}}, "output": ["STRING", "BOOLEAN"]},
    "LoadImage": {"input": {"required": {"image": [["a.png"], {"image_upload": True}]}},
                  "output": ["IMAGE"]},
    "LoadVideo": {"input": {"required": {"file": ["COMBO", {"options": [], "video_upload": True}]}},
                  "output": ["VIDEO"]},
    "LoadAudio": {"input": {"required": {"audio": ["COMBO", {"options": [], "audio_upload": True}]}},
                  "output": ["AUDIO"]},
    "LoadMesh": {"input": {"required": {"model": ["COMBO", {"options": [], "mesh_upload": True}]}},
                 "output": ["MESH"]},
    "Save": {"input": {"required": {"images": ["LATENT", {}], "filename_prefix": ["STRING", {}]}},
             "output": [], "output_node": True},
}  # fmt: skip
SAMPLER = {
    "id": 5,
    "type": "Sampler",
    "title": "Sample",
    "inputs": [{"name": "text", "type": "STRING", "widget": {"name": "text"}, "label": "My Prompt!", "link": None}],
    "outputs": [{"name": "LATENT", "type": "LATENT", "links": [1]}],
    "widgets_values": ["a boat", 7, "randomize", 20, 8.0, "euler", False],
}  # fmt: skip
SAVE = {
    "id": 6,
    "type": "Save",
    "title": "Final",
    "inputs": [{"name": "images", "type": "LATENT", "link": 1}],
    "outputs": [],
    "widgets_values": ["out"],
}


def stranger(inputs: list[Any]) -> Workflow:
    source = document(copy.deepcopy(SAMPLER), SAVE, linearData={"inputs": inputs, "outputs": [6]})
    source["links"] = [[1, 5, 0, 6, 0, "LATENT"]]
    return Workflow(source, None, "stranger", "0.0.0")


APP = [[5, "text"], ["5", "steps"], ["8e9a3f00-1111-4222-8333-444455556666:5:sampler_name"],
       [5, "seed"], [5, "cfg"], [5, "gone"], [99, "text"]]  # fmt: skip


def request(workflow: Workflow, **params: Any) -> Ready:
    return complete(check(Job("j", "w", params), workflow), INFO)


def problems(workflow: Workflow, params: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidParameters) as caught:
        complete(check(Job("j", "w", params), workflow), INFO)
    return {p.parameter: p.message for p in caught.value.problems}


def prompt_inputs(ready: Ready) -> dict[str, Any]:
    return to_api(ready.document, INFO)["5"]["inputs"]


def test_app_view_inputs_are_the_parameters_under_their_labels() -> None:
    ready = request(stranger(APP), my_prompt="a kite", steps=4, sampler_name="heun", seed=3)
    assert prompt_inputs(ready) == {
        "text": "a kite", "seed": 3, "steps": 4, "cfg": 8.0, "sampler_name": "heun", "tiled": False,
    }  # fmt: skip
    assert ready.seeds == ["seed"]


def test_what_is_left_out_keeps_its_value_but_a_seed_is_drawn() -> None:
    first, second = request(stranger(APP)), request(stranger(APP))
    assert prompt_inputs(first)["steps"] == 20
    assert prompt_inputs(first)["seed"] != prompt_inputs(second)["seed"]


def test_its_problems_are_reported_at_once_with_the_nodes_own_limits() -> None:
    wrong = {"steps": 0, "cfg": 31, "sampler_name": "huen", "promt": "x", "Sample.stepz": 3}
    assert problems(stranger(APP), wrong) == {
        "steps": "0 is not between 1 and 100",
        "cfg": "31 is not between 0 and 30",
        "sampler_name": "'huen' is not one of euler, heun; did you mean heun?",
        "promt": "is no parameter of this workflow; did you mean my_prompt?",
        "Sample.stepz": "there is no such widget, or a link feeds it; did you mean Sample.steps?",
    }


def test_texts_of_the_command_line_are_read_as_their_types() -> None:
    ready = request(stranger(APP), steps="12", cfg="2.5")
    assert (prompt_inputs(ready)["steps"], prompt_inputs(ready)["cfg"]) == (12, 2.5)


@pytest.mark.parametrize("name", ["Sample.steps", "5.steps"])
def test_any_widget_can_be_set_by_title_or_id(name: str) -> None:
    ready = request(stranger([]), **{name: 9, "5.tiled": "yes"})
    assert prompt_inputs(ready)["steps"] == 9
    assert prompt_inputs(ready)["tiled"] is True
    assert ready.values[name] == 9


def test_a_title_that_two_nodes_share_asks_for_an_id() -> None:
    workflow = stranger([])
    workflow.document["nodes"].append({**copy.deepcopy(SAMPLER), "id": 8, "outputs": []})
    assert problems(workflow, {"Sample.steps": 4}) == {
        "Sample.steps": "2 nodes have this title; write 5.steps, 8.steps"
    }


def shared(uses: int) -> Workflow:
    """Sampler 21 in a subgraph that nodes 1, 2, … use; each use has an output of its own."""
    inner = {
        "id": "aaaaaaaa-1111-4222-8333-444455556666", "name": "part", "inputs": [],
        "outputs": [{"id": "o", "name": "LATENT", "type": "LATENT", "linkIds": [9]}],
        "nodes": [{**copy.deepcopy(SAMPLER), "id": 21, "outputs": [
            {"name": "LATENT", "type": "LATENT", "links": [9]}]}],
        "links": [{"id": 9, "origin_id": 21, "origin_slot": 0, "target_id": -20, "target_slot": 0,
                   "type": "LATENT"}],
        "inputNode": {"id": -10}, "outputNode": {"id": -20},
    }  # fmt: skip
    found: list[dict[str, Any]] = []
    for n in range(1, uses + 1):
        out = [{"name": "LATENT", "type": "LATENT", "links": [n]}]
        found += [
            {"id": n, "type": inner["id"], "inputs": [], "outputs": out, "widgets_values": []},
            {**copy.deepcopy(SAVE), "id": 60 + n,
             "inputs": [{"name": "images", "type": "LATENT", "link": n}]},
        ]  # fmt: skip
    source = document(*found, linearData={"inputs": [], "outputs": [61]})
    source["links"] = [[n, n, 0, 60 + n, 0, "LATENT"] for n in range(1, uses + 1)]
    return Workflow({**source, "definitions": {"subgraphs": [inner]}}, None, "stranger", "0.0.0")


def steps_of(ready: Ready) -> dict[str, Any]:
    prompt = to_api(ready.document, INFO)
    return {i: node["inputs"]["steps"] for i, node in prompt.items() if "steps" in node["inputs"]}


def test_a_widget_of_a_shared_subgraph_is_not_set_for_one_use_alone() -> None:
    assert steps_of(request(shared(1), **{"1:21.steps": 9})) == {"1:21": 9}
    assert problems(shared(3), {"2:21.steps": 9}) == {
        "2:21.steps": "its subgraph is used again: 1:21, 3:21 would change, too; write Sample.steps "
        "to set all, or make it an input of the subgraph"
    }
    everywhere = steps_of(request(shared(3), **{"Sample.steps": 9}))
    assert everywhere == {"1:21": 9, "2:21": 9, "3:21": 9}


MEDIA = [("LoadImage", "image", "image"), ("LoadVideo", "file", "video"),
         ("LoadAudio", "audio", "audio"), ("LoadMesh", "model", "text")]  # fmt: skip


@pytest.mark.parametrize(("node", "widget", "kind"), MEDIA)
@pytest.mark.parametrize("by_title", [True, False])
def test_a_widget_that_uploads_takes_a_file(
    node: str, widget: str, kind: str, by_title: bool
) -> None:
    loader = {"id": 7, "type": node, "title": "Load", "inputs": [], "outputs": [],
              "widgets_values": ["a.png"]}  # fmt: skip
    linear = {"inputs": [] if by_title else [[7, widget]], "outputs": []}
    workflow = Workflow(document(loader, linearData=linear), None, "stranger", "0.0.0")
    name = f"Load.{widget}" if by_title else widget
    ready = request(workflow, **{name: "https://example.test/a?token=1"})
    assert [(p.name, p.kind) for p in ready.media] == [(name, kind)] * (kind != "text")
    assert ready.values[name] == "https://example.test/a?token=1"
    if kind != "text":
        filled = ready.with_files({name: "callsheet/1/0.png"})
        assert filled.document["nodes"][0]["widgets_values"][0] == "callsheet/1/0.png"
        assert filled.values[name] == "callsheet/1/0.png"
        assert problems(workflow, {name: ""}) == {name: "is empty; a URL is needed"}
    assert request(workflow).media == []


def test_what_is_empty_in_the_file_and_not_given_stays_empty() -> None:
    workflow = stranger(APP)
    workflow.document["nodes"][0]["widgets_values"][0] = ""
    assert prompt_inputs(request(workflow))["text"] == ""
    assert prompt_inputs(request(workflow, my_prompt=None))["text"] == ""


def test_a_single_widget_of_a_workflow_with_parameters() -> None:
    prompt = parameter("Text", 1, "a", "prompt", "", True, 0, 0)
    workflow = Workflow(document(prompt, copy.deepcopy(SAMPLER)), None, "w", "1.0.0")
    ready = request(workflow, prompt="b", **{"Sample.cfg": 3})
    assert (ready.values["prompt"], ready.values["Sample.cfg"]) == ("b", 3)
    assert ready.document["nodes"][1]["widgets_values"][4] == 3


def test_a_parameter_is_not_set_behind_its_own_back() -> None:
    prompt = parameter("Text", 1, "a", "prompt", "", True, 0, 0, title="Words")
    workflow = Workflow(document(prompt), None, "w", "1.0.0")
    assert problems(workflow, {"prompt": "b", "Words.value": "c"}) == {
        "Words.value": "is the parameter prompt: give that"
    }


def test_the_original_is_not_touched() -> None:
    workflow = stranger(APP)
    before = json.dumps(workflow.document)
    request(workflow, my_prompt="other")
    assert json.dumps(workflow.document) == before


def test_an_api_file_runs_by_its_widgets_and_its_parameter_nodes() -> None:
    api = {
        "1": {"class_type": "CallsheetText", "_meta": {"title": "Prompt"}, "inputs": {
            "value": "a", "name": "prompt", "description": "", "required": True,
            "min_length": 0, "max_length": 9}},
        "5": {"class_type": "Sampler", "_meta": {"title": "Sample"}, "inputs": {
            "text": ["1", 0], "seed": 1, "steps": 4, "cfg": 1.0, "sampler_name": "euler",
            "tiled": False}},
    }  # fmt: skip
    workflow = Workflow(api, None, "api", "0.0.0")
    assert [p.name for p in parameters.read(api)] == ["prompt"]
    ready = request(workflow, prompt="kite", **{"Sample.steps": 8})
    assert ready.document["1"]["inputs"]["value"] == "kite"
    assert ready.document["5"]["inputs"]["steps"] == 8
    assert problems(workflow, {"prompt": "far too long"}) == {
        "prompt": "12 characters; at most 9 are taken"
    }


DRAWS = {**INFO, "Sampler": {**INFO["Sampler"], "input": {"required": {
    **INFO["Sampler"]["input"]["required"], "text": ["STRING", {"dynamicPrompts": True}]}}}}  # fmt: skip


@pytest.mark.parametrize("name", ["my_prompt", "Sample.text", "5.text"])
def test_what_a_caller_writes_is_not_drawn_from(name: str) -> None:
    text = r"{a|b} https://x.org // no comment \{c\}"
    workflow = stranger(APP if name == "my_prompt" else [])
    ready = complete(check(Job("j", "w", {name: text}), workflow), DRAWS)
    assert to_api(ready.document, DRAWS, literal=ready.literal)["5"]["inputs"]["text"] == text
    workflow.document["nodes"][0]["widgets_values"][0] = "{a|a} // aside"
    own = complete(check(Job("j", "w", {}), workflow), DRAWS)
    assert to_api(own.document, DRAWS, literal=own.literal)["5"]["inputs"]["text"] == "a "


def test_so_it_is_inside_a_subgraph() -> None:
    inner = {"id": "inner", "name": "inner", "nodes": [copy.deepcopy(SAMPLER)], "links": [],
             "inputs": [], "outputs": []}  # fmt: skip
    host = {"id": 9, "type": "inner", "title": "Host", "inputs": [], "outputs": []}
    source = {**document(host), "definitions": {"subgraphs": [inner]}}
    job = Job("j", "w", {"9:5.text": "{a|b}"})
    ready = complete(check(job, Workflow(source, None, "w", "1.0.0")), DRAWS)
    sent = to_api(ready.document, DRAWS, literal=ready.literal)
    assert sent["9:5"]["inputs"]["text"] == "{a|b}"


def test_a_file_s_own_value_outside_its_limits_is_not_rendered() -> None:
    found = Workflow(
        document(parameter("Integer", 1, 5000, "size", "", False, 1, 10, 1)), None, "x", ""
    )
    with pytest.raises(WorkflowError, match="size: its default 5000 is not between 1 and 10"):
        request(found)
    assert request(found, size=7).values == {"size": 7}, "a caller's own value stands"
