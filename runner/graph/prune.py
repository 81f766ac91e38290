"""What parameters decide, settled before ComfyUI sees it: their values, and branches. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.shape import mapping, sequence

ApiPrompt = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class _Switch:
    """A lazy node that passes one of its inputs on: which one, once its selector is known."""

    selector: str
    chosen: Callable[[Any], str]


# Passes its input on, or nothing: then what it feeds is not linked at all.
_GATE, _GATE_SELECTOR, _GATED = "CallsheetOnlyIf", "enabled", "passed"

_SWITCHES: Mapping[str, _Switch] = {
    "ComfySwitchNode": _Switch("switch", lambda on: "on_true" if on else "on_false"),
    "CallsheetPick": _Switch("index", lambda index: f"option{index}"),
}


def drop_decided(prompt: ApiPrompt, object_info: Mapping[str, Any]) -> ApiPrompt:
    """The prompt with decided switches replaced by their chosen input, a closed gate by no link.

    Nodes that no output needs any more are left out. A switch is decided if its selector is a
    literal or comes straight from a parameter node. A switch whose chosen input is not linked
    stays: ComfyUI says what is wrong with it.
    """
    taken = {node_id: link for node_id in prompt if (link := _decided(prompt, node_id))}
    closed = {node_id for node_id in prompt if _closed(prompt, node_id)}
    rewired: ApiPrompt = {
        node_id: {**node, "inputs": _rewired(node["inputs"], taken, closed)}
        for node_id, node in prompt.items()
        if node_id not in taken
    }
    needed = needed_nodes(rewired, object_info)
    # Without an output there is nothing to prune for: ComfyUI refuses such a prompt by itself.
    return {i: n for i, n in rewired.items() if i in needed} if needed else prompt


def with_values(prompt: ApiPrompt) -> ApiPrompt:
    """The prompt with parameter nodes' values in place of the links to them.

    ComfyUI checks only literals when a prompt is queued: a value that comes by link, however wrong,
    is found out by the node that gets it, after the models are loaded.
    """
    return {
        node_id: {**node, "inputs": {k: _value(prompt, v) for k, v in node["inputs"].items()}}
        for node_id, node in prompt.items()
    }


def _value(prompt: ApiPrompt, value: Any) -> Any:
    if not _is_link(value, prompt):
        return value
    own = str(prompt[str(value[0])]["class_type"]).startswith("Callsheet")
    known = _constant(prompt, value) if own else None
    return value if known is None else known


def needed_nodes(prompt: ApiPrompt, object_info: Mapping[str, Any]) -> set[str]:
    """The ids of the nodes that save something, and of all that lead to them: what is run."""
    return _upstream(prompt, [i for i, node in prompt.items() if _saves(node, object_info)])


def _decided(prompt: ApiPrompt, node_id: str) -> list[Any] | None:
    node = prompt[node_id]
    if node["class_type"] == _GATE:
        passes = _constant(prompt, node["inputs"].get(_GATE_SELECTOR)) is True
        return node["inputs"].get(_GATED) if passes else None
    switch = _SWITCHES.get(node["class_type"])
    if switch is None:
        return None
    value = _constant(prompt, node["inputs"].get(switch.selector))
    chosen = None if value is None else node["inputs"].get(switch.chosen(value))
    return chosen if _is_link(chosen, prompt) else None


def _closed(prompt: ApiPrompt, node_id: str) -> bool:
    """Whether the node is a gate that passes nothing on."""
    node = prompt[node_id]
    selector = node["inputs"].get(_GATE_SELECTOR)
    return node["class_type"] == _GATE and _constant(prompt, selector) is False


def _rewired(
    inputs: Mapping[str, Any], taken: Mapping[str, list[Any]], closed: set[str]
) -> dict[str, Any]:
    ends = {name: _follow(value, taken) for name, value in inputs.items()}
    return {k: v for k, v in ends.items() if not (_is_link(v, dict.fromkeys(closed)))}


def _constant(prompt: ApiPrompt, value: Any) -> Any:
    """What a link brings, as far as the graph itself says it; else None."""
    if not _is_link(value, prompt):
        return value
    source, slot = prompt[str(value[0])], value[1]
    inputs: Mapping[str, Any] = source["inputs"]
    given = inputs.get("value")
    match source["class_type"], slot:
        case (("CallsheetBoolean" | "CallsheetInteger" | "CallsheetChoice" | "CallsheetText"
               | "CallsheetNumber" | "CallsheetSeed" | "PrimitiveBoolean" | "PrimitiveInt"),
              0) if not isinstance(given, list):  # fmt: skip
            return given
        case "CallsheetChoice", 1 if not isinstance(given, list):
            lines = (line.strip() for line in str(inputs.get("choices")).splitlines())
            choices = list(dict.fromkeys(line for line in lines if line))
            return choices.index(given) if given in choices else None
        case (("CallsheetText" | "CallsheetInteger" | "CallsheetNumber"), slot) if slot:
            return _given(inputs)
        case _:
            return None


def _given(inputs: Mapping[str, Any]) -> bool | None:
    """A parameter node's `given` output: false for an optional one that holds nothing."""
    value = inputs.get("value")
    if isinstance(value, list):
        return None
    if inputs.get("required") or "max" not in inputs:
        return bool(value) or bool(inputs.get("required"))
    choices = str(inputs.get("choices") or "").replace(",", " ").split()
    if choices:  # of an Integer: they stand in place of its range
        return value != 0 or "0" in choices
    return value != 0 or inputs["min"] <= 0 <= inputs["max"]


def _follow(value: Any, taken: Mapping[str, list[Any]]) -> Any:
    """The link that a link leads to once decided switches are gone."""
    seen: set[str] = set()
    while _is_link(value, taken) and str(value[0]) not in seen:
        seen.add(str(value[0]))  # switches in a circle: ComfyUI names the cycle
        value = taken[str(value[0])]
    return value


def _upstream(prompt: ApiPrompt, ends: list[str]) -> set[str]:
    needed: set[str] = set()
    waiting = list(ends)
    while waiting:
        node_id = waiting.pop()
        if node_id not in needed:
            needed.add(node_id)
            inputs = prompt[node_id]["inputs"].values()
            waiting += [str(value[0]) for value in inputs if _is_link(value, prompt)]
    return needed


def _saves(node: Mapping[str, Any], object_info: Mapping[str, Any]) -> bool:
    return bool(mapping(object_info.get(str(node.get("class_type")))).get("output_node"))


def _is_link(value: Any, prompt: Mapping[str, Any]) -> bool:
    pair = sequence(value)
    return len(pair) == 2 and str(pair[0]) in prompt
