"""Every released workflow as a designer meets it: opened clean, shown as a form, saved unchanged."""

from typing import Any

import pytest
from playwright.sync_api import expect

from runner import parameters
from runner import settings as runner_settings
from runner import workflow as workflows
from runner.graph import to_api
from runner.workflow import Workflow

from editor import Editor

RELEASED = [
    workflows.load(path)
    for newest in workflows.released(runner_settings.from_environment().workflows)
    if newest.path
    for path in workflows.versions(newest.path.parent.name, [newest.path.parent.parent])
]
EVERY = pytest.mark.parametrize("found", RELEASED, ids=lambda found: found.reference)
NODE_TITLE = 30  # pixels, above a node's position


def test_there_are_workflows() -> None:
    assert {"wan-t2v@1.0.0", "mochi-t2v@1.0.0", "ltx2-lipsync@1.0.0", "ltx2-audio@1.0.0",
            "ltx2-keyframes-lipsync@1.0.0", "ltx2-keyframes-audio@1.0.0",
            } <= {found.reference for found in RELEASED}  # fmt: skip


@EVERY
def test_it_opens_without_an_error_or_a_missing_node(editor: Editor, found: Workflow) -> None:
    editor.load(found.document)
    types = editor.page.evaluate("() => app.graph._nodes.map((n) => [n.type, n.constructor.title])")
    assert len(types) == len(found.document["nodes"])
    assert not [t for t, title in types if not title]
    assert editor.page.get_by_text("missing node", exact=False).count() == 0
    assert editor.complaints == []


@EVERY
def test_app_view_shows_every_parameter(editor: Editor, found: Workflow) -> None:
    editor.load(found.document)
    toggle = "() => app.extensionManager.command.execute('Comfy.ToggleLinear')"
    editor.page.evaluate(toggle)
    try:
        for parameter in parameters.read(found.document):
            label = editor.page.get_by_text(parameter.title, exact=True).filter(visible=True)
            expect(label.first).to_be_visible()
    finally:
        editor.page.evaluate(toggle)
        editor.page.wait_for_timeout(300)
    assert editor.complaints == []


@EVERY
def test_saving_it_again_keeps_the_contract(editor: Editor, found: Workflow) -> None:
    editor.load(found.document)
    saved = editor.save()
    assert parameters.read(saved) == parameters.read(found.document)
    assert saved["extra"]["linearData"] == found.document["extra"]["linearData"]
    assert saved["extra"]["info"] == found.document["extra"]["info"]
    assert workflows.output_names(saved) == workflows.output_names(found.document)


@EVERY
def test_the_runner_converts_it_as_the_editor_does(
    editor: Editor, found: Workflow, object_info: dict[str, Any]
) -> None:
    editor.load(found.document)
    theirs, ours = editor.api_prompt(), to_api(found.document, object_info)
    assert {k: (n["class_type"], n["inputs"]) for k, n in ours.items()} == {
        k: (n["class_type"], n["inputs"]) for k, n in theirs.items()
    }


@EVERY
def test_nodes_do_not_overlap(found: Workflow) -> None:
    boxes = {
        n["id"]: (
            n["pos"][0],
            n["pos"][1] - NODE_TITLE,
            n["pos"][0] + n["size"][0],
            n["pos"][1] + n["size"][1],
        )
        for n in found.document["nodes"]
    }
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
