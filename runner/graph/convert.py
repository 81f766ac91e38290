"""UI workflow → API prompt, as the frontend's graphToPrompt does it: the story."""

import copy
import random
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal, TypeAlias, cast

from runner.errors import WorkflowError
from runner.graph.definitions import NO_VALUE, read
from runner.graph.document import NodeId, parse
from runner.graph.loading import (
    Graph,
    Graphs,
    choose_first,
    innermost_first,
    refuse_too_many,
    set_up_graph,
    widget_text,
)
from runner.graph.nodes import Node
from runner.graph.normalise import normalise
from runner.graph.primitives import push_values
from runner.graph.promotion import migrate_hosts
from runner.graph.resolve import Origin, Scope, Value, resolve
from runner.graph.text import dynamic_prompt, replace_patterns
from runner.graph.widgets import Filled

ApiPrompt: TypeAlias = dict[str, dict[str, Any]]
Unknown: TypeAlias = Literal["raise", "keep"]

# Their filename_prefix may hold %date:format% and %Node.widget%.
_SAVE_NODES = frozenset(
    {
        "CLIPSave",
        "LoraSave",
        "ModelSave",
        "Save3DAdvanced",
        "SaveAnimatedPNG",
        "SaveAnimatedWEBP",
        "SaveAudio",
        "SaveAudioAdvanced",
        "SaveAudioMP3",
        "SaveAudioOpus",
        "SaveGLB",
        "SaveGaussianSplat",
        "SaveImage",
        "SaveImageAdvanced",
        "SaveLatent",
        "SavePointCloud",
        "SaveSVGNode",
        "SaveVideo",
        "SaveWEBM",
        "VAESave",
    }
)


def is_api_format(workflow: Mapping[str, Any]) -> bool:
    """Is it a prompt already: nodes by id, each with a class and inputs? Pure."""
    return bool(workflow) and all(
        isinstance(node, Mapping) and "class_type" in node for node in workflow.values()
    )


def is_ui_format(workflow: Mapping[str, Any]) -> bool:
    """Is it a graph editor's file: does it have a list of nodes? Pure."""
    return isinstance(workflow.get("nodes"), list)


def to_api(
    workflow: Mapping[str, Any],
    object_info: Mapping[str, Any],
    *,
    rng: random.Random | None = None,
    now: datetime | None = None,
    unknown: Unknown = "raise",
    literal: Collection[tuple[str, str]] = (),
) -> ApiPrompt:
    """The prompt that the graph editor would send for this workflow. Pure.

    `rng` draws the choices of dynamic prompts, by default always the same; `now` fills in
    `%date:…%` of file names, which stay as they are without it. A file in API format comes back
    as it is. With `unknown="keep"` a node of a type that `object_info` does not have is written
    as the editor writes it, without a class, and the server refuses it. `literal` names widgets,
    by node id in the prompt and name, whose text is sent as it is: a caller's, not the file's.

    Raises WorkflowError if the file is broken, or lists all nodes of unknown types.
    """
    if not isinstance(cast(object, workflow), Mapping):
        raise WorkflowError("the workflow is not an object", details={"reason": "broken_file"})
    try:
        if is_api_format(workflow):
            return copy.deepcopy(dict(workflow))
        graphs = load(workflow, object_info)
        used = list(_used_nodes(Scope(graphs[""]), graphs))
        if unknown == "raise":
            _refuse_unknown(used)
        replace_text = partial(_with_patterns_replaced, graphs, now)
        for graph in graphs.values():
            push_values(graph, replace_text)
        used = list(_used_nodes(Scope(graphs[""]), graphs))
        writer = _Writer(graphs, rng or random.Random(0), replace_text, literal)  # noqa: S311
        return writer.prompt(used)
    except RecursionError as error:
        raise WorkflowError("the file is nested too deeply") from error


