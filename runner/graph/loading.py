"""The file's graphs as the editor holds them after loading: nodes set up, subgraph inputs bound.

A host is a node that stands for a subgraph. All hosts of a definition share its inner nodes; only
the values of the widgets that are promoted to their own inputs differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, TypeAlias

from runner.errors import WorkflowError
from runner.graph.definitions import NO_VALUE, Definitions
from runner.graph.document import Document, Link, LinkId, NodeId, Port, SavedGraph, SavedNode
from runner.graph.nodes import Node, Slot, set_up
from runner.graph.text import as_text
from runner.graph.widgets import Filled
from runner.shape import mapping, sequence


@dataclass(slots=True)
class Graph:
    """The root graph or a definition. It changes while the file is loaded, then never again."""

    id: str
    name: str
    nodes: dict[NodeId, Node]
    links: dict[LinkId, Link]
    inputs: list[Port]
    outputs: tuple[Port, ...]
    # Primitives whose place an input port has taken, and its name.
    taken_over: dict[NodeId, str] = field(default_factory=dict[NodeId, str])

    @property
    def where(self) -> str:
        """How an error names the graph."""
        return f"subgraph {self.name or self.id}" if self.id else "the root graph"

    def links_of(self, port: Port) -> Iterator[Link]:
        """The inner links at a port that exist, the first one first."""
        return (self.links[link] for link in port.links if link in self.links)

    def targets_of(self, port: Port) -> Iterator[tuple[Node, Slot]]:
        """The inner inputs that an input port feeds."""
        for link in self.links_of(port):
            node = self.nodes.get(link.target)
            slot = node.slot_of(link.id) if node else None
            if node is not None and slot is not None:
                yield node, node.inputs[slot]


Graphs: TypeAlias = dict[str, Graph]

# The largest official template has some hundred.
_MAX_NODES = 100_000


def refuse_too_many(document: Document, order: Sequence[str]) -> None:
    """Raise WorkflowError if the subgraphs multiply to more nodes than any workflow has."""
    sizes: dict[str, int] = {}
    for graph in (*(document.definitions[i] for i in order), document.root):
        sizes[graph.id] = sum(1 + sizes.get(node.type, 0) for node in graph.nodes)
    if sizes[""] > _MAX_NODES:
        raise WorkflowError(f"the file's subgraphs multiply to more than {_MAX_NODES:,} nodes")


def innermost_first(document: Document) -> list[str]:
    """The ids of the definitions such that each comes after those it uses.

    Raises WorkflowError if one contains itself.
    """
    uses = {
        graph.id: {node.type for node in graph.nodes if node.type in document.definitions}
        for graph in document.definitions.values()
    }
    try:
        return list(TopologicalSorter(uses).static_order())
    except CycleError as error:
        names = " in ".join(document.definitions[i].name or i for i in error.args[1])
        raise WorkflowError(f"a subgraph contains itself: {names}") from error


def set_up_graph(saved: SavedGraph, definitions: Definitions, graphs: Graphs) -> Graph:
    """A graph with its nodes set up; the definitions it uses are in `graphs` already."""
    graph = Graph(
        id=saved.id,
        name=saved.name,
        nodes={},
        links=dict(saved.links),
        inputs=[_repaired(p, saved, "origin", i) for i, p in enumerate(saved.inputs)],
        outputs=tuple(_repaired(p, saved, "target", i) for i, p in enumerate(saved.outputs)),
    )
    for node in saved.nodes:
        if node.id in graph.nodes:
            raise WorkflowError(f"{graph.where} has two nodes with the id {node.id}")
        inner = graphs.get(node.type)
        graph.nodes[node.id] = host(node, inner) if inner else set_up(node, definitions)
    return graph


def host(saved: SavedNode, definition: Graph) -> Node:
    """A node that stands for a subgraph: its inputs are the definition's, with the file's links.

    An input has a value if it feeds a widget: first that widget's, then the stored one.
    """
    links = {slot.name: slot.link for slot in saved.inputs}
    promoted = [promoted_widget(definition, port) for port in definition.inputs]
    return Node(
        saved=saved,
        kind="subgraph",
        title=saved.title or definition.name,
        inputs=tuple(
            Slot(port.name, port.type, links.get(port.name), port.name if widget else None)
            for port, widget in zip(definition.inputs, promoted, strict=True)
        ),
        outputs=tuple(port.type for port in definition.outputs),
        widgets=tuple(_with_stored_values([w for w in promoted if w], saved)),
    )


def promoted_widget(definition: Graph, port: Port) -> Filled | None:
    """The widget that an input port stands for, under the port's name; None if it feeds none."""
    for node, slot in definition.targets_of(port):
        widget = node.widget(slot.widget) if slot.widget is not None else None
        if widget is not None:
            return Filled(replace(widget.widget, name=port.name), widget.value)
    return None


