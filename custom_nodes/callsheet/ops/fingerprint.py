"""What made a node's result, as one hash over the graph before it. Pure.

Ids, titles and the names of input files do not count; the files' contents do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from typing import Any

# What every parameter node of the pack has. What a parameter is called makes no frames.
PARAMETER = {"value", "name", "description", "required"}
WORDING = {"name", "description"}

Node = dict[str, Any]  # {"class_type": …, "inputs": {name: value or [node id, output]}}
Find = Callable[[str], Node | None]
# What stands for a text that names a file; None for any other text.
Identify = Callable[[str], Any]


def fingerprint(
    node_id: str, *, find: Find, identify: Identify, version: str, ignore: Collection[str] = ()
) -> str:
    """Hex, 64 characters. `ignore` names inputs of the node itself that change nothing."""
    known: dict[str, str] = {}

    def of_node(node_id: str, ignore: Collection[str] = ()) -> str:
        if node_id not in known:
            node = find(node_id) or {}
            known[node_id] = digest(
                [node.get("class_type"), [[n, of_value(v)] for n, v in counted(node, ignore)]]
            )
        return known[node_id]

    def of_value(value: Any) -> Any:
        if is_link(value, find):
            return {"link": [of_node(value[0]), value[1]]}
        if isinstance(value, dict):
            return {name: of_value(each) for name, each in value.items()}
        if isinstance(value, list):
            return [of_value(each) for each in value]
        return of_text(value) if isinstance(value, str) else value

    def of_text(text: str) -> Any:
        found = identify(text)
        if found is not None:
            return {"file": found}
        rows = parsed(text)
        return text if rows is None else {"json": of_value(rows)}

    return digest([version, of_node(node_id, ignore)])


def counted(node: Node, ignore: Collection[str]) -> list[tuple[str, Any]]:
    """The inputs that matter, by name."""
    inputs = node.get("inputs", {})
    skipped = {*ignore, *(WORDING if inputs.keys() >= PARAMETER else ())}
    return [(name, inputs[name]) for name in sorted(inputs.keys() - skipped)]


def is_link(value: Any, find: Find) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
        return False
    return isinstance(value[1], int) and find(value[0]) is not None


def parsed(text: str) -> Any:
    """The rows of a list parameter, which is a text of JSON; None for any other text."""
    if text.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
