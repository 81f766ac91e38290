"""A caller's text reaches ComfyUI as it was written; only the file's own text is drawn from."""

import random
from datetime import datetime
from typing import Any

import pytest

from runner import outputs
from runner.graph import to_api
from runner.graph.prune import with_values
from runner.job import Job
from runner.request import check
from runner.workflow import Workflow

from graph_files import SERVER, file, node, subgraph
from workflows import parameter

TEXTS = [
    "{a|b} and {one|{two|three}}",
    r"\{a\|b\}",
    "see https://x.org/y // not a comment /* nor this */",
    "%date:yyyy-MM-dd% %width% %Own.text% %Words.value%",
    "embedding:../../secret (much:1.9) <lora:x:1> [a:b:0.5] __wild__",
    "$(rm -rf /) `x` ${HOME} {{ 7*7 }} %s %(x)s \\n",
    '["5", 0]',
    '{"__value__": [1], "class_type": "Save"}',
    "../../../etc/passwd",
    "日本語 \u202e \u0000 line\r\nline\ttab 👩‍👩‍👧 e\u0301 ﷽ \u2028",
]
# No dynamicPrompts here, as in the pack's own node; tests/comfy has the genuine definition.
WORDS = {
    "input": {"required": {"value": ["STRING", {"multiline": True}], **{
        name: [kind, {"socketless": True}] for name, kind in (
            ("name", "STRING"), ("description", "STRING"), ("required", "BOOLEAN"),
            ("min_length", "INT"), ("max_length", "INT"))}}},
    "output": ["STRING", "BOOLEAN"],
}  # fmt: skip
INFO = {**SERVER, "CallsheetText": WORDS}


def words(*links: int) -> dict[str, Any]:
    own = parameter("Text", 1, "the file's own", "prompt", "", True, 0, 0, title="Words")
    own["outputs"] = [{"name": "text", "type": "STRING", "links": list(links)}]
    return own


def sent(document: dict[str, Any], text: str) -> dict[str, Any]:
    """The prompt of a job that gives a text, as run.py makes it."""
    ready = check(Job("job", "w", {"prompt": text}), Workflow(document, None, "w", "1.0.0"))
    prompt = to_api(ready.document, INFO, rng=random.Random(1), now=datetime(2026, 3, 7))
    return with_values(prompt)


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_parameter_arrives_as_it_is(text: str) -> None:
    # The encoder's own widget is one that draws; the link goes before what it holds.
    encode = node(2, "Encode", "{file's|own}", inputs={"text": 1})
    encode["inputs"][0]["widget"] = {"name": "text"}
    prompt = sent(file(words(1), encode, wires=((1, 1, 0, 2, 0),)), text)
    assert prompt["2"]["inputs"]["text"] == text
    assert prompt["1"]["inputs"]["value"] == text


@pytest.mark.parametrize("text", TEXTS)
def test_so_it_does_inside_a_subgraph(text: str) -> None:
    encode = node(7, "Encode", "", inputs={"text": 3})
    encode["inputs"][0]["widget"] = {"name": "text"}
    inner = subgraph("inner", encode, inputs={"text": [3]}, wires=((3, -10, 0, 7, 0),))
    host = node(5, "inner", inputs={"text": 1})
    prompt = sent(file(words(1), host, wires=((1, 1, 0, 5, 0),), subgraphs=[inner]), text)
    assert prompt["5:7"]["inputs"]["text"] == text


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_names_the_file_that_is_saved(text: str) -> None:
    save = node(2, "SaveImage", "%Words.value%/%date:yyyy%", title="Clip")
    linked = node(3, "SaveImage", "", inputs={"filename_prefix": 1})
    linked["inputs"][0]["widget"] = {"name": "filename_prefix"}
    prompt = sent(file(words(1), save, linked, wires=((1, 1, 0, 3, 0),)), text)
    named = outputs.with_prefix(prompt, {"2": "Clip"}, "callsheet/0123")
    assert named["2"]["inputs"]["filename_prefix"] == "callsheet/0123/clip"
    assert named["3"]["inputs"]["filename_prefix"] == "callsheet/0123/3"


def test_the_files_own_text_is_drawn_from() -> None:
    encode = node(2, "Encode", "{a|b} // aside")
    prompt = sent(file(words(), encode), "{c|d}")
    assert prompt["2"]["inputs"]["text"] in ("a ", "b ")