def with_value(node: Node, name: str, value: Any) -> Node:
    """The node with another value in its widget of that name."""
    return replace(
        node,
        widgets=tuple(replace(w, value=value) if w.name == name else w for w in node.widgets),
    )


def choose_first(graph: Graph) -> None:
    """Once all is loaded, the editor replaces an empty combo by its first choice; a host's too."""
    for node in list(graph.nodes.values()):
        for item in node.widgets if node.kind == "subgraph" else ():
            if item.value in (None, NO_VALUE) and item.widget.choices:
                value = item.widget.choices[0]
                graph.nodes[node.id] = with_value(graph.nodes[node.id], item.name, value)


def widget_text(graphs: Graphs, node_name: str, widget_name: str) -> str | None:
    """A widget's value as text: of the first node with that name for search and replace, or title."""
    nodes = list(_all_nodes(graphs[""], graphs, set()))
    named = [n for n in nodes if n.saved.properties.get("Node name for S&R") == node_name]
    titled = [n for n in nodes if n.title == node_name]
    node = next(iter(named or titled), None)
    item = node.widget(widget_name) if node else None
    return as_text(item.value) if item else None


def _all_nodes(graph: Graph, graphs: Graphs, seen: set[str]) -> Iterator[Node]:
    """In the editor's order, a subgraph's nodes before its host; hosts share them."""
    seen.add(graph.id)
    for node in graph.nodes.values():
        if node.kind == "subgraph" and node.saved.type not in seen:
            yield from _all_nodes(graphs[node.saved.type], graphs, seen)
        yield node


def _with_stored_values(widgets: Sequence[Filled], saved: SavedNode) -> Iterator[Filled]:
    """Positional; null counts. Values that an earlier migration could not place go by name."""
    misplaced = _quarantined(saved.properties.get("proxyWidgetErrorQuarantine"))
    stored = sequence(saved.values)
    for index, widget in enumerate(widgets):
        in_place = stored[index] if index < len(stored) else NO_VALUE
        if isinstance(saved.values, Mapping):
            in_place = saved.values.get(widget.name, NO_VALUE)
        value = misplaced.get(widget.name, in_place)
        yield widget if value is NO_VALUE else replace(widget, value=value)


def _quarantined(entries: object) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in map(mapping, sequence(entries)):
        tuple_ = sequence(entry.get("originalEntry"))
        if len(tuple_) >= 2 and tuple_[0] == "-1" and entry.get("hostValue") is not None:
            values.setdefault(str(tuple_[1]), entry["hostValue"])
    return values


def _repaired(port: Port, graph: SavedGraph, end: Literal["origin", "target"], index: int) -> Port:
    """A port whose links exist: one that is gone is replaced by one that ends at the same port."""
    if all(link in graph.links for link in port.links):
        return port
    box = "-10" if end == "origin" else "-20"
    found = next(
        (x.id for x in graph.links.values() if _end(x, end) == (box, index)),
        None,
    )
    links = (link if link in graph.links else found for link in port.links)
    return replace(port, links=tuple(link for link in links if link is not None))


def _end(link: Link, end: Literal["origin", "target"]) -> tuple[NodeId, int]:
    if end == "origin":
        return link.origin, link.origin_slot
    return link.target, link.target_slot
