"""The list editor of Keyframes, LoRA stack and Speakers, and file parameters, in the real editor."""

from __future__ import annotations

import json
import re
import urllib.request
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from playwright.sync_api import Locator, expect

if TYPE_CHECKING:
    from editor import Editor

COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pictures")
    for colour in COLOURS:
        Image.new("RGB", (64, 40), colour).save(folder / f"{colour}.png")
    return {colour: folder / f"{colour}.png" for colour in COLOURS}


@pytest.fixture
def lists(editor: Editor) -> Iterator[Lists]:
    yield Lists(editor)
    assert editor.complaints == []


class Lists:
    """What a designer does with a list."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.page = editor.page

    def add(self, *rows: dict[str, Any], **values: Any) -> int:
        value = json.dumps(rows)
        return self.editor.add("CallsheetKeyframes", title="Keyframes", value=value, **values)

    def add_loras(self, *rows: Any) -> int:
        return self.editor.add("CallsheetLoraStack", title="LoRAs", rows=json.dumps(rows))

    def add_speakers(self, *rows: dict[str, Any]) -> int:
        return self.editor.add("CallsheetSpeakers", title="Speakers", value=json.dumps(rows))

    def rows(self, node: int = 1, name: str = "value") -> list[dict[str, Any]]:
        return json.loads(self.editor.value(node, name))

    def loras(self, node: int = 1) -> list[dict[str, Any]]:
        return self.rows(node, "rows")

    def names(self, node: int = 1) -> list[str]:
        return [row["image"].removesuffix(".png").split(" ")[0] for row in self.rows(node)]

    def shown(self) -> Locator:
        """The rows that are on the page, in the graph or in App view."""
        return self.page.locator(".callsheet-row").filter(visible=True)

    def upload(self, *files: Path) -> None:
        before = self.shown().count()
        with self.page.expect_file_chooser() as chooser:
            self.page.locator(".callsheet-rows .add").filter(visible=True).first.click()
        chooser.value.set_files([str(file) for file in files])
        expect(self.shown()).to_have_count(before + len(files))

    def type(self, row: int, column: str, text: str) -> None:
        cell = self.cell(row, column)
        cell.fill(text)
        cell.press("Enter")
        self.editor.settle()

    def cell(self, row: int, column: str) -> Locator:
        return self.shown().nth(row).locator(f"[data-column='{column}']")

    def handle(self, row: int) -> Locator:
        return self.shown().nth(row).locator(".handle")

    def remove(self, row: int) -> None:
        self.shown().nth(row).locator(".remove").click()
        self.editor.settle()

    def choose_file(self, button: Locator, file: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files(str(file))

    def menu(self) -> Locator:
        return self.page.locator(".callsheet-picker:popover-open")

    def command(self, name: str) -> None:
        self.page.evaluate("(name) => app.extensionManager.command.execute(name)", name)
        self.editor.settle()


BORDER = "(input) => getComputedStyle(input).borderColor"
THREE = [{"image": f"{colour}.png"} for colour in COLOURS]


def test_the_server_says_plain_text(object_info: dict[str, Any]) -> None:
    # Converters, and editors without our script, meet a STRING and nothing they do not know.
    kind, options = object_info["CallsheetKeyframes"]["input"]["required"]["value"]
    assert (kind, options["multiline"], "widgetType" in options) == ("STRING", True, False)
    assert [column["name"] for column in options["columns"]] == ["image", "position", "strength"]


def test_several_pictures_are_uploaded_at_once(
    lists: Lists, pictures: dict[str, Path], server: str
) -> None:
    lists.add()
    lists.upload(*pictures.values())
    assert lists.names() == list(COLOURS)
    for row in lists.rows():
        with urllib.request.urlopen(f"{server}/view?type=input&filename={row['image']}") as answer:
            assert answer.status == 200
    lists.page.wait_for_function(
        "() => [...document.querySelectorAll('.callsheet-row img')].every((i) => i.naturalWidth === 64)"
    )


def test_dropped_pictures_become_rows_and_no_workflow(lists: Lists) -> None:
    node = lists.add()
    lists.page.evaluate(
        """() => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 8, height: 8 });
          canvas.toBlob((blob) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([blob], "dropped.png", { type: "image/png" }));
            dataTransfer.items.add(new File(["{}"], "workflow.json", { type: "application/json" }));
            const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
            document.querySelector(".callsheet-rows").dispatchEvent(drop);
          });
        }"""
    )
    expect(lists.shown()).to_have_count(1)
    assert lists.rows(node) == [{"image": "dropped.png"}]
    assert len(lists.editor.save()["nodes"]) == 1
    lists.page.get_by_text("only image files can be added").wait_for()


def test_cells(lists: Lists) -> None:
    lists.add(*THREE)
    lists.type(0, "position", "first")
    lists.type(1, "position", "0.5")
    lists.type(2, "position", "1.5")
    lists.type(2, "strength", "0.3")
    assert [row.get("position") for row in lists.rows()] == ["first", 0.5, 1]
    assert lists.rows()[2]["strength"] == 0.3
    lists.type(1, "position", "middle")  # nothing it can hold: as it was
    assert lists.rows()[1]["position"] == 0.5
    lists.type(1, "position", "")
    lists.type(2, "strength", "")
    assert lists.rows()[1:] == [{"image": "green.png"}, {"image": "blue.png", "position": 1}]


def test_tab_leads_to_the_next_cell(lists: Lists) -> None:
    lists.add(*THREE)
    first = lists.shown().nth(0).locator("input[data-column=position]")
    first.fill("last")
    first.press("Tab")
    lists.page.keyboard.type("0.4")
    lists.page.keyboard.press("Enter")
    assert lists.rows()[0] == {"image": "red.png", "position": "last", "strength": 0.4}


def test_rows_move_by_keys_and_go(lists: Lists) -> None:
    lists.add(*THREE)
    lists.handle(0).focus()
    lists.page.keyboard.press("ArrowDown")
    assert lists.names() == ["green", "red", "blue"]
    lists.page.keyboard.press("ArrowDown")  # the focus went with the row
    lists.page.keyboard.press("ArrowDown")  # it is the last one: nothing happens
    assert lists.names() == ["green", "blue", "red"]
    lists.page.keyboard.press("ArrowUp")
    assert lists.names() == ["green", "red", "blue"]
    lists.remove(1)
    assert lists.names() == ["green", "blue"]
    expect(lists.shown()).to_have_count(2)


def test_a_row_is_dragged(lists: Lists) -> None:
    node = lists.add(*THREE)
    place = lists.page.evaluate("(id) => [...app.graph.getNodeById(id).pos]", node)
    lists.handle(0).hover()
    lists.page.mouse.down()
    target = lists.handle(2).bounding_box()
    assert target
    for part in (0.2, 0.5, 0.9):  # of the way down the last row
        lists.page.mouse.move(target["x"] + 5, target["y"] + part * target["height"], steps=8)
    assert lists.names() == list(COLOURS)  # only when it is let go
    lists.page.mouse.up()
    assert lists.names() == ["green", "blue", "red"]
    assert lists.page.evaluate("(id) => [...app.graph.getNodeById(id).pos]", node) == place
    lists.command("Comfy.Undo")
    assert lists.names() == list(COLOURS)


def test_a_picture_is_replaced_where_it_stands(lists: Lists, pictures: dict[str, Path]) -> None:
    lists.add({"image": "gone.png", "position": 0.5}, {"image": "red.png"})
    lists.page.get_by_text("no such image").wait_for()
    with lists.page.expect_file_chooser() as chooser:
        lists.page.get_by_text("no such image").click()
    chooser.value.set_files(str(pictures["blue"]))
    lists.page.wait_for_timeout(500)
    assert lists.names() == ["blue", "red"]
    assert lists.rows()[0]["position"] == 0.5


def test_no_more_than_max_rows(lists: Lists, pictures: dict[str, Path]) -> None:
    lists.add(*THREE[:2], max_rows=3)
    with lists.page.expect_file_chooser() as chooser:
        lists.page.locator(".callsheet-rows .add").click()
    chooser.value.set_files([str(pictures["red"]), str(pictures["blue"])])
    expect(lists.shown()).to_have_count(3)
    lists.page.get_by_text("at most 3 rows").wait_for()
    expect(lists.page.locator(".callsheet-rows .add")).to_be_disabled()


def test_what_is_no_list_can_be_mended(lists: Lists) -> None:
    node = lists.editor.add("CallsheetKeyframes", value='[{"image": "red.png"')
    area = lists.page.locator(".callsheet-rows textarea")
    assert area.input_value() == '[{"image": "red.png"'
    area.fill('[{"image": "red.png"}]')
    area.blur()
    expect(lists.shown()).to_have_count(1)
    assert lists.rows(node) == [{"image": "red.png"}]


def test_loading_the_same_file_again_edits_the_living_list(lists: Lists) -> None:
    lists.add(*THREE)
    lists.type(0, "position", "0.1")
    saved = lists.editor.save()
    for position in (0.2, 0.3):
        lists.editor.load(saved)  # the same graph and node ids: the page keeps old elements
        assert lists.rows()[0]["position"] == 0.1
        lists.type(0, "position", str(position))
        assert lists.rows()[0]["position"] == position
    assert lists.editor.save()["nodes"][0]["widgets_values"][1:] == ["", "", True, 1, 9]


def test_undo_and_redo(lists: Lists, pictures: dict[str, Path]) -> None:
    lists.add()
    lists.page.evaluate("() => { app.canvas.emitBeforeChange(); app.canvas.emitAfterChange(); }")
    lists.upload(pictures["red"], pictures["green"])
    lists.type(1, "position", "last")
    lists.command("Comfy.Undo")
    assert "position" not in lists.rows()[1]
    lists.command("Comfy.Undo")
    assert lists.rows() == []
    expect(lists.shown()).to_have_count(0)
    lists.command("Comfy.Redo")
    assert lists.names() == ["red", "green"]
    lists.type(0, "strength", "0.5")
    assert lists.rows()[0]["strength"] == 0.5


def test_opening_a_file_leaves_a_list_as_tall_as_it_was(lists: Lists) -> None:
    size = "(id) => Math.round(app.graph.getNodeById(id).size[1])"
    node = lists.add(*THREE, *THREE)
    expect(lists.shown()).to_have_count(6)
    saved = lists.editor.save()
    tall = saved["nodes"][0]["size"][1]
    lists.editor.load(saved)
    expect(lists.shown()).to_have_count(6)
    assert lists.page.evaluate(size, node) == pytest.approx(tall, abs=1)


def test_a_copy_is_a_list_of_its_own(lists: Lists) -> None:
    node = lists.add(*THREE)
    copy = lists.page.evaluate(
        """(id) => {
          const copy = app.graph.getNodeById(id).clone();
          copy.pos = [700, 120];
          app.graph.add(copy);
          return copy.id;
        }""",
        node,
    )
    expect(lists.shown()).to_have_count(6)
    lists.type(3, "position", "0.7")
    assert lists.rows(copy)[0]["position"] == 0.7
    assert "position" not in lists.rows(node)[0]


def test_graph_and_app_view_show_one_list(lists: Lists, pictures: dict[str, Path]) -> None:
    node = lists.add(*THREE)
    preview = lists.editor.add("PreviewAny")
    workflow = lists.editor.save()
    linear = {"inputs": [[node, "value"]], "outputs": [preview]}
    workflow["extra"] = {"linearData": linear, "linearMode": True}
    lists.editor.load(workflow)
    expect(lists.shown()).to_have_count(3)
    lists.page.get_by_text("Keyframes").filter(visible=True).first.wait_for()  # its title
    lists.type(1, "position", "0.5")
    lists.upload(pictures["red"])
    assert (lists.rows()[1]["position"], len(lists.rows())) == (0.5, 4)
    lists.command("Comfy.ToggleLinear")
    expect(lists.shown()).to_have_count(4)
    lists.type(0, "position", "first")
    lists.command("Comfy.ToggleLinear")
    expect(lists.shown()).to_have_count(4)
    lists.remove(3)
    assert [row.get("position") for row in lists.rows()] == ["first", 0.5, None]


def test_the_classic_canvas(lists: Lists) -> None:
    set_vue = "(on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    lists.page.evaluate(set_vue, False)
    try:
        lists.page.wait_for_timeout(300)
        node = lists.add(*THREE)
        expect(lists.shown()).to_have_count(3)
        holds_all = "(node) => node.size[1] >= node.computeSize()[1]"
        assert lists.page.evaluate(f"(id) => ({holds_all})(app.graph.getNodeById(id))", node)
        lists.type(2, "position", "last")
        assert lists.rows()[2]["position"] == "last"
    finally:
        lists.page.evaluate(set_vue, True)
        lists.page.wait_for_timeout(300)


def test_the_prompt_carries_the_text(lists: Lists) -> None:
    node = lists.add(*THREE, name="keyframes")
    inputs = lists.editor.api_prompt()[str(node)]["inputs"]
    assert json.loads(inputs.pop("value")) == THREE
    assert inputs == {
        "name": "keyframes", "description": "", "required": True, "min_rows": 1, "max_rows": 9,
    }  # fmt: skip


# --- LoRA stack -----------------------------------------------------------------------------------

GONE = {"lora": "old/gone.safetensors", "strength": -0.25, "on": True}


@pytest.fixture
def files(lists: Lists, object_info: dict[str, Any]) -> Iterator[list[str]]:
    """LoRA files that the server lists, as after a refresh; the server's own come back."""
    described = object_info["CallsheetLoraStack"]
    names = ["film-grain.safetensors", "wan/Turbo_rank32.safetensors", "wan/detail.safetensors"]
    changed = json.loads(json.dumps(described))
    for column in changed["input"]["required"]["rows"][1]["columns"]:
        if column["name"] == "lora":
            column["choices"] = names
    refresh = """(definition) => app.extensions.find((one) => one.name === "callsheet.lists")
      .refreshComboInNodes({ CallsheetLoraStack: definition })"""
    lists.page.evaluate(refresh, changed)
    yield names
    lists.page.evaluate(refresh, described)