def load(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> Graphs:
    """Every graph of a UI workflow as the editor holds it once the file is loaded. Pure."""
    definitions = read(object_info)
    document = normalise(parse(workflow), definitions)
    graphs: Graphs = {}
    order = innermost_first(document)
    refuse_too_many(document, order)
    for graph_id in order:
        _add(graphs, set_up_graph(document.definitions[graph_id], definitions, graphs))
    _add(graphs, set_up_graph(document.root, definitions, graphs))
    for graph in graphs.values():
        choose_first(graph)
    return graphs


def _add(graphs: Graphs, graph: Graph) -> None:
    graphs[graph.id] = graph
    migrate_hosts(graph, graphs)


def _used_nodes(scope: Scope, graphs: Graphs) -> Iterator[tuple[Scope, Node]]:
    """Every node of the graph and, instead of hosts, those of their subgraphs.

    A muted or bypassed host is expanded too, but for one in the root graph.
    """
    for node in scope.graph.nodes.values():
        if node.kind != "subgraph":
            yield scope, node
        elif node.runs or scope.path:
            yield from _used_nodes(scope.inside(node, graphs), graphs)


def _refuse_unknown(used: list[tuple[Scope, Node]]) -> None:
    found = [(scope, node) for scope, node in used if node.kind == "unknown" and node.runs]
    if not found:
        return
    described = [_describe_unknown(scope, node) for scope, node in found]
    lines = [
        f"{d['title']} (node {d['id']}) is a {d['type']}"
        + (f" of {d['pack']}" if d["pack"] else "")
        for d in described
    ]
    raise WorkflowError(
        "this ComfyUI does not have: " + "; ".join(lines),
        details={"reason": "unknown_nodes", "nodes": described},
    )


def _describe_unknown(scope: Scope, node: Node) -> dict[str, str]:
    properties = node.saved.properties
    pack = properties.get("cnr_id") or properties.get("aux_id") or ""
    return {
        "id": scope.full_id(node),
        "type": node.saved.type,
        "title": node.title,
        "pack": str(pack),
    }


@dataclass(frozen=True)
class _Writer:
    """Writes the nodes into a prompt."""

    graphs: Graphs
    rng: random.Random
    replace_text: Callable[[str], str]
    literal: Collection[tuple[str, str]]

    def prompt(self, used: list[tuple[Scope, Node]]) -> ApiPrompt:
        prompt: ApiPrompt = {
            scope.full_id(node): self._entry(scope, node)
            for scope, node in used
            if node.kind in ("real", "unknown") and node.runs
        }
        for entry in prompt.values():
            entry["inputs"] = {
                name: value
                for name, value in entry["inputs"].items()
                # Only links are lists: a widget's list is wrapped.
                if not isinstance(value, list) or value[0] in prompt
            }
        # The order of a JavaScript object: whole numbers first and sorted.
        return {node_id: prompt[node_id] for node_id in sorted(prompt, key=_javascript_order)}

    def _entry(self, scope: Scope, node: Node) -> dict[str, Any]:
        own = scope.full_id(node)
        inputs = {
            item.name: _wrapped(value, item.widget.type)
            for item in node.widgets
            if item.widget.sent and (value := self._sent(own, node, item)) is not NO_VALUE
        }
        for index, slot in enumerate(node.inputs):
            match resolve(scope, node, index, self.graphs):
                case Origin(node_id, output):
                    inputs[slot.name] = [node_id, output]
                case Value(value) if value is NO_VALUE:
                    inputs.pop(slot.name, None)
                case Value(value):
                    # A promoted value is not serialised again: text stays as it is.
                    inputs[slot.name] = _wrapped(value)
                case None:
                    pass
        entry: dict[str, Any] = {"inputs": inputs}
        if node.kind == "real":
            entry["class_type"] = node.saved.type
        return {**entry, "_meta": {"title": node.title}}

    def _sent(self, node_id: NodeId, node: Node, item: Filled) -> Any:
        """The widget's value as it is sent."""
        if not isinstance(item.value, str) or (node_id, item.name) in self.literal:
            return item.value
        if item.widget.dynamic_prompt:
            return dynamic_prompt(item.value, self.rng)
        if item.name == "filename_prefix" and node.saved.type in _SAVE_NODES:
            return self.replace_text(item.value)
        return item.value


def _with_patterns_replaced(graphs: Graphs, now: datetime | None, text: str) -> str:
    return replace_patterns(text, now=now, widget_value=partial(widget_text, graphs))


def _wrapped(value: Any, widget_type: str = "") -> Any:
    """A list is wrapped, for a bare one would be a link. The server unwraps it."""
    if not isinstance(value, list):
        return copy.deepcopy(value)
    marks = {"__type__": "CURVE"} if widget_type == "CURVE" else {}
    return {**marks, "__value__": copy.deepcopy(cast(list[Any], value))}


def _javascript_order(node_id: NodeId) -> tuple[bool, int]:
    whole = node_id.isascii() and node_id.isdecimal() and str(int(node_id)) == node_id
    return not whole, int(node_id) if whole else 0
