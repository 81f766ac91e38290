"""Every released workflow as a designer meets it: opened clean, shown as a form, saved unchanged."""

from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

from runner import parameters
from runner import settings as runner_settings
from runner import workflow as workflows
from runner.graph import to_api
from runner.settings import Settings
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


@dataclass(frozen=True)
class Opened:
    """What the editor made of a file."""

    found: Workflow
    types: list[tuple[str, str | None]]  # of its nodes, with the title that the editor knows
    says_missing: bool
    saved: dict[str, Any]
    prompt: dict[str, Any]
    complaints: list[str]


@pytest.fixture(scope="module", params=RELEASED, ids=lambda found: found.reference)
def opened(request: pytest.FixtureRequest, editor_page: Editor) -> Opened:
    """Opened once, for all that is asked of it."""
    found: Workflow = request.param
    editor_page.clear()
    editor_page.load(found.document)
    types = "() => app.graph._nodes.map((node) => [node.type, node.constructor.title])"
    return Opened(
        found,
        editor_page.page.evaluate(types),
        editor_page.page.get_by_text("missing node", exact=False).count() > 0,
        editor_page.save(),
        editor_page.api_prompt(),
        list(editor_page.complaints),
    )


def test_it_opens_without_an_error_or_a_missing_node(opened: Opened) -> None:
    assert len(opened.types) == len(opened.found.document["nodes"])
    assert [kind for kind, title in opened.types if not title] == []
    assert not opened.says_missing
    assert opened.complaints == []


def test_saving_it_again_keeps_the_contract(opened: Opened) -> None:
    before, after = opened.found.document, opened.saved
    assert parameters.read(after) == parameters.read(before)
    assert after["extra"]["linearData"] == before["extra"]["linearData"]
    assert after["extra"]["info"] == before["extra"]["info"]
    assert workflows.output_names(after) == workflows.output_names(before)


def test_the_runner_converts_it_as_the_editor_does(
    opened: Opened, object_info: dict[str, Any]
) -> None:
    ours = to_api(opened.found.document, object_info)
    assert {k: (n["class_type"], n["inputs"]) for k, n in ours.items()} == {
        k: (n["class_type"], n["inputs"]) for k, n in opened.prompt.items()
    }


@EVERY
def test_app_view_asks_for_every_parameter(found: Workflow) -> None:
    asked = found.document["extra"]["linearData"]["inputs"]
    assert {(str(node), widget) for node, widget, *_ in asked} == {
        (parameter.node_id, "value") for parameter in parameters.read(found.document)
    }
    assert len(asked) == len(parameters.read(found.document))


# Between them they have every kind of parameter.
@pytest.mark.parametrize("name", ["multitalk", "ltx2-keyframes-lipsync"])
def test_app_view_shows_every_parameter_under_its_title(
    name: str, editor: Editor, settings: Settings
) -> None:
    found = workflows.find(name, settings.workflows)
    editor.load(found.document)
    toggle = "() => app.extensionManager.command.execute('Comfy.ToggleLinear')"
    editor.page.evaluate(toggle)
    try:
        form = editor.page.locator("[data-testid=linear-widgets]")
        for parameter in parameters.read(found.document):
            label = form.get_by_text(parameter.title, exact=True).filter(visible=True)
            expect(label.first).to_be_visible()
        assert "value" not in form.inner_text().split("\n")
    finally:
        editor.page.evaluate(toggle)
        editor.settle()
    assert editor.complaints == []


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