def test_a_lora_is_searched_and_added(lists: Lists, files: list[str]) -> None:
    lists.add_loras()
    lists.page.get_by_text("+ LoRA").click()
    expect(lists.menu().get_by_role("option")).to_have_text(files)
    lists.page.keyboard.type("wan 32")
    expect(lists.menu().get_by_role("option")).to_have_text([files[1]])
    lists.page.keyboard.press("Enter")
    expect(lists.menu()).to_have_count(0)
    assert lists.loras() == [{"lora": files[1], "strength": 1, "on": True}]
    lists.cell(0, "lora").click()
    lists.page.keyboard.press("ArrowDown")
    lists.page.keyboard.press("Enter")
    assert lists.loras()[0]["lora"] == files[2]
    lists.page.keyboard.press("Enter")  # the focus is where the menu was opened
    expect(lists.menu()).to_have_count(1)
    lists.page.keyboard.press("Escape")
    expect(lists.menu()).to_have_count(0)
    assert lists.loras() == [{"lora": files[2], "strength": 1, "on": True}]


def test_lora_cells(lists: Lists, files: list[str]) -> None:
    lists.add_loras({"lora": files[0]}, GONE)
    lists.type(0, "strength", "0,5")
    assert lists.loras()[0] == {"lora": files[0], "strength": 0.5}
    lists.cell(0, "strength").press("ArrowUp")
    lists.cell(0, "strength").press("Enter")
    lists.cell(0, "on").click()
    assert lists.loras() == [{"lora": files[0], "strength": 0.55, "on": False}, GONE]
    lists.cell(0, "on").press("Space")
    lists.type(0, "strength", "1000")
    assert lists.loras()[0] == {"lora": files[0], "strength": 100, "on": True}
    lists.type(0, "strength", "")
    assert "strength" not in lists.loras()[0]


