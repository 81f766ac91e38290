"""A file is converted once per engine, unless chance or the date has a part in its prompt."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from runner import prompt as prompts
from runner.graph import to_api
from runner.job import Job
from runner.request import check
from runner.workflow import Workflow

from workflows import document, parameter

WORDS = ["STRING", {"dynamicPrompts": True}]
INFO: dict[str, Any] = {
    "CallsheetText": {"input": {"required": {"value": ["STRING", {}]}}, "output": ["STRING"]},
    "CallsheetSeed": {"input": {"required": {"value": ["INT", {}]}}, "output": ["INT"]},
    "Encode": {"input": {"required": {"text": ["STRING", {}], "style": WORDS, "seed": ["INT", {}]}},
               "output": [], "output_node": True},
}  # fmt: skip


def workflow(style: str, *more: dict[str, Any]) -> Workflow:
    encode = {
        "id": 3, "type": "Encode", "title": "Encode", "outputs": [],
        "inputs": [{"name": "text", "type": "STRING", "widget": {"name": "text"}, "link": 1},
                   {"name": "style", "type": "STRING", "widget": {"name": "style"},
                    "link": 3 if more else None},
                   {"name": "seed", "type": "INT", "widget": {"name": "seed"}, "link": 2}],
        "widgets_values": ["", style, 0],
    }  # fmt: skip
    text = parameter("Text", 1, "a boat", "prompt", "What is seen.", False, 0, 100)
    text["outputs"] = [{"name": "value", "type": "STRING", "links": [1]}]
    seed = parameter("Seed", 2, 1, "fixed", "seed", "Draws.", False)
    seed["outputs"] = [{"name": "value", "type": "INT", "links": [2]}]
    source = document(text, seed, encode, *more)
    source["links"] = [[1, 1, 0, 3, 0, "STRING"], [2, 2, 0, 3, 2, "INT"]]
    source["links"] += [[3, 4, 0, 3, 1, "STRING"]] if more else []
    return Workflow(source, None, "w", "1.0.0")


def sent(found: Workflow, info: Mapping[str, Any] = INFO, **params: Any) -> dict[str, Any]:
    return prompts.of(check(Job("j", "w", params), found), info)["3"]["inputs"]


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    made: list[Any] = []

    def counted(*args: Any, **options: Any) -> Any:
        made.append(args)
        return to_api(*args, **options)

    monkeypatch.setattr(prompts, "to_api", counted)
    return made


def test_one_conversion_serves_all_jobs(conversions: list[Any]) -> None:
    found = workflow("oil")
    before = copy.deepcopy(found.document)
    for seed, text in enumerate(["a kite", "{a|b} %date:yyyy%", "// c"]):
        expected = {"text": text, "style": "oil", "seed": seed}
        assert sent(found, prompt=text, seed=seed) == expected
    assert sent(found, seed=5)["text"] == "a boat"
    assert len(conversions) == 1
    assert found.document == before


def test_another_engine_may_know_other_nodes(conversions: list[Any]) -> None:
    found, other = workflow("oil"), copy.deepcopy(INFO)
    other["Encode"]["input"]["required"]["size"] = ["INT", {"default": 64}]
    assert "size" not in sent(found, seed=1)
    assert sent(found, other, seed=1)["size"] == 64
    assert len(conversions) == 2


def test_what_is_drawn_is_drawn_by_each_jobs_seed() -> None:
    found = workflow("{oil|ink|chalk|wax}")
    drawn = [sent(found, seed=seed)["style"] for seed in range(20)]
    assert set(drawn) == {"oil", "ink", "chalk", "wax"}
    assert drawn == [sent(found, seed=seed)["style"] for seed in range(20)]


def test_a_primitives_date_is_the_jobs_own() -> None:
    primitive = {
        "id": 4, "type": "PrimitiveNode", "title": "Date", "inputs": [],
        "outputs": [{"name": "STRING", "type": "STRING", "links": [3], "widget": {"name": "style"}}],
        "widgets_values": ["%date:yyyy%"], "properties": {"Run widget replace on values": True},
    }  # fmt: skip
    assert sent(workflow("", primitive), seed=1)["style"].isdecimal()
