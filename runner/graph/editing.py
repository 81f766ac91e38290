"""Single widgets of a workflow file, found by node and name and set from outside. Pure."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from runner.errors import WorkflowError
from runner.graph.convert import is_api_format, load
from runner.graph.definitions import NO_VALUE
from runner.graph.loading import Graph, Graphs
from runner.graph.nodes import Node
from runner.graph.specs import Spec, spec_of
from runner.graph.widgets import Filled
from runner.shape import mapping, sequence


@dataclass(frozen=True)
class Setting:
    """A widget that can be set: where it is, what it holds and what it takes."""

    node_id: str  # as in the API prompt: `7`, or `5:21` inside a subgraph
    title: str  # the node's
    widget: str
    value: Any
    spec: Spec | None  # what it takes; None if the node definition does not say
    draws: bool = False  # the editor draws a new value for every run
    shows: tuple[tuple[str, str], ...] = ()  # a host's input: the inner widgets it stands for
    shared: frozenset[str] = frozenset()  # ids of this very node in further uses of its subgraph


def settings_of(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> list[Setting]:
    """Every widget of a workflow that holds a value of its own, the root graph's first.

    Widgets that a link feeds are left out: setting them would change nothing. Raises
    WorkflowError if the file is broken.
    """
    if is_api_format(workflow):
        return list(_api_settings(workflow, object_info))
    graphs = load(workflow, object_info)
    found = [(node, node.id) for node in graphs[""].nodes.values()]
    found += _inner(graphs[""], "", graphs)
    uses: dict[int, set[str]] = {}
    for node, path in found:
        uses.setdefault(id(node), set()).add(path)
    return [
        dataclasses.replace(setting, shared=frozenset(uses[id(node)] - {path}))
        for node, path in found
        for setting in _settings(node, path, graphs, object_info)
    ]


def with_settings(
    workflow: Mapping[str, Any],
    object_info: Mapping[str, Any],
    values: Mapping[tuple[str, str], Any],
) -> dict[str, Any]:
    """A copy of the workflow with widgets set, by (node id, widget name).

    Raises WorkflowError for a widget that the file cannot hold a value for.
    """
    edited = copy.deepcopy(dict(workflow))
    for (node_id, widget), value in values.items():
        if is_api_format(workflow):
            edited[node_id]["inputs"][widget] = value
        else:
            _set(edited, object_info, node_id, widget, value)
    return edited


def _api_settings(prompt: Mapping[str, Any], object_info: Mapping[str, Any]) -> Iterator[Setting]:
    for node_id, node in prompt.items():
        title = str(mapping(node.get("_meta")).get("title") or node["class_type"])
        for name, value in mapping(node.get("inputs")).items():
            if not (len(sequence(value)) == 2 and str(sequence(value)[0]) in prompt):
                yield Setting(node_id, title, name, value, spec_of(object_info, node, name))


def _inner(graph: Graph, path: str, graphs: Graphs) -> list[tuple[Node, str]]:
    found: list[tuple[Node, str]] = []
    for host in (node for node in graph.nodes.values() if node.kind == "subgraph"):
        inner = graphs[host.saved.type]
        prefix = f"{path}{host.id}:"
        found += [(node, prefix + node.id) for node in inner.nodes.values()]
        found += _inner(inner, prefix, graphs)
    return found


def _settings(
    node: Node, path: str, graphs: Graphs, object_info: Mapping[str, Any]
) -> Iterator[Setting]:
    linked = {s.widget for s in node.inputs if s.widget is not None and s.link is not None}
    for item in node.widgets:
        if item.name in linked or not item.widget.sent or not item.widget.stored:
            continue
        value = None if item.value is NO_VALUE else item.value
        spec = _spec(node, item.name, graphs, object_info)
        shows = tuple(_shown(node, item.name, graphs))
        yield Setting(path, node.title, item.name, value, spec, _draws(node, item), shows)


def _spec(node: Node, name: str, graphs: Graphs, object_info: Mapping[str, Any]) -> Spec | None:
    """What a widget takes; a host's input takes what the first inner widget it feeds takes."""
    if node.kind != "subgraph":
        values = {w.name: w.value for w in node.widgets}
        return spec_of(object_info, {"class_type": node.saved.type, "inputs": values}, name)
    inner = graphs[node.saved.type]
    port = next((port for port in inner.inputs if port.name == name), None)
    for target, slot in inner.targets_of(port) if port else ():
        if slot.widget is not None:
            return _spec(target, slot.widget, graphs, object_info)
    return None