@pytest.mark.usefixtures("files")
def test_nothing_that_is_not_understood_is_lost(lists: Lists) -> None:
    strange = {"lora": 7, "strength": [1], "on": "yes", "note": {"by": "me"}}
    lists.add_loras(GONE, strange)
    expect(lists.cell(0, "lora")).to_have_text("old/gone")
    expect(lists.cell(0, "lora")).to_have_class("choice missing")
    expect(lists.shown().nth(1).locator(".extra")).to_have_attribute("title", re.compile("by"))
    lists.type(0, "strength", "0.5")
    assert lists.loras() == [{**GONE, "strength": 0.5}, strange]
    lists.handle(0).press("ArrowDown")
    assert lists.loras() == [strange, {**GONE, "strength": 0.5}]
    lists.type(0, "strength", "no JSON")
    assert lists.cell(0, "strength").input_value() == "[1]"
    lists.type(0, "strength", "0.25")
    lists.type(0, "on", "")
    lists.cell(0, "on").click()  # a switch again
    assert lists.loras()[0] == {"lora": 7, "strength": 0.25, "on": False, "note": {"by": "me"}}


def test_a_refresh_asks_the_server_again(lists: Lists, files: list[str]) -> None:
    lists.add_loras({"lora": files[0]})
    expect(lists.cell(0, "lora")).to_have_class("choice")
    lists.command("Comfy.RefreshNodeDefinitions")  # the server has no such file
    expect(lists.cell(0, "lora")).to_have_class("choice missing")
    assert lists.loras() == [{"lora": files[0]}]


