"""proxyWidgets: how older files say which inner widgets a host shows, brought into today's form.

Each entry is [inner node, widget], and the host's widgets_values holds a value for it at the same
place. Today an inner widget is shown by linking an input of the subgraph to it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from runner.graph.definitions import NO_VALUE
from runner.graph.document import INPUT_BOX, Link, NodeId, Port
from runner.graph.loading import Graph, Graphs, promoted_widget, with_value
from runner.graph.nodes import PRIMITIVE, Node, Slot
from runner.graph.widgets import Filled
from runner.shape import sequence

# "12: text" was the widget `text` of node 12, further inside.
_OLD_PREFIX = re.compile(r"^\s*(\d+)\s*:\s*(.+)$")
# Widgets of these types that send nothing are previews and show up by themselves.
_PREVIEWS = frozenset({"preview", "video", "audioUI"})


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of proxyWidgets, and the host's value for it; NO_VALUE is a hole."""

    node: NodeId
    widget: str
    value: Any
    inner: NodeId | None = None  # tells apart inputs of a nested host with the same widget name


@dataclass(frozen=True, slots=True)
class _Linked:
    """An input of the host shows the widget already."""

    input: str


@dataclass(frozen=True, slots=True)
class _New:
    """The widget gets a new input of the host."""


@dataclass(frozen=True, slots=True)
class _Primitive:
    """An inner primitive: a new input of the host takes over all that it is linked to."""


_Plan: TypeAlias = _Linked | _New | _Primitive | None


def migrate_hosts(graph: Graph, graphs: Graphs) -> None:
    """Bring all hosts of a loaded graph into today's form; this may add inputs to definitions."""
    for node in list(graph.nodes.values()):
        if node.kind == "subgraph":
            _Migration(graph, node.id, graphs).run()


class _Migration:
    """The migration of one host."""

    def __init__(self, graph: Graph, host_id: NodeId, graphs: Graphs) -> None:
        self._graph = graph
        self._host_id = host_id
        self._graphs = graphs
        self._inner = graphs[self._host.saved.type]

    @property
    def _host(self) -> Node:
        return self._graph.nodes[self._host_id]

    def run(self) -> None:
        entries = [self._without_old_prefix(entry) for entry in _entries(self._host)]
        # All is planned before anything changes.
        plans = [(entry, self._plan(entry, entries)) for entry in entries]
        primitives: dict[NodeId, list[_Entry]] = {}
        for entry, plan in plans:
            match plan:
                case _Linked(name):
                    self._set(name, entry.value)
                case _New():
                    self._show(entry)
                case _Primitive():
                    primitives.setdefault(entry.node, []).append(entry)
                case None:
                    pass
        for cohort in primitives.values():
            self._show_primitive(cohort)
        for entry, plan in plans:
            if plan is None and entry.node == "-1":
                self._set(entry.widget, entry.value)

    def _plan(self, entry: _Entry, entries: Sequence[_Entry]) -> _Plan:
        for port in self._inner.inputs:
            if _source(self._inner, port) == (entry.node, entry.widget):
                return _Linked(port.name)
        node = self._inner.nodes.get(entry.node)
        if node is None:
            return None
        if node.saved.type == PRIMITIVE:
            return self._plan_primitive(node, entries)
        widget = self._widget(node, entry)
        return None if widget is None or _is_preview(widget) else _New()

    def _plan_primitive(self, node: Node, entries: Sequence[_Entry]) -> _Plan:
        taken_over = self._inner.taken_over.get(node.id)
        if taken_over is not None:
            return _Linked(taken_over)
        linked = any(True for _ in _targets(self._inner, node))
        return _Primitive() if linked or sum(e.node == node.id for e in entries) > 1 else None

    def _set(self, name: str, value: Any) -> None:
        """Give the host's input of that name its value, if it has one and there is only one such."""
        slots = [slot for slot in self._host.inputs if slot.name == name]
        if value is not NO_VALUE and len(slots) == 1 and slots[0].widget is not None:
            self._graph.nodes[self._host_id] = with_value(self._host, name, value)

    def _show(self, entry: _Entry) -> None:
        node = self._inner.nodes[entry.node]
        widget = self._widget(node, entry)
        place = _slot_showing(node, widget) if widget else None
        if place is None:
            return
        name = self._add_port(entry.widget, node.inputs[place].type)
        self._connect(name, node.id, place)
        self._set(name, entry.value)

    def _show_primitive(self, cohort: Sequence[_Entry]) -> None:
        node = self._inner.nodes[cohort[0].node]
        targets = list(_targets(self._inner, node))
        kind = node.outputs[0] if node.outputs else "*"
        if len({entry.widget for entry in cohort}) > 1 or not targets:
            return
        if not all(_same_type(self._inner.nodes[t].inputs[i].type, kind) for t, i in targets):
            return
        titled = node.saved.title not in ("", PRIMITIVE)
        name = self._add_port(node.saved.title if titled else cohort[0].widget, kind)
        for target, place in targets:
            self._connect(name, target, place)
        self._set(name, next((e.value for e in cohort if e.value is not NO_VALUE), NO_VALUE))
        self._inner.taken_over[node.id] = name

    # --- what a widget is called, and where it is ---------------------------------------------

    def _without_old_prefix(self, entry: _Entry) -> _Entry:
        if self._reaches_widget(self._inner, entry.node, entry.widget):
            return entry
        name, inner = entry.widget, entry.inner
        while match := _OLD_PREFIX.match(name):
            inner, name = match[1], match[2]
        return replace(entry, widget=name, inner=inner)

    def _reaches_widget(self, graph: Graph, node_id: NodeId, name: str) -> bool:
        node = graph.nodes.get(node_id)
        if node is None or node.kind != "subgraph":
            return node is not None and node.widget(name) is not None
        inner = self._graphs[node.saved.type]
        source = _source_of_name(inner, name)
        return source is not None and self._reaches_widget(inner, *source)

    def _widget(self, node: Node, entry: _Entry) -> Filled | None:
        if node.kind != "subgraph":
            return node.widget(entry.widget)
        inner = self._graphs[node.saved.type]
        for slot, port in zip(node.inputs, inner.inputs, strict=True):
            source = _source_of_name(inner, port.name)
            if entry.inner is not None:
                fits = source == (entry.inner, entry.widget)
            else:
                fits = slot.name == entry.widget or (source or ("",))[-1] == entry.widget
            if fits:
                return node.widget(slot.name)
        return node.widget(entry.widget)

    # --- changing the definition, and with it all its hosts -------------------------------------

    def _add_port(self, wanted: str, kind: str) -> str:
        names = {port.name for port in self._inner.inputs}
        name, number = wanted, 0
        while name in names:
            number += 1
            name = f"{wanted}_{number}"
        self._inner.inputs.append(Port(name, kind, ()))
        for graph, node in self._hosts():
            graph.nodes[node.id] = replace(node, inputs=(*node.inputs, Slot(name, kind, None)))
        return name

    def _connect(self, port_name: str, node_id: NodeId, place: int) -> None:
        """Link a port to an inner input; what was linked to it is not any more."""
        inner = self._inner
        node = inner.nodes[node_id]
        self._disconnect(node.inputs[place])
        index = next(i for i, port in enumerate(inner.inputs) if port.name == port_name)
        link = Link(f"promoted {port_name} {node_id} {place}", INPUT_BOX, index, node_id, place)
        inner.links[link.id] = link
        slots = list(node.inputs)
        slots[place] = replace(slots[place], link=link.id)
        inner.nodes[node_id] = replace(node, inputs=tuple(slots))
        port = inner.inputs[index]
        inner.inputs[index] = replace(port, links=(*port.links, link.id))
        self._rebind(index)

    def _disconnect(self, slot: Slot) -> None:
        link = self._inner.links.pop(slot.link, None) if slot.link is not None else None
        if link is None or link.origin != INPUT_BOX:
            return
        for index, port in enumerate(self._inner.inputs):
            if link.id in port.links:
                rest = tuple(i for i in port.links if i != link.id)
                self._inner.inputs[index] = replace(port, links=rest)
                self._rebind(index)

    def _rebind(self, index: int) -> None:
        """Let every host's input show the widget that its port feeds now; a value stays."""
        port = self._inner.inputs[index]
        widget = promoted_widget(self._inner, port)
        for graph, node in self._hosts():
            slots = list(node.inputs)
            slots[index] = replace(slots[index], widget=port.name if widget else None)
            others = tuple(w for w in node.widgets if w.name != port.name)
            kept = node.widget(port.name) or widget
            shown = (*others, kept) if widget and kept else others
            graph.nodes[node.id] = replace(node, inputs=tuple(slots), widgets=shown)

    def _hosts(self) -> Iterator[tuple[Graph, Node]]:
        for graph in self._graphs.values():
            for node in list(graph.nodes.values()):
                if node.kind == "subgraph" and node.saved.type == self._inner.id:
                    yield graph, node


