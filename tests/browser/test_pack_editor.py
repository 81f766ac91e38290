"""The pack in the real editor: what a designer sees, and what gets saved."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from editor import Editor

PACK = Path(__file__).parents[2] / "custom_nodes" / "callsheet"
NODES = [
    "CallsheetText",
    "CallsheetInteger",
    "CallsheetNumber",
    "CallsheetBoolean",
    "CallsheetChoice",
    "CallsheetSeed",
    "CallsheetImage",
    "CallsheetAudio",
    "CallsheetVideo",
    "CallsheetKeyframes",
    "CallsheetSpeakers",
    "CallsheetFrames",
    "CallsheetKeepFrames",
    "CallsheetPick",
    "CallsheetOnlyIf",
    "CallsheetWanPlan",
    "CallsheetLtxPlan",
    "CallsheetFitKeyframes",
    "CallsheetKeyframeGuides",
    "LTXVAddGuideMulti",
    "CallsheetLoraStack",
    "CallsheetLora",
    "CallsheetFitAudio",
    "CallsheetFitImage",
    "CallsheetFitStart",
    "CallsheetMultiTalkPlan",
    "CallsheetArrangeSpeakers",
    "CallsheetSpeakerMasks",
    "CallsheetEncodeSpeech",
    "CallsheetTalkGuider",
    "CallsheetMultiTalkSampler",
]
CATEGORIES = {
    f"callsheet/{subject}" for subject in ("parameters", "video", "image", "audio", "models")
}
PARAMETERS = NODES[:11]
WIDTH: dict[str, Any] = {"min": 64, "max": 1920, "step": 16}


def inputs_of(description: dict[str, Any]) -> dict[str, Any]:
    return {**description["input"]["required"], **description["input"].get("optional", {})}


def post_prompt(server: str, prompt: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server}/prompt",
        data=json.dumps({"prompt": prompt}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return json.load(error)


def problems(answer: dict[str, Any]) -> set[str]:
    """What validation said; the server repeats it for each argument, with its name before it."""
    errors = (error for node in answer["node_errors"].values() for error in node["errors"])
    return {error["details"].split(" - ", 1)[1] for error in errors}


def stored_values(workflow: dict[str, Any]) -> dict[str, list[Any]]:
    """By node title."""
    return {node["title"]: node["widgets_values"] for node in workflow["nodes"]}


# --- completeness ---------------------------------------------------------------------------------


def test_every_node_of_the_pack_is_known_here(object_info: dict[str, Any]) -> None:
    ours = [name for name, node in object_info.items() if "callsheet" in node["python_module"]]
    assert sorted(name for name in ours if "Rehearsal" not in name) == sorted(NODES)


@pytest.mark.parametrize("name", NODES)
def test_node_explains_itself(name: str, object_info: dict[str, Any]) -> None:
    node = object_info[name]
    assert node["display_name"] and not node["display_name"].startswith("Callsheet")
    assert node["category"] in CATEGORIES
    assert node["description"].endswith(".")
    assert [key for key, spec in inputs_of(node).items() if not spec[1].get("tooltip")] == []
    assert all(node["output_tooltips"])


@pytest.mark.parametrize("name", NODES)
def test_help_page_is_served_and_names_every_input(
    name: str, server: str, object_info: dict[str, Any]
) -> None:
    with urllib.request.urlopen(f"{server}/extensions/callsheet/docs/{name}.md") as response:
        page = response.read().decode()
    assert page.startswith(f"# {object_info[name]['display_name']}\n")
    assert "## Inputs" in page and "## Example" in page
    numbered = {f"option{i}" for i in range(1, 7)}  # the page says option0 … option7
    assert [
        key for key in inputs_of(object_info[name]) if key not in page and key not in numbered
    ] == []


def test_every_help_page_has_a_node() -> None:
    assert sorted(page.stem for page in (PACK / "web" / "docs").glob("*.md")) == sorted(NODES)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_widgets_keep_their_order(name: str, object_info: dict[str, Any]) -> None:
    # widgets_values in saved files has no names: another order would read them wrongly.
    order = {
        "CallsheetText": ["min_length", "max_length"],
        "CallsheetInteger": ["min", "max", "step", "choices"],
        "CallsheetNumber": ["min", "max", "step"],
        "CallsheetChoice": ["choices"],
        "CallsheetAudio": ["max_duration"],
        "CallsheetKeyframes": ["min_rows", "max_rows"],
        "CallsheetSpeakers": ["min_rows", "max_rows", "max_duration"],
    }
    inputs = inputs_of(object_info[name])
    assert list(inputs) == ["value", "name", "description", "required", *order.get(name, [])]
    behind = [spec for key, spec in inputs.items() if key != "value"]
    assert all(spec[1]["socketless"] and spec[1]["advanced"] for spec in behind)


# --- in the editor --------------------------------------------------------------------------------


def test_every_node_can_be_created_and_the_scripts_stay_silent(editor: Editor) -> None:
    for name in NODES:
        editor.add(name)
    assert len(editor.save()["nodes"]) == len(NODES)
    assert editor.complaints == []


@pytest.mark.parametrize("vue_nodes", [True, False], ids=["vue", "classic"])
def test_both_kinds_of_canvas(editor: Editor, vue_nodes: bool) -> None:
    set_vue = "(on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    editor.page.evaluate(set_vue, vue_nodes)
    try:
        editor.page.wait_for_timeout(300)
        node = editor.add("CallsheetInteger", title="Width", value=64, **WIDTH)
        limits = editor.page.evaluate(
            """(id) => {
              const { min, max, step2 } = app.graph.getNodeById(id).widgets[0].options;
              return [min, max, step2];
            }""",
            node,
        )
        assert limits == [64, 1920, 16]
        # Both kinds of canvas set the value, then call back.
        editor.page.evaluate(
            """(id) => {
              const value = app.graph.getNodeById(id).widgets[0];
              value.value = 1000;
              value.callback(1000);
            }""",
            node,
        )
        assert editor.value(node) == 1008
        assert editor.complaints == []
    finally:
        editor.page.evaluate(set_vue, True)
        editor.page.wait_for_timeout(300)


def test_integer_takes_allowed_values_only(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", title="Width", value=64, **WIDTH)
    assert editor.type_number(node, "1000") in (992, 1008)
    assert editor.type_number(node, "9999") == 1920
    assert editor.type_number(node, "1") == 64
    assert editor.type_number(node, "0") == 64
    assert editor.press(node, "ArrowUp") == 80


def test_steps_count_from_min(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", min=1, max=242, step=4, value=1)
    assert editor.type_number(node, "18") == 17
    assert editor.type_number(node, "242") == 241  # max itself is not on a step


def test_optional_integer_can_be_left_out(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", min=5, max=241, step=4, required=False, value=9)
    assert editor.type_number(node, "0") == 0
    assert editor.shown(node) == "0"
    assert editor.press(node, "ArrowUp") == 5
    assert editor.press(node, "ArrowDown") == 0
    assert editor.type_number(node, "3") == 5


def test_number_keeps_its_digits(editor: Editor) -> None:
    node = editor.add("CallsheetNumber", min=0.25, max=15, step=0, value=5)
    assert editor.type_number(node, "3.333") == 3.333
    assert editor.shown(node) == "3.333"
    stepped = editor.add("CallsheetNumber", min=0, max=1, step=0.1, value=0.5)
    assert editor.type_number(stepped, "0.33") == 0.3
    assert editor.shown(stepped) == "0.3"


def test_limits_follow_when_they_are_edited(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", min=0, max=10, value=5)
    editor.page.evaluate("(id) => { app.graph.getNodeById(id).widgets[5].value = 1000 }", node)
    assert editor.type_number(node, "900") == 900


def test_limits_are_the_files_after_loading_it_again(editor: Editor) -> None:
    # The editor keeps the state of a widget by graph and node id: reloading meets the old one.
    node = editor.add("CallsheetInteger", title="Width", value=64, **WIDTH)
    workflow = editor.save()
    editor.load(workflow)
    assert editor.type_number(node, "1000") in (992, 1008)
    workflow["nodes"][0]["widgets_values"] = [7, "count", "", True, 0, 10, 1]
    editor.load(workflow)
    assert editor.type_number(node, "900") == 10
    assert editor.shown(node) == "10"


def test_choice_offers_its_own_choices(editor: Editor) -> None:
    fresh = editor.add("CallsheetChoice")
    assert editor.value(fresh) == "fast"
    node = editor.add("CallsheetChoice", choices="draft\n\n final \ndraft", value="draft")
    editor.page.locator(f"[data-node-id='{node}']").get_by_text("draft").first.click()
    editor.page.get_by_role("option", name="final").click()
    assert editor.value(node) == "final"


def test_label_follows_title(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", title="Width")

    def labels() -> tuple[str, str]:
        saved = editor.save()["nodes"][0]
        return saved["title"], saved["inputs"][0]["label"]

    assert labels() == ("Width", "Width")
    rename = "([id, title]) => { app.graph.getNodeById(id).title = title }"
    editor.page.evaluate(rename, [node, "Picture width"])
    assert labels() == ("Picture width", "Picture width")
    assert editor.page.locator(f"[data-node-id='{node}']").get_by_text("Picture width").count() == 2
    # As App view renames a field:
    editor.page.evaluate("(id) => { app.graph.getNodeById(id).widgets[0].label = 'Breadth' }", node)
    assert labels() == ("Breadth", "Breadth")


def test_title_wins_over_a_label_in_the_file(editor: Editor) -> None:
    editor.add("CallsheetInteger", title="Width")
    workflow = editor.save()
    workflow["nodes"][0]["inputs"][0]["label"] = "Something else"
    editor.load(workflow)
    node = editor.save()["nodes"][0]
    assert (node["title"], node["inputs"][0]["label"]) == ("Width", "Width")


def test_saving_and_loading_keeps_everything(editor: Editor) -> None:
    editor.add("CallsheetText", title="Prompt", value="a {red} kite // really", name="prompt")
    editor.add("CallsheetInteger", title="Width", value=1280, name="width", **WIDTH)
    editor.add("CallsheetNumber", title="Guidance", value=0, min=1, max=10, required=False)
    editor.add("CallsheetBoolean", title="Upscale", value=True)
    editor.add("CallsheetChoice", title="Quality", choices="draft\nfinal", value="final")
    editor.add("CallsheetSeed", title="Seed", value=42, randomize="fixed")
    saved = editor.save()
    editor.load(saved)
    again = editor.save()
    assert stored_values(again) == stored_values(saved)
    assert stored_values(saved)["Width"] == [1280, "width", "", True, 64, 1920, 16, ""]
    assert stored_values(saved)["Seed"] == [42, "fixed", "", "", False]


def test_a_copy_is_a_parameter_of_its_own(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", title="Width", value=64, **WIDTH)
    copy = editor.page.evaluate(
        """(id) => {
          const copy = app.graph.getNodeById(id).clone();
          copy.pos = [600, 400];
          app.graph.add(copy);
          return copy.id;
        }""",
        node,
    )
    editor.page.wait_for_timeout(300)
    assert editor.type_number(copy, "1000") == 1008
    assert editor.value(node) == 64
    editor.page.evaluate("(id) => { app.graph.getNodeById(id).title = 'Height' }", copy)
    assert [saved["inputs"][0]["label"] for saved in editor.save()["nodes"]] == ["Width", "Height"]


def test_app_view_shows_titles(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", title="Picture width", value=64, **WIDTH)
    preview = editor.add("PreviewAny")
    workflow = editor.save()
    linear = {"inputs": [[node, "value"]], "outputs": [preview]}
    workflow["extra"] = {"linearData": linear, "linearMode": True}
    editor.load(workflow)
    field = editor.page.locator("[role=spinbutton]").filter(visible=True).first
    editor.page.get_by_text("Picture width").filter(visible=True).first.wait_for()
    field.fill("1000", force=True)
    field.press("Enter")
    assert editor.value(node) == 1008


def test_a_value_outside_its_limits_is_not_hidden_on_loading(editor: Editor) -> None:
    editor.add("CallsheetInteger", title="Width", value=999, **WIDTH)
    editor.load(editor.save())
    assert editor.shown(1) == "999"


def test_prompt_carries_values_and_the_server_takes_them(editor: Editor, server: str) -> None:
    width = editor.add("CallsheetInteger", value=1280, name="width", **WIDTH)
    show = editor.add("PreviewAny")
    editor.page.evaluate(
        "([a, b]) => app.graph.getNodeById(a).connect(0, app.graph.getNodeById(b), 0)",
        [width, show],
    )
    prompt = editor.api_prompt()
    wanted = {"value": 1280, "name": "width", "description": "", "required": True, **WIDTH,
              "choices": ""}  # fmt: skip
    assert prompt[str(width)]["inputs"] == wanted
    assert post_prompt(server, prompt)["node_errors"] == {}
    prompt[str(width)]["inputs"]["value"] = 1000
    refusal = post_prompt(server, prompt)
    assert problems(refusal) == {"width: 1000 is not a multiple of 16; nearest 992 or 1008"}


def test_editor_finds_the_help_page(editor: Editor) -> None:
    editor.add("CallsheetInteger")
    editor.page.evaluate("() => app.canvas.selectItems([app.graph._nodes[0]])")
    editor.page.locator("[data-testid=info-button]").first.click()
    editor.page.get_by_text("Models that make 4k+1 frames").wait_for()