def test_the_list_as_text(lists: Lists, files: list[str]) -> None:
    lists.add_loras({"lora": files[0]})
    lists.page.get_by_title("edit as text").click()
    area = lists.page.locator(".callsheet-rows textarea")
    assert json.loads(area.input_value()) == [{"lora": files[0]}]
    area.fill("[{]")
    area.blur()
    assert lists.editor.value(1, "rows") == "[{]"
    area.fill(json.dumps([GONE, GONE]))
    area.blur()
    lists.page.get_by_title("edit as a list").click()
    expect(lists.shown()).to_have_count(2)
    assert lists.loras() == [GONE, GONE]


# --- speakers -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds."""
    path = tmp_path_factory.mktemp("sounds") / "voice.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(32000))
    return path


def test_a_speaker_is_added_and_heard(lists: Lists, voice: Path) -> None:
    lists.add_speakers()
    lists.upload(voice)
    assert lists.rows() == [{"audio": "voice.wav"}]
    player = lists.shown().locator(".player")
    expect(player.locator(".time")).to_have_text("0:02")
    player.get_by_title("play").click()
    player.get_by_title("pause").click()
    player.locator("input").fill("0.5")
    expect(player.locator(".time")).to_have_text("0:01 / 0:02")


def test_a_box_of_four_numbers(lists: Lists) -> None:
    lists.add_speakers({"audio": "voice.wav"})
    for side, text in zip("xyw", ("0", "0.1", "0.5"), strict=True):
        lists.type(0, f"bbox.{side}", text)
    assert lists.rows()[0]["bbox"] == [0, 0.1, 0.5, None]  # kept; the server asks for the rest
    expect(lists.shown().locator(".box")).to_have_class("box partial")
    edges = [lists.cell(0, f"bbox.{side}").evaluate(BORDER) for side in "xywh"]
    assert edges[0] == edges[1] == edges[2] != edges[3]  # what is missing is marked
    lists.type(0, "bbox.h", "-3")
    assert lists.rows()[0]["bbox"] == [0, 0.1, 0.5, 0]
    lists.type(0, "bbox.h", "300")
    expect(lists.shown().locator(".unit")).to_have_text("px")
    for side in "xywh":
        lists.type(0, f"bbox.{side}", "")
    assert lists.rows() == [{"audio": "voice.wav"}]


