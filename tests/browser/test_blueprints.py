"""The pack's subgraph blueprints: each is offered, and does in a workflow what the nodes it stands for do."""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from media import furnish

from runner import workflow as workflows
from runner.entrypoints import setup
from runner.graph import to_api
from runner.inputs import Access
from runner.job import Job
from runner.request import check
from runner.run import run
from runner.storage.local import LocalStorage
from runner.workflow import Workflow

if TYPE_CHECKING:
    from runner.comfy.engine import LocalEngine
    from runner.settings import Settings

    from editor import Editor

FILES = sorted((Path(__file__).parents[2] / "custom_nodes/callsheet/subgraphs").glob("*.json"))
HOME = {
    "LTX-2 preset and LoRAs": "ltx2-lipsync",
    "LTX-2 lip-sync sound": "ltx2-lipsync",
    "LTX-2 keyframe guides": "ltx2-keyframes-lipsync",
}
INPUT_BOX, OUTPUT_BOX = -10, -20  # the ids of a subgraph's own sides


def load(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text())


def key(node: dict[str, Any]) -> tuple[str, str]:
    return node["type"], str(node.get("title"))


def grafted(workflow: dict[str, Any], blueprint: dict[str, Any]) -> dict[str, Any]:
    """The workflow with the blueprint in the place of the nodes that it holds."""
    made = copy.deepcopy(workflow)
    [subgraph] = blueprint["definitions"]["subgraphs"]
    [instance] = copy.deepcopy(blueprint["nodes"])
    by_key = {key(node): node for node in made["nodes"]}
    twin = {inner["id"]: by_key[key(inner)] for inner in subgraph["nodes"]}
    gone = {node["id"] for node in twin.values()}
    instance["id"] = made["last_node_id"] = made["last_node_id"] + 1
    slots = {
        (link["target_id"], link["target_slot"]): link["origin_slot"]
        for link in subgraph["links"]
        if link["origin_id"] == INPUT_BOX
    }
    sources = {
        (link["origin_id"], link["origin_slot"]): link["target_slot"]
        for link in subgraph["links"]
        if link["target_id"] == OUTPUT_BOX
    }
    back = {node["id"]: inner for inner, node in twin.items()}
    kept: list[list[Any]] = []
    for number, origin, slot, target, place, kind in made["links"]:
        if origin in gone and target in gone:
            continue
        if target in gone:
            place = slots[back[target], place]
            if instance["inputs"][place]["link"] is not None:
                continue  # one input feeds several nodes inside
            instance["inputs"][place]["link"] = number
            target = instance["id"]
        elif origin in gone:
            slot = sources[back[origin], slot]
            instance["outputs"][slot]["links"].append(number)
            origin = instance["id"]
        kept.append([number, origin, slot, target, place, kind])
    links = {link[0] for link in kept}
    for node in made["nodes"]:
        for output in node.get("outputs") or []:
            output["links"] = [one for one in output.get("links") or [] if one in links]
    made["nodes"] = [node for node in made["nodes"] if node["id"] not in gone] + [instance]
    made["links"] = kept
    made["definitions"] = copy.deepcopy(blueprint["definitions"])
    return made


def frames(file: str) -> np.ndarray:
    with av.open(file) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def test_every_blueprint_has_a_workflow_to_be_tried_in() -> None:
    assert [file.stem for file in FILES] == sorted(HOME)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_offered_with_a_description_and_can_be_put_into_a_graph(
    file: Path, editor: Editor
) -> None:
    blueprint = load(file)
    assert blueprint["extra"]["BlueprintDescription"].endswith(".")
    assert blueprint["extra"]["BlueprintSearchAliases"]
    page = editor.page
    page.keyboard.press("Escape")
    page.evaluate("() => app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    box = page.get_by_role("combobox").last
    box.fill(file.stem)
    page.get_by_role("option").filter(has_text=file.stem).first.click()
    page.wait_for_function("() => app.rootGraph.nodes.length === 1")
    page.evaluate("() => app.canvas.finalizeGhostPlacement(false)")  # it hangs on the mouse
    page.keyboard.press("Escape")
    seen = "() => app.rootGraph.nodes.map((node) => [node.isSubgraphNode(), node.title])"
    assert page.evaluate(seen) == [[True, file.stem]]
    [node] = editor.save()["nodes"]
    inputs = [slot["name"] for slot in blueprint["nodes"][0]["inputs"]]
    assert [slot["name"] for slot in node["inputs"]] == inputs
    assert editor.complaints == []


def meaning(prompt: dict[str, Any]) -> list[str]:
    """What each node does: its kind and inputs, with what a link leads to in the place of ids."""

    @cache
    def of(node_id: str) -> str:
        node = prompt[node_id]
        inputs = {
            name: [of(str(value[0])), value[1]] if isinstance(value, list) else value
            for name, value in node["inputs"].items()
        }
        text = json.dumps([node["class_type"], inputs], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    return sorted(map(of, prompt))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_asks_for_what_the_nodes_asked_for_that_it_stands_for(
    file: Path, editor: Editor, settings: Settings, object_info: dict[str, Any]
) -> None:
    home = workflows.find(HOME[file.stem], settings.workflows).document
    document = grafted(home, load(file))
    editor.load(document)
    theirs = editor.api_prompt()
    ours = to_api(document, object_info)
    assert {i: (n["class_type"], n["inputs"]) for i, n in ours.items()} == {
        i: (n["class_type"], n["inputs"]) for i, n in theirs.items()
    }
    assert meaning(ours) == meaning(to_api(home, object_info))


def test_it_renders_what_the_nodes_rendered_that_it_stands_for(
    engine: LocalEngine, settings: Settings, tmp_path: Path
) -> None:
    [file] = [file for file in FILES if file.stem == "LTX-2 keyframe guides"]
    furnish(tmp_path)
    home = workflows.find(HOME[file.stem], settings.workflows)
    keyframes = [{"image_url": str(tmp_path / "dawn.png"), "strength": 1}]
    values = {"width": 192, "height": 128, "quality_preset": "balanced", "seed": 7, "fps": 24,
              "audio_url": str(tmp_path / "voice.wav"), "keyframes": keyframes}  # fmt: skip

    def render(workflow: Workflow) -> np.ndarray:
        done = run(
            check(Job(uuid.uuid4().hex, workflow.reference, values), workflow),
            engine=engine,
            storage=LocalStorage(tmp_path / "out"),
            access=Access(local=True),
            prepare=setup.stand_ins(settings),
        )
        return frames(done.artifacts[0].location)

    mine = Workflow(grafted(home.document, load(file)), None, home.name, home.version)
    assert np.abs(render(mine).astype(float) - render(home)).mean() < 1  # of 255
