"""Dynamic prompts and %replacements%."""

from datetime import datetime
from random import Random
from typing import Any

import pytest

from runner.graph.text import as_text, dynamic_prompt, format_date

from graph_files import inputs_of, node, prompt, subgraph

NOW = datetime(2026, 3, 7, 9, 5, 4)


def text(value: str, **more: Any) -> str:
    return inputs_of("1", node(1, "Encode", value), **more)["text"]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("plain", "plain"),
        ("a /* not\nthis */ cat", "a  cat"),
        ("a cat // on a mat\nsits", "a cat \nsits"),
        ("see https://x.org/y", "see https:"),
        ("{only}", "only"),
        ("{a|a}{b|{b|b}}", "ab"),
        (r"\{a\|b\}", "{a|b}"),
        (r"{a\|b}", "a|b"),
        ("{open", "open"),
        ("close}", "close}"),
        ('{"a": {"b": 1}}', '"a": "b": 1'),
        (r"C:\dir", r"C:\dir"),
    ],
)
def test_dynamic_prompts(written: str, sent: str) -> None:
    assert text(written) == sent


def test_a_choice_is_drawn_from_the_given_generator_and_repeats_without_one() -> None:
    written = "{" + "|".join(map(str, range(1000))) + "}"
    assert text(written) == text(written)
    assert len({text(written, rng=Random(seed)) for seed in range(5)}) > 1


def test_every_choice_is_drawn_and_only_choices_are() -> None:
    drawn = {dynamic_prompt("{a|{b|c}|}", Random(seed)) for seed in range(60)}
    assert drawn == {"a", "b", "c", ""}


def prefix(value: str, *others: dict[str, Any], **more: Any) -> str:
    save = node("save", "SaveImage", value)
    return inputs_of("save", save, *others, **more)["filename_prefix"]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("%date:yyyy-MM-dd%/clip", "2026-03-07/clip"),
        ("%date:yy_M_d-hh.mm.ss%", "26_3_7-09"),  # a dot ends the format, in the editor too
        ("%date:hh.mm%", "%date:hh.mm%"),
        ("%date:hhmmss%", "090504"),
        ("%width%x%height%", "%width%x%height%"),
        ("%A Source.width%", "64"),
        ("%Renamed.text%", "a_b_c"),
        ("%Nobody.text%", "%Nobody.text%"),
        ("%Renamed.nothing%", "%Renamed.nothing%"),
        ("100% sure", "100% sure"),
    ],
)
def test_patterns_in_a_file_name(written: str, sent: str) -> None:
    others = [
        node(1, "Source", 64),
        node(2, "Encode", "a/b:c", properties={"Node name for S&R": "Renamed"}),
    ]
    assert prefix(written, *others, now=NOW) == sent


def test_patterns_find_nodes_in_subgraphs() -> None:
    inner = subgraph("inner", node(7, "Source", 96, title="Deep"))
    assert prefix("%Deep.width%", node(5, "inner"), subgraphs=[inner]) == "96"


def test_dates_stay_without_a_clock() -> None:
    assert prefix("%date:yyyy%") == "%date:yyyy%"


def test_only_file_names_of_save_nodes_have_patterns() -> None:
    assert text("%date:yyyy%", now=NOW) == "%date:yyyy%"


def test_a_primitive_replaces_patterns_if_it_is_told_to() -> None:
    def pushed(replaces: bool) -> Any:
        properties = {"Run widget replace on values": replaces}
        primitive = node(5, "PrimitiveNode", "%date:yyyy%", outputs=[("STRING", 1)],
                         properties=properties)  # fmt: skip
        encode = node(6, "Encode", "old", inputs={"text": 1})
        return prompt(primitive, encode, wires=((1, 5, 0, 6, 1),), now=NOW)["6"]["inputs"]["text"]

    assert pushed(True) == "2026"
    assert pushed(False) == "%date:yyyy%"


def test_date_parts() -> None:
    assert format_date("d dd M MM yy yyy yyyy h m s", NOW) == "7 07 3 03 26 yyy 2026 9 5 4"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, "1"),
        (0.5, "0.5"),
        (True, "true"),
        (None, ""),
        ([1, "a"], "1,a"),
        ({}, "[object Object]"),
    ],
)
def test_values_as_javascript_writes_them(value: Any, written: str) -> None:
    assert as_text(value) == written
