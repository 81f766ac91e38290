"""Both languages are whole: Chinese in the pack's locales, English in the schema and the scripts."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from runner import settings as runner_settings
from runner import workflow as workflows

from editor import Editor

PACKS = Path(__file__).parents[2] / "custom_nodes"
PACK, MENU = PACKS / "callsheet", PACKS / "callsheet_editor"
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def read(pack: Path, language: str, file: str) -> dict[str, Any]:
    return json.loads((pack / "locales" / language / file).read_text())


def key(name: str) -> str:
    """As the editor writes names into the keys of its translations."""
    return name.replace(".", "_")


def inputs_of(node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every input that the editor can show, with its options; also those of a choice's own."""
    groups = [node["input"]["required"], node["input"].get("optional", {})]
    for name, (kind, options) in ((n, s) for group in groups for n, s in group.items()):
        yield name, options
        for choice in options["options"] if kind == "COMFY_DYNAMICCOMBO_V3" else []:
            for inner_group in choice["inputs"].values():
                for inner, (_, inner_options) in inner_group.items():
                    yield f"{name}.{inner}", inner_options


def wanted(node: dict[str, Any]) -> dict[str, Any]:
    """The keys of a node's translations, with what they stand for in English."""
    inputs: dict[str, Any] = {}
    for name, options in inputs_of(node):
        inputs[key(name)] = {"name": name, "tooltip": options.get("tooltip")}
        if "columns" in options:
            said = ("label", "tooltip", "none", "placeholders")
            inputs[key(name)]["columns"] = {
                column["name"]: {word: column[word] for word in said if word in column}
                for column in options["columns"]
            }
        if options.get("control_after_generate"):
            inputs.setdefault("control_after_generate", None)
    return {
        "display_name": node["display_name"],
        "description": node["description"],
        "inputs": inputs,
        "outputs": {
            str(i): {"name": name, "tooltip": tooltip}
            for i, (name, tooltip) in enumerate(
                zip(node["output_name"], node["output_tooltips"], strict=True)
            )
        },
    }


def paths(tree: Any, *, at: str = "") -> set[str]:
    """Every key of nested objects, as one text each."""
    if not isinstance(tree, dict):
        return {at}
    return {p for name, inner in tree.items() for p in paths(inner, at=f"{at}/{name}")}


@pytest.fixture(scope="module")
def ours(object_info: dict[str, Any]) -> dict[str, Any]:
    return {
        name: node
        for name, node in object_info.items()
        if node["python_module"] == "custom_nodes.callsheet"
    }


def test_every_node_input_output_and_column_is_in_chinese(ours: dict[str, Any]) -> None:
    there = paths(read(PACK, "zh", "nodeDefs.json"))
    meant = {p for name, node in ours.items() for p in paths(wanted(node), at=f"/{name}")}
    optional = re.compile(
        r"/inputs/(control_after_generate(/\w+)?|\w+/columns/\w+/(placeholders|label|none))$"
    )
    assert sorted(p for p in meant - there if not optional.search(p)) == []
    assert sorted(p for p in there - meant if not optional.search(p)) == []


def test_what_is_said_in_chinese_is_chinese() -> None:
    def texts(tree: Any) -> Iterator[str]:
        for inner in tree.values() if isinstance(tree, dict) else [tree]:
            yield from texts(inner) if isinstance(inner, dict) else [inner]

    said = list(texts(read(PACK, "zh", "nodeDefs.json")))
    latin = {text for text in said if not CHINESE.search(text)}
    assert {text for text in latin if len(text) > 12} == set()


def test_english_stands_in_the_schema_alone(ours: dict[str, Any]) -> None:
    # The editor falls back to it; a copy in locales/en could only drift.
    assert not (PACK / "locales" / "en" / "nodeDefs.json").exists()
    for node in ours.values():
        texts = [node["display_name"], node["description"], *node["output_tooltips"]]
        assert not any(CHINESE.search(text) for text in texts)


def test_every_word_of_the_scripts_is_in_chinese() -> None:
    scripts = "\n".join(file.read_text() for file in (PACK / "web" / "js").glob("*.js"))
    said = {json.loads(f'"{text}"') for text in re.findall(r'\bsay\("((?:[^"\\]|\\.)*)"', scripts)}
    cells = (PACK / "web" / "js" / "cells.js").read_text()
    kinds = re.findall(r"^  (\w+): \{ fits", cells, re.MULTILINE)
    sides = re.findall(r'\w: "([a-z ]+)"', re.search(r"const SIDES = \{(.*)\}", cells)[1])  # type: ignore[index]
    assert len(kinds) == 9 and len(sides) == 4
    assert {*said, *kinds, *sides} == set(read(PACK, "zh", "main.json")["callsheet"]["words"])


def test_the_menu_says_the_same_in_both_languages() -> None:
    for file in ("main.json", "commands.json"):
        assert paths(read(MENU, "en", file)) == paths(read(MENU, "zh", file))
    scripts = "\n".join(file.read_text() for file in (MENU / "web" / "js").glob("*.js"))
    words = read(MENU, "en", "main.json")["callsheet"]["menu"]
    assert set(re.findall(r"\bt\.(\w+)", scripts)) == set(words)


def test_every_workflow_has_a_title_and_a_description_in_both_languages() -> None:
    folders = runner_settings.from_environment().workflows
    names = {found.name for found in workflows.released(folders)}
    for language in ("en", "zh"):
        said = read(MENU, language, "main.json")["callsheet"]["templates"]
        assert set(said) == names
        # The template browser shows a - or _ in a description as a space.
        assert not [
            text for one in said.values() for text in re.findall("[-_]", one["description"])
        ]


def set_language(server: str, language: str) -> None:
    request = urllib.request.Request(
        f"{server}/api/settings/Comfy.Locale", data=json.dumps(language).encode(), method="POST"
    )
    urllib.request.urlopen(request, timeout=30).close()


def test_the_editor_speaks_chinese(editor: Editor, server: str) -> None:
    page = editor.page.context.new_page()
    chinese = Editor(page, server)
    set_language(server, "zh")
    try:
        chinese.open()
        chinese.add("CallsheetKeyframes", value=json.dumps([{"image": "nothing.png"}]))
        expect(page.get_by_text("找不到图片")).to_be_visible()
        expect(page.get_by_text("+ 图片")).to_be_visible()
        expect(page.locator(".lg-node-header").get_by_text("关键帧（参数）")).to_be_visible()
        page.evaluate("() => app.extensionManager.command.execute('Callsheet.Check')")
        expect(page.get_by_text("重新检查")).to_be_visible()
        assert chinese.complaints == []
    finally:
        set_language(server, "en")
        page.close()
        editor.page.bring_to_front()
