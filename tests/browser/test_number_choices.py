"""An Integer's list of numbers in the real editor: what may be typed and stepped to, what is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editor import Editor

FPS: dict[str, Any] = {"min": 24, "max": 30, "step": 1, "choices": "24, 25, 30", "value": 30}


def test_a_typed_number_becomes_the_nearest_of_the_list(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", title="FPS", **FPS)
    typed = [editor.type_number(node, text) for text in ("27", "29", "26", "0", "60")]
    assert typed == [25, 30, 25, 24, 30]
    assert editor.shown(node) == "30"
    assert editor.complaints == []


def test_arrows_go_from_one_to_the_next(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", title="FPS", **FPS)
    down = [editor.press(node, "ArrowDown") for _ in range(3)]
    up = [editor.press(node, "ArrowUp") for _ in range(3)]
    assert (down, up) == ([25, 24, 24], [25, 30, 30])
    assert editor.shown(node) == "30"


def test_0_is_not_given_where_the_list_lacks_it(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", title="FPS", required=False, **FPS)
    assert editor.type_number(node, "0") == 0
    assert editor.press(node, "ArrowUp") == 24
    assert editor.press(node, "ArrowDown") == 0
    assert editor.type_number(node, "5") == 24


def test_a_file_from_before_the_list_opens_without_one(editor: Editor) -> None:
    node = editor.add("CallsheetInteger", title="Steps", min=1, max=40, step=1, value=20)
    saved = editor.save()
    (only,) = (n for n in saved["nodes"] if n["id"] == node)
    assert only["widgets_values"].pop() == ""
    only["inputs"] = [slot for slot in only["inputs"] if slot["name"] != "choices"]
    editor.load(saved)
    assert editor.value(node, "choices") == ""
    assert editor.type_number(node, "33") == 33