def _shown(node: Node, name: str, graphs: Graphs) -> Iterator[tuple[str, str]]:
    inner = graphs[node.saved.type] if node.kind == "subgraph" else None
    port = next((p for p in inner.inputs if p.name == name), None) if inner else None
    for target, slot in inner.targets_of(port) if inner and port else ():
        yield target.id, slot.widget or slot.name


def _draws(node: Node, item: Filled) -> bool:
    names = [widget.name for widget in node.widgets]
    place = names.index(item.name) + 1
    after = node.widgets[place] if place < len(names) else None
    return after is not None and not after.widget.sent and after.value == "randomize"


# --- setting ------------------------------------------------------------------------------------


def _set(
    document: dict[str, Any], object_info: Mapping[str, Any], node_id: str, widget: str, value: Any
) -> None:
    graphs = load(document, object_info)
    graph, raw_graph = graphs[""], document
    *hosts, own = node_id.split(":")
    for host in hosts:
        definition = graph.nodes[host].saved.type
        graph, raw_graph = graphs[definition], _raw_definition(document, definition)
    node, raw = graph.nodes.get(own), _raw_node(raw_graph, own)
    if node is None or raw is None:
        raise WorkflowError(f"there is no node {node_id} to set {widget} of")
    for values in _candidates(raw, node, widget, value):
        raw["widgets_values"] = values
        # Only what the editor would show as set counts as set.
        if _holds(load(document, object_info), hosts, own, widget, value):
            return
    raise WorkflowError(f"{widget} of {node.title} (node {node_id}) cannot be set in this file")


def _candidates(raw: dict[str, Any], node: Node, widget: str, value: Any) -> Iterator[Any]:
    """What widgets_values would be with the widget set, the likeliest first.

    A host's value stands where an entry of its proxyWidgets says, else in the order of its inputs.
    """
    saved: Any = raw.get("widgets_values")
    if isinstance(saved, dict):
        yield {**mapping(cast(object, saved)), widget: value}
        return
    stored = [w for w in node.widgets if w.widget.stored]
    shown = [
        value if w.name == widget else None if w.value is NO_VALUE else w.value for w in stored
    ]
    if node.kind == "subgraph":
        proxies = [
            sequence(p) for p in sequence(mapping(raw.get("properties")).get("proxyWidgets"))
        ]
        fitting = [i for i, p in enumerate(proxies) if len(p) > 1 and p[1] == widget]
        for place in [*fitting, *range(len(proxies))]:
            values = list(sequence(saved))
            values += [None] * (place + 1 - len(values))
            values[place] = value
            yield values
    yield shown


def _holds(graphs: Graphs, hosts: list[str], own: str, widget: str, value: Any) -> bool:
    graph = graphs[""]
    for host in hosts:
        graph = graphs[graph.nodes[host].saved.type]
    item = graph.nodes[own].widget(widget)
    return item is not None and item.value == value


def _raw_definition(document: Mapping[str, Any], definition: str) -> dict[str, Any]:
    found = sequence(mapping(document.get("definitions")).get("subgraphs"))
    graphs = (cast(dict[str, Any], g) for g in found if isinstance(g, dict))
    return next(g for g in graphs if g.get("id") == definition)


def _raw_node(graph: Mapping[str, Any], node_id: str) -> dict[str, Any] | None:
    nodes = sequence(graph.get("nodes"))
    dicts = (cast(dict[str, Any], n) for n in nodes if isinstance(n, dict))
    return next((n for n in dicts if str(n.get("id")) == node_id), None)