def test_a_mask_comes_and_goes(lists: Lists, pictures: dict[str, Path]) -> None:
    lists.add_speakers({"audio": "voice.wav", "bbox": [0, 0, 1, 1]})
    lists.choose_file(lists.shown().get_by_text("+ mask"), pictures["red"])
    lists.page.wait_for_function(
        "() => document.querySelector('.callsheet-row img')?.naturalWidth === 64"
    )
    kept = {"audio": "voice.wav", "bbox": [0, 0, 1, 1]}
    assert lists.rows() == [{**kept, "mask": "red.png"}]
    lists.shown().get_by_title("no mask").click()
    assert lists.rows() == [kept]


def test_a_missing_sound_is_replaced(lists: Lists, voice: Path) -> None:
    lists.add_speakers({"audio": "gone.wav", "bbox": "all"})
    lists.choose_file(lists.shown().get_by_text("no such audio"), voice)
    expect(lists.shown().locator(".player")).to_have_count(1)
    assert lists.rows() == [{"audio": "voice.wav", "bbox": "all"}]
    assert lists.cell(0, "bbox").input_value() == '"all"'


def test_all_lists_in_app_view(lists: Lists, files: list[str], voice: Path) -> None:
    loras = lists.add_loras({"lora": files[0]})
    speakers = lists.add_speakers()
    preview = lists.editor.add("PreviewAny")
    workflow = lists.editor.save()
    linear = {"inputs": [[loras, "rows"], [speakers, "value"]], "outputs": [preview]}
    workflow["extra"] = {"linearData": linear, "linearMode": True}
    lists.editor.load(workflow)
    expect(lists.shown()).to_have_count(1)
    lists.cell(0, "lora").click()
    lists.menu().get_by_text(files[2]).click()
    lists.choose_file(lists.page.locator(".add", has_text="audio").filter(visible=True), voice)
    expect(lists.shown()).to_have_count(2)
    lists.type(1, "bbox.x", "0.5")
    lists.command("Comfy.ToggleLinear")
    expect(lists.shown()).to_have_count(2)
    assert lists.loras(loras) == [{"lora": files[2]}]
    assert lists.rows(speakers) == [{"audio": "voice.wav", "bbox": [0.5, None, None, None]}]
    lists.cell(0, "on").click()
    lists.command("Comfy.Undo")
    assert lists.loras(loras) == [{"lora": files[2]}]


