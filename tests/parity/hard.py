"""The hard cases' recorded truth: what the everyday test compares with, without a browser."""

import json
from collections.abc import Iterator
from typing import Any

from cases import HARD_CASES, Case
from comparison import Prompt

OBJECT_INFO = HARD_CASES / "object_info.json"
_NOT_NEEDED = {"tooltip", "description", "category", "search_aliases", "output_tooltips", "help"}


def truth(case: Case) -> Prompt | None:
    """What the editor sent when it was last recorded; None if it could make no prompt of it."""
    path = case.path.with_suffix(".truth.json")
    return json.loads(path.read_text()) if path.is_file() else None


def ours_instead(case: Case) -> dict[str, Any] | None:
    """Where we mean to differ from the editor: `why`, and a `prompt` or what the `error` says."""
    path = case.path.with_suffix(".ours.json")
    return json.loads(path.read_text()) if path.is_file() else None


def untitled(prompt: Prompt) -> Prompt:
    return {
        node_id: {key: value for key, value in node.items() if key != "_meta"}
        for node_id, node in prompt.items()
    }


def write_truth(case: Case, prompt: Prompt | None) -> None:
    path = case.path.with_suffix(".truth.json")
    if prompt is None:
        path.unlink(missing_ok=True)
        return
    nodes = [f"{json.dumps(id_)}: {_line(node)}" for id_, node in untitled(prompt).items()]
    path.write_text("{\n" + ",\n".join(nodes) + "\n}\n")


def write_object_info(cases: list[Case], object_info: dict[str, Any]) -> None:
    """Only the node types that hard cases use, without what is for people."""
    used = sorted({name for case in cases for name in _types(case.workflow())} & object_info.keys())
    lines = [f"{json.dumps(name)}: {_line(_trimmed(object_info[name]))}" for name in used]
    OBJECT_INFO.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _types(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("type"), str):
            yield value["type"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _types(item)


def _trimmed(value: Any, *, names: bool = False) -> Any:
    """`names`: the keys are those of inputs, which may be called "description" too."""
    if isinstance(value, dict):
        return {
            key: _trimmed(item, names=key in ("required", "optional", "hidden"))
            for key, item in value.items()
            if names or key not in _NOT_NEEDED
        }
    return [_trimmed(item) for item in value] if isinstance(value, list) else value


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