def _entries(host: Node) -> Iterator[_Entry]:
    """A single malformed entry makes the editor ignore them all."""
    raw = host.saved.properties.get("proxyWidgets")
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except ValueError:
            return
    tuples = [sequence(item) for item in sequence(raw)]
    if not all(len(t) in (2, 3) and all(isinstance(x, str) for x in t) for t in tuples):
        return
    values = sequence(host.saved.values)
    for index, fields in enumerate(cast(list[Sequence[str]], tuples)):
        value = values[index] if index < len(values) else None
        inner = fields[2] if len(fields) == 3 else None
        yield _Entry(fields[0], fields[1], NO_VALUE if value is None else value, inner)


def _source(graph: Graph, port: Port) -> tuple[NodeId, str] | None:
    """The inner node and widget that an input port shows."""
    for node, slot in graph.targets_of(port):
        if node.kind == "subgraph":
            return node.id, slot.name
        if slot.widget is not None and node.widget(slot.widget) is not None:
            return node.id, slot.widget
    return None


def _source_of_name(graph: Graph, name: str) -> tuple[NodeId, str] | None:
    port = next((port for port in graph.inputs if port.name == name), None)
    return _source(graph, port) if port else None


def _slot_showing(node: Node, widget: Filled) -> int | None:
    return next((i for i, slot in enumerate(node.inputs) if slot.widget == widget.name), None)


def _targets(graph: Graph, primitive: Node) -> Iterator[tuple[NodeId, int]]:
    """The inner inputs that a primitive is linked to.

    The editor goes by the links' slot numbers here, stale as they may be, and then shows some
    other input (in the template templates_graphic_design_recomposer a model's name becomes the
    aspect ratio). That is a defect nobody relies on: here the inputs themselves say.
    """
    outputs = primitive.saved.outputs
    for link in (graph.links.get(i) for i in (outputs[0].links if outputs else ())):
        target = graph.nodes.get(link.target) if link else None
        place = target.slot_of(link.id) if target and link else None
        if target is not None and place is not None:
            yield target.id, place


def _is_preview(widget: Filled) -> bool:
    sends = widget.widget.stored and widget.widget.sent
    return widget.name.startswith("$$") or (not sends and widget.widget.type in _PREVIEWS)


def _same_type(one: str, other: str) -> bool:
    return one == other or "*" in (one, other)
