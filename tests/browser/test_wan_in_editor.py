"""wan-t2v as a designer meets it: opened, run and saved in the real editor."""

import json
from typing import Any

import pytest

from runner import parameters
from runner import workflow as workflows
from runner.graph import to_api
from runner.settings import Settings
from runner.workflow import Workflow

from editor import Editor


@pytest.fixture
def wan(settings: Settings) -> Workflow:
    return workflows.find("wan-t2v@1.0.0", settings.workflows)


def test_it_opens_without_an_error_or_a_missing_node(editor: Editor, wan: Workflow) -> None:
    editor.load(wan.document)
    types = editor.page.evaluate("() => app.graph._nodes.map((n) => [n.type, n.constructor.title])")
    assert len(types) == len(wan.document["nodes"])
    assert not [t for t, title in types if not title]
    assert editor.page.get_by_text("missing node", exact=False).count() == 0
    assert editor.complaints == []


def test_saving_it_again_keeps_the_contract(editor: Editor, wan: Workflow) -> None:
    editor.load(wan.document)
    saved = editor.save()
    assert parameters.read(saved) == parameters.read(wan.document)
    assert saved["extra"]["linearData"] == wan.document["extra"]["linearData"]
    assert saved["extra"]["info"] == wan.document["extra"]["info"]


def test_the_runner_converts_it_as_the_editor_does(
    editor: Editor, wan: Workflow, object_info: dict[str, Any]
) -> None:
    editor.load(wan.document)
    theirs, ours = editor.api_prompt(), to_api(wan.document, object_info)
    assert {k: (n["class_type"], n["inputs"]) for k, n in ours.items()} == {
        k: (n["class_type"], n["inputs"]) for k, n in theirs.items()
    }


def test_nodes_do_not_overlap(wan: Workflow) -> None:
    title_bar = 30  # pixels, above a node's position
    boxes = {
        workflows.title(n): (
            n["pos"][0],
            n["pos"][1] - title_bar,
            n["pos"][0] + n["size"][0],
            n["pos"][1] + n["size"][1],
        )
        for n in wan.document["nodes"]
    }
    assert len(boxes) == len(wan.document["nodes"])
    names = list(boxes)
    overlapping = [
        (one, other)
        for index, one in enumerate(names)
        for other in names[index + 1 :]
        if boxes[one][0] < boxes[other][2]
        and boxes[other][0] < boxes[one][2]
        and boxes[one][1] < boxes[other][3]
        and boxes[other][1] < boxes[one][3]
    ]
    assert overlapping == []


def test_it_runs_in_the_editor_on_stand_in_weights(editor: Editor, wan: Workflow) -> None:
    small = parameters.fill(
        wan.document,
        parameters.read(wan.document),
        {**parameters.validate(parameters.read(wan.document), {"prompt": "a red kite"}),
         "width": 128, "height": 96, "num_frames": 17, "steps": 4},
    )  # fmt: skip
    editor.load(json.loads(json.dumps(small)))
    editor.page.evaluate("() => app.queuePrompt(0)")
    editor.page.wait_for_function(
        """async () => {
          const jobs = await (await fetch("/api/jobs")).json();
          return jobs.jobs.length && jobs.jobs.every((job) => job.status === "completed");
        }""",
        timeout=120_000,
    )
    editor.page.locator("video").first.wait_for(timeout=20_000)
