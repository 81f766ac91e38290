"""Values on their way into a workflow: from text, then into its parameter nodes. Pure."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.graph import is_api_format
from runner.parameters.declared import Parameter
from runner.parameters.kinds import MEDIA, ROWS
from runner.parameters.rows import node_row
from runner.workflow import Document, nodes


def from_text(parameters: Sequence[Parameter], texts: Mapping[str, str]) -> dict[str, Any]:
    """Command-line texts as typed values; what does not fit its type stays for validate() to name."""
    by_name = {p.name: p for p in parameters}
    return {
        name: _typed(by_name[name].kind, text) if name in by_name else text
        for name, text in texts.items()
    }


def _typed(kind: str, text: str) -> Any:
    if kind == "boolean":
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        return words.get(text.lower(), text)
    reads: Mapping[str, Callable[[str], Any]] = {
        "integer": int,
        "seed": int,
        "number": float,
        **dict.fromkeys(ROWS, json.loads),
    }
    try:
        return reads[kind](text) if kind in reads else text
    except ValueError:
        return text


def fill(
    document: Document, parameters: Sequence[Parameter], values: Mapping[str, Any]
) -> Document:
    """The workflow with the job's values in its parameter nodes; it shares what is not filled. Pure."""
    by_id = {parameter.node_id: parameter for parameter in parameters}
    if is_api_format(document):
        return {
            node_id: _filled_prompt(node, by_id[node_id], values) if node_id in by_id else node
            for node_id, node in document.items()
        }
    filled = (
        _filled(node, by_id[str(node.get("id"))], values) if str(node.get("id")) in by_id else node
        for node in nodes(document)
    )
    return {**document, "nodes": list(filled)}


def _filled_prompt(
    node: Mapping[str, Any], parameter: Parameter, values: Mapping[str, Any]
) -> dict[str, Any]:
    stored = _stored(parameter, values[parameter.name])
    return {**node, "inputs": {**node["inputs"], "value": stored}}


def _filled(
    node: Mapping[str, Any], parameter: Parameter, values: Mapping[str, Any]
) -> dict[str, Any]:
    stored = copy.copy(node["widgets_values"])
    names = ("value", "control_after_generate") if isinstance(stored, dict) else (0, 1)
    stored[names[0]] = _stored(parameter, values[parameter.name])
    if parameter.kind == "seed":
        stored[names[1]] = "fixed"  # opened in the editor, the file renders this video again
    return {**node, "widgets_values": stored}


def _stored(parameter: Parameter, value: Any) -> Any:
    """What the node holds: "not given" is an empty text, a 0 or no rows.

    A file's name and the text of rows are taken as they are; a list of rows becomes such a text.
    """
    if parameter.kind in ROWS:
        if isinstance(value, str):
            return value
        return json.dumps([node_row(row, ROWS[parameter.kind]) for row in value or ()])
    return ("" if parameter.kind in ("text", *MEDIA) else 0) if value is None else value
