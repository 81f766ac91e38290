"""The Callsheet menu and the template browser of `callsheet edit`."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Locator, expect

from runner import parameters
from runner import settings as runner_settings
from runner import workflow as workflows
from runner.check import check

if TYPE_CHECKING:
    from runner.settings import Settings

    from editor import Editor

NAMES = [found.name for found in workflows.released(runner_settings.from_environment().workflows)]


def command(editor: Editor, name: str) -> None:
    editor.page.evaluate("(name) => app.extensionManager.command.execute(name)", name)


def panel(editor: Editor) -> Locator:
    return editor.page.locator(".callsheet-panel")


def rename(editor: Editor, old: str, new: str) -> None:
    editor.page.evaluate(
        """([old, name]) => {
          app.rootGraph.nodes.find(({ title }) => title === old).widgets
            .find((widget) => widget.name === "name").value = name;
        }""",
        [old, new],
    )


def copied(editor: Editor) -> tuple[dict[str, Any], str]:
    """The request on the clipboard, and what was said about it."""
    editor.page.evaluate("() => { app.extensionManager.toast.removeAll() }")
    command(editor, "Callsheet.CopyAsRequest")
    toast = editor.page.locator(".p-toast-message").last
    toast.wait_for()
    return json.loads(editor.page.evaluate("() => navigator.clipboard.readText()")), (
        toast.inner_text()
    )


# --- check ----------------------------------------------------------------------------------------


def test_a_released_workflow_has_nothing_to_mend(editor: Editor) -> None:
    editor.open_template("wan-t2v")
    command(editor, "Callsheet.Check")
    expect(panel(editor).get_by_text("Nothing to mend.")).to_be_visible()
    editor.page.keyboard.press("Escape")
    expect(panel(editor)).to_have_count(0)


def test_findings_are_those_of_callsheet_check_and_lead_to_their_nodes(
    editor: Editor, object_info: dict[str, Any]
) -> None:
    editor.open_template("wan-t2v")
    editor.page.evaluate(
        """() => {
          const by = (title) => app.rootGraph.nodes.find((node) => node.title === title);
          by("Sample, high noise").widgets.find(({ name }) => name === "sampler_name").value = "eulr";
          by("Width").widgets.find(({ name }) => name === "max").value = 99999;
        }"""
    )
    wanted = check(editor.save(), object_info)
    assert len(wanted) >= 2

    command(editor, "Callsheet.Check")
    rows = panel(editor).locator("li")
    expect(rows).to_have_count(len(wanted))
    for row, finding in zip(rows.all(), wanted, strict=True):
        for words in (finding.node, finding.message, finding.fix):
            expect(row).to_contain_text(words)

    panel(editor).get_by_role("button").filter(has_text="eulr").click()
    selected = "() => [...app.canvas.selectedItems].map((node) => node.title)"
    assert editor.page.evaluate(selected) == ["Sample, high noise"]
    assert editor.complaints == []

    editor.page.evaluate(
        """() => {
          const by = (title) => app.rootGraph.nodes.find((node) => node.title === title);
          by("Sample, high noise").widgets.find(({ name }) => name === "sampler_name").value = "euler";
          by("Width").widgets.find(({ name }) => name === "max").value = 1280;
        }"""
    )
    panel(editor).get_by_text("Check again").click()
    expect(panel(editor).get_by_text("Nothing to mend.")).to_be_visible()


def test_a_finding_inside_a_subgraph_leads_into_it(editor: Editor) -> None:
    editor.open_template("wan-t2v")
    editor.page.evaluate(
        """() => {
          const graph = app.rootGraph;
          const node = graph.nodes.find(({ title }) => title === "Sample, low noise");
          node.widgets.find(({ name }) => name === "sampler_name").value = "eulr";
          graph.convertToSubgraph(new Set([node]));
        }"""
    )
    command(editor, "Callsheet.Check")
    panel(editor).get_by_role("button").filter(has_text="eulr").click()
    inside = "() => [app.canvas.graph !== app.rootGraph, [...app.canvas.selectedItems][0].title]"
    assert editor.page.evaluate(inside) == [True, "Sample, low noise"]
    editor.page.keyboard.press("Escape")
    editor.page.evaluate("() => app.canvas.setGraph(app.rootGraph)")


def test_a_broken_parameter_is_a_finding(editor: Editor) -> None:
    editor.open_template("wan-t2v")
    rename(editor, "Width", "Not A Name")
    command(editor, "Callsheet.Check")
    expect(panel(editor).locator("li")).to_contain_text(["is no name"])
    editor.page.keyboard.press("Escape")


# --- copy as request ------------------------------------------------------------------------------


def test_the_request_holds_what_the_parameters_hold(editor: Editor, settings: Settings) -> None:
    editor.open_template("wan-t2v")
    editor.set(prompt="a {red} kite", width=832, steps=12)
    request, said = copied(editor)
    assert list(request) == ["input"]
    assert request["input"]["workflow"] == "wan-t2v@1"
    params = request["input"]["params"]
    assert (params["prompt"], params["width"], params["steps"]) == ("a {red} kite", 832, 12)
    assert "guidance_scale" not in params  # by the preset
    assert said.strip() == "Copied as a request"
    found = parameters.read(workflows.find("wan-t2v@1", settings.workflows).document)
    assert parameters.validate(found, params)["width"] == 832


def test_files_become_addresses_to_fill_in(editor: Editor, settings: Settings) -> None:
    editor.open_template("ltx2-keyframes-lipsync")
    rows = json.dumps([{"image": "here/a b.png", "position": "first"}])
    editor.set(keyframes=rows, audio_url="voice.wav")
    request, said = copied(editor)
    params = request["input"]["params"]
    [row] = params["keyframes"]
    assert row == {"image_url": "https://example.com/a%20b.png", "frame_position": "first"}
    assert params["audio_url"] == "https://example.com/voice.wav"
    assert "keyframes, audio_url" in said
    found = parameters.read(workflows.find("ltx2-keyframes-lipsync@1", settings.workflows).document)
    parameters.validate(found, params)


def test_a_required_value_that_is_missing_is_said(editor: Editor) -> None:
    editor.open_template("ltx2-lipsync")
    request, said = copied(editor)
    assert "image_url" not in request["input"]["params"]
    assert "image_url is required and has no value here" in said


def test_what_a_service_would_refuse_is_said(editor: Editor) -> None:
    editor.open_template("ltx2-keyframes-audio")
    editor.set(keyframes=json.dumps([{"image": "a.png", "position": 1.5}]))
    _, said = copied(editor)
    assert "keyframes[0].frame_position: 1.5 is not between 0 and 1" in said


def test_a_changed_graph_is_no_released_version(editor: Editor) -> None:
    editor.open_template("wan-t2v")
    editor.page.evaluate(
        """() => {
          app.rootGraph.nodes.find(({ title }) => title === "Sample, high noise").widgets
            .find(({ name }) => name === "sampler_name").value = "dpmpp_2m";
        }"""
    )
    _, said = copied(editor)
    assert "Services run wan-t2v@1" in said
    assert "makes it wan-t2v@1.0.1" in said


def test_a_workflow_without_a_name_asks_for_one(editor: Editor) -> None:
    editor.add("CallsheetText", title="Prompt", name="prompt", value="a boat", required=False)
    request, said = copied(editor)
    assert request["input"]["params"] == {"prompt": "a boat"}
    assert "release FILE --as NAME" in said


def test_what_cannot_be_read_is_said(editor: Editor) -> None:
    editor.open_template("wan-t2v")
    rename(editor, "Width", "height")
    editor.page.evaluate("() => { app.extensionManager.toast.removeAll() }")
    command(editor, "Callsheet.CopyAsRequest")
    expect(editor.page.locator(".p-toast-message").last).to_contain_text("name of 2 parameters")


# --- routes and menu ------------------------------------------------------------------------------


def ask(server: str, route: str, body: bytes, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"{server}/callsheet/{route}", data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("route", ["check", "request"])
def test_other_sites_are_refused(route: str, server: str) -> None:
    assert ask(server, route, b"{}", Origin="https://evil.example")[0] == 403
    assert ask(server, route, b"{}", **{"Sec-Fetch-Site": "cross-site"})[0] == 403


@pytest.mark.parametrize("route", ["check", "request"])
@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"a": NaN}', b"[" * 100_000])
def test_what_is_no_workflow_is_refused_in_words(route: str, body: bytes, server: str) -> None:
    status, text = ask(server, route, body)
    assert status == 422
    assert json.loads(text)["error"].startswith("the open workflow is")


def test_the_menu_offers_both(editor: Editor) -> None:
    editor.page.locator(".comfy-menu-button-wrapper, [data-testid=comfy-menu-button]").first.click()
    editor.page.get_by_role("menuitem", name="Callsheet").hover()
    for label in ("Check workflow", "Copy as request"):
        expect(editor.page.get_by_role("menuitem", name=label)).to_be_visible()
    editor.page.keyboard.press("Escape")


# --- templates ------------------------------------------------------------------------------------


def test_the_template_browser_shows_our_workflows(editor: Editor) -> None:
    page = editor.page
    command(editor, "Comfy.BrowseTemplates")
    page.get_by_role("button", name="Callsheet").first.click()
    for name in NAMES:
        card = page.get_by_test_id(f"template-workflow-{name}")
        card.scroll_into_view_if_needed()
        words = [line for line in card.inner_text().split("\n") if line.strip()]
        assert words[0] != name  # it has a title
        assert len(words[1]) > 20  # and says what it does
        picture = card.locator("img").first
        picture.wait_for()
        page.wait_for_function(
            "(one) => one.complete && one.naturalWidth === 512", arg=picture.element_handle()
        )
    page.get_by_test_id("template-workflow-wan-t2v").click()
    page.wait_for_function("() => app.rootGraph.extra?.info?.name === 'wan-t2v'")
    assert editor.complaints == []