# --- single files ---------------------------------------------------------------------------------


def test_file_parameters_keep_their_widgets(lists: Lists, voice: Path) -> None:
    editor = lists.editor
    for kind in ("Image", "Audio", "Video"):
        editor.add(f"Callsheet{kind}", title=kind)
    assert [editor.value(node) for node in (1, 2, 3)] == ["", "", ""]
    player = lists.page.locator("[data-node-id='2'] audio")
    assert player.filter(visible=True).count() == 0
    with lists.page.expect_file_chooser() as chooser:
        lists.page.locator("[data-node-id='2'] input[type=file]").evaluate("(e) => e.click()")
    chooser.value.set_files(str(voice))
    player.filter(visible=True).wait_for()
    assert editor.value(2) == "voice.wav"
    saved = editor.save()
    values = {node["title"]: node["widgets_values"] for node in saved["nodes"]}
    assert values["Image"][:4] == ["", "", "", True]
    assert values["Audio"][:5] == ["voice.wav", "", "", True, 0]
    assert values["Video"][:4] == ["", "", "", True]
    prompt = editor.api_prompt()
    assert set(prompt["2"]["inputs"]) == {
        "value", "name", "description", "required", "max_duration",
    }  # fmt: skip
    editor.load(saved)
    assert editor.value(2) == "voice.wav"
    assert "filename=voice.wav" in (player.get_attribute("src") or "")
