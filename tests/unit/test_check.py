"""`callsheet check`: each thing that is wrong is found, where it is, with a fix."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.ops import lora
from runner import models
from runner.check import Finding, check
from runner.errors import WorkflowError

from workflows import document, parameter

MODEL = {"name": "big.safetensors", "url": "https://example.test/big", "directory": "vae"}
INFO: dict[str, Any] = {
    "Load": {"input": {"required": {"vae_name": [["other.safetensors"]]}}, "output": ["VAE"]},
    "LoadImage": {
        "input": {"required": {"image": [["a.png"], {"image_upload": True}]}},
        "output": ["IMAGE", "MASK"],
    },
    "Sampler": {
        "input": {
            "required": {
                "steps": ["INT", {"default": 20, "min": 1, "max": 100}],
                "sampler_name": [["euler", "heun"]],
            },
            "optional": {"image": ["IMAGE"]},
        },
        "output": ["LATENT"],
    },
    "Save": {
        "input": {"required": {"latent": ["LATENT", {}], "vae": ["VAE", {}]}},
        "output": [],
        "output_node": True,
    },
    "CallsheetInteger": {
        "input": {"required": {
            "value": ["INT", {}],
            **{n: [t, {"socketless": True}] for n, t in (
                ("name", "STRING"), ("description", "STRING"), ("required", "BOOLEAN"),
                ("min", "INT"), ("max", "INT"), ("step", "INT"))},
        }},
        "output": ["INT,FLOAT", "BOOLEAN"],
    },
    "CallsheetChoice": {
        "input": {"required": {
            "value": ["COMBO", {"options": ["fast"]}],
            **{n: [t, {"socketless": True}] for n, t in (
                ("name", "STRING"), ("description", "STRING"), ("required", "BOOLEAN"),
                ("choices", "STRING"))},
        }},
        "output": ["COMBO,STRING", "INT"],
    },
}  # fmt: skip


def slot(name: str, kind: str, link: int | None, *, widget: bool = False) -> dict[str, Any]:
    more = {"widget": {"name": name}} if widget else {}
    return {"name": name, "type": kind, "link": link, **more}


def workflow(**changes: Any) -> dict[str, Any]:
    """Load and Sampler into Save; nothing is wrong with it but the missing model."""
    load = {"id": 1, "type": "Load", "title": "VAE", "inputs": [],
            "outputs": [{"name": "VAE", "type": "VAE", "links": [1]}],
            "properties": {"models": [MODEL]}, "widgets_values": ["other.safetensors"]}  # fmt: skip
    sampler = {"id": 2, "type": "Sampler", "title": "Sample",
               "inputs": [slot("image", "IMAGE", None), slot("steps", "INT", None, widget=True),
                          slot("sampler_name", "COMBO", None, widget=True)],
               "outputs": [{"name": "LATENT", "type": "LATENT", "links": [2]}],
               "widgets_values": [20, "euler"]}  # fmt: skip
    save = {"id": 3, "type": "Save", "title": "video",
            "inputs": [slot("latent", "LATENT", 2), slot("vae", "VAE", 1)], "outputs": []}  # fmt: skip
    source = document(load, sampler, save, linearData={"inputs": [], "outputs": [3]})
    source["links"] = [[1, 1, 0, 3, 1, "VAE"], [2, 2, 0, 3, 0, "LATENT"]]
    source["extra"] |= changes
    return copy.deepcopy(source)


def only(source: dict[str, Any], kind: str) -> Finding:
    found = check(source, INFO)
    assert [f.kind for f in found] == [kind], found
    return found[0]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert check(workflow(), INFO) == ()


def test_a_missing_model_is_named_with_folder_and_source() -> None:
    source = workflow()
    source["nodes"][0]["widgets_values"] = ["big.safetensors"]
    found = only(source, "missing_model")
    assert found.message == "big.safetensors is not there"
    assert found.fix == "put it into models/vae/ from https://example.test/big"


def test_a_value_that_is_not_on_offer_gets_the_nearest() -> None:
    source = workflow()
    source["nodes"][1]["widgets_values"] = [20, "huen"]
    found = only(source, "not_offered")
    assert (found.node, found.node_id, found.fix) == ("Sample", "2", "did you mean heun?")


def test_a_value_out_of_range() -> None:
    source = workflow()
    source["nodes"][1]["widgets_values"] = [0, "euler"]
    assert "between 1 and 100" in only(source, "out_of_range").message


def test_an_unknown_node_is_named_with_its_pack() -> None:
    source = workflow()
    source["nodes"].append({"id": 9, "type": "Magic", "inputs": [], "outputs": [],
                            "properties": {"cnr_id": "magic-pack"}})  # fmt: skip
    found = only(source, "unknown_node")
    assert found.message == "ComfyUI has no node Magic"
    assert found.fix == "install the node pack magic-pack"


def test_an_unknown_node_that_gives_to_a_known_one() -> None:
    source = workflow()
    source["nodes"][0]["type"] = "Magic"
    assert "ComfyUI has no node Magic" in [found.message for found in check(source, INFO)]


def test_a_required_input_without_a_link() -> None:
    source = workflow()
    source["nodes"][2]["inputs"][1]["link"] = None
    assert only(source, "not_linked").message == "vae is not linked"


def test_a_link_of_the_wrong_type() -> None:
    source = workflow()
    source["links"][0] = [1, 2, 0, 3, 1, "LATENT"]
    found = only(source, "wrong_link")
    assert found.message == "vae takes VAE, but Sample gives LATENT"


def test_a_missing_input_file() -> None:
    source = workflow()
    image = {"id": 4, "type": "LoadImage", "title": "Photo", "inputs": [],
             "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [3]}],
             "widgets_values": ["b.png", "image"]}  # fmt: skip
    source["nodes"].append(image)
    source["nodes"][1]["inputs"][0]["link"] = 3
    source["links"].append([3, 4, 0, 2, 0, "IMAGE"])
    assert "no input file b.png" in only(source, "missing_input").message


@pytest.mark.parametrize(
    ("node", "place", "kind", "message"),
    [
        (parameter("Integer", 8, 20, "steps", "", False, 1, 200, 1, title="Steps"), 1, "limits",
         "allows 1 to 200, but Sample.steps takes 1 and 100"),
        (parameter("Choice", 8, "euler", "sampler", "", False, "euler\nmagic", title="Sampler"), 2,
         "choice_not_offered", "offers magic, which Sample.sampler_name does not take"),
    ],
)  # fmt: skip
def test_a_parameter_must_not_allow_more_than_what_it_feeds(
    node: dict[str, Any], place: int, kind: str, message: str
) -> None:
    source = workflow()
    node = {**node, "outputs": [{"name": "value", "type": "*", "links": [5]}]}
    source["nodes"].append(node)
    source["nodes"][1]["inputs"][place]["link"] = 5
    source["links"].append([5, 8, 0, 2, place, "*"])
    found = only(source, kind)
    assert (found.node_id, found.message) == ("8", message)


def test_outputs_that_are_none() -> None:
    assert only(workflow(linearData={"inputs": [], "outputs": [77]}), "output").node_id == "77"
    assert "saves nothing" in only(workflow(linearData={"outputs": [2]}), "output").message
    muted = workflow()
    muted["nodes"][2]["mode"] = 2
    assert "muted" in only(muted, "output").message
    none = only(workflow(linearData={}), "no_outputs")
    assert not none.error


def test_a_prompt_that_saves_nothing_is_an_error() -> None:
    prompt = {"1": {"class_type": "CallsheetText", "inputs": {"value": "x"}}}
    (found,) = [
        f for f in check(prompt, {"CallsheetText": {"input": {}}}) if f.kind == "no_output_node"
    ]
    assert found.error and "Save Video" in found.fix
    saving = {"CallsheetText": {"input": {}, "output_node": True}}
    assert not [f for f in check(prompt, saving) if f.kind == "no_output_node"]


def test_a_default_outside_its_own_limits_is_an_error() -> None:
    source = workflow()
    source["nodes"].append(
        parameter("Integer", 40, 5000, "size", "", False, 1, 10, 1, title="Size")
    )
    found = only(source, "unfit_parameter")
    assert found.error and found.node_id == "40"
    assert found.message == "size: its default 5000 is not between 1 and 10"


def test_a_parameter_inside_a_subgraph() -> None:
    source = workflow()
    inner = parameter("Integer", 4, 1, "n", "", False, 0, 9, 1, title="Inner")
    graph = {"id": "g", "name": "Part", "nodes": [inner], "links": [], "inputs": [], "outputs": []}
    source["definitions"] = {"subgraphs": [graph]}
    assert "subgraph Part" in only(source, "parameter_in_subgraph").message


def test_a_broken_file_is_one_finding() -> None:
    source = workflow()
    source["links"][0] = [1]
    assert only(source, "broken").error


LORAS = [{"name": f"big-{name}.safetensors", "url": f"https://example.test/{name}",
          "directory": "loras"} for name in ("noon", "night")]  # fmt: skip
ALSO = "noon = big-noon.safetensors\nnight = big-night.safetensors\nnight = old-night.safetensors"


def lora_info(*there: str) -> dict[str, Any]:
    inputs = {"model": ["VAE"], "lora_name": ["COMBO", {"options": list(there)}],
              "strength": ["FLOAT", {}], "also": ["STRING", {}]}  # fmt: skip
    return {**INFO, "CallsheetLora": {"input": {"required": inputs}, "output": ["VAE"]}}


def with_lora(*, strength: float = 1, chosen: int | None = 8) -> dict[str, Any]:
    """VAE → LoRA "noon", or one of two short names by choice."""
    source = workflow()
    loader = {"id": 7, "type": "CallsheetLora", "title": "Light",
            "inputs": [slot("model", "VAE", 1), slot("lora_name", "COMBO", chosen, widget=True),
                       slot("strength", "FLOAT", None, widget=True),
                       slot("also", "STRING", None, widget=True)],
            "outputs": [{"name": "VAE", "type": "VAE", "links": [9]}],
            "properties": {"models": LORAS}, "widgets_values": ["noon", strength, ALSO]}  # fmt: skip
    choice = parameter("Choice", 6, "noon", "light", "", False, "noon\nnight")
    choice["outputs"] = [{"name": "value", "type": "COMBO", "links": [8]}]
    source["nodes"][2]["inputs"][1]["link"] = 9
    source["nodes"] += [loader] if chosen is None else [loader, choice]
    source["links"] = [[1, 1, 0, 7, 0, "VAE"], [2, 2, 0, 3, 0, "LATENT"], [9, 7, 0, 3, 1, "VAE"]]
    source["links"] += [] if chosen is None else [[8, 6, 0, 7, 1, "COMBO"]]
    return source


@pytest.mark.parametrize(
    ("there", "absent"),
    [
        ([], ["noon", "night"]),
        (["big-night.safetensors"], ["noon"]),
        (["big-noon.safetensors", "old-night.safetensors"], []),
    ],
)
def test_a_file_that_a_choice_stands_for_is_missed(there: list[str], absent: list[str]) -> None:
    found = check(with_lora(), lora_info(*there))
    assert [(f.kind, f.node, f.message) for f in found] == [
        ("missing_model", "Light", f"big-{name}.safetensors is not there") for name in absent
    ]
    assert [f.error for f in found] == [name == "noon" for name in absent]  # the file's own choice


def test_a_file_of_another_name_is_not_enough() -> None:
    (found,) = check(with_lora(chosen=None), lora_info("big-night.safetensors"))
    assert found.message == "big-noon.safetensors is not there"
    assert check(with_lora(chosen=None, strength=0), lora_info()) == ()


@pytest.mark.parametrize(("there", "strength"), [("big-noon.safetensors", 1), ("", 0)])
def test_a_lora_that_is_there_or_off_can_run(there: str, strength: float) -> None:
    inputs = {"lora_name": "noon", "strength": strength, "also": ALSO}
    prompt = {"7": {"class_type": "CallsheetLora", "inputs": inputs}}
    models.require(prompt, lora_info(there), with_lora())


@given(
    st.sampled_from(["noon", "big-noon.safetensors", "a = b"]),
    st.lists(st.sampled_from([*ALSO.splitlines(), "x", "noon =", " = x", "", " x ", "noon=x"])),
)
def test_the_runner_reads_other_names_as_the_node_does(name: str, lines: list[str]) -> None:
    node = {"inputs": {"lora_name": name, "also": "\n".join(lines)}}
    assert list(models.names_of(name, node)) == lora.names(name, "\n".join(lines))


def test_a_run_names_the_file_that_a_short_name_stands_for() -> None:
    inputs = {"lora_name": "noon", "strength": 1, "also": ALSO}
    prompt = {"7": {"class_type": "CallsheetLora", "inputs": inputs}}
    with pytest.raises(WorkflowError, match=r"models/loras/; download it from .*/noon"):
        models.require(prompt, lora_info("big-night.safetensors"), with_lora())
