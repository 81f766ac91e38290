"""Links followed to what really feeds an input, through everything that only passes on. Pure."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from runner.errors import WorkflowError
from runner.graph.document import INPUT_BOX, NodeId
from runner.graph.loading import Graph, Graphs
from runner.graph.nodes import BYPASSED, MUTED, Node
from runner.shape import sequence


@dataclass(frozen=True, slots=True)
class Scope:
    """A graph in use: the root, or a definition as one host uses it."""

    graph: Graph
    path: tuple[NodeId, ...] = ()  # of hosts, the outermost first
    host: Node | None = None
    outer: "Scope | None" = None

    def inside(self, host: Node, graphs: Graphs) -> "Scope":
        return Scope(graphs[host.saved.type], (*self.path, host.id), host, self)

    def full_id(self, node: Node) -> str:
        """The node's id in the prompt: `host:host:node`."""
        return ":".join((*self.path, node.id))


@dataclass(frozen=True, slots=True)
class Origin:
    """The output of a node that is in the prompt."""

    node_id: str
    slot: int


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a host's input that nothing is linked to."""

    value: Any


@dataclass(frozen=True, slots=True)
class _Asking:
    """At an input: what feeds it? `type` is asked for instead of the input's own."""

    scope: Scope
    node: Node
    slot: int
    type: str | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """At an output: what comes out of it, for an input of this type?"""

    scope: Scope
    node: Node
    slot: int
    type: str


_Step: TypeAlias = _Asking | _Asked | Origin | Value | None


def resolve(scope: Scope, node: Node, slot: int, graphs: Graphs) -> Origin | Value | None:
    """What feeds an input; None if nothing does.

    Raises WorkflowError if a link leads nowhere or in a circle.
    """
    step: _Step = _Asking(scope, node, slot)
    seen: set[tuple[tuple[NodeId, ...], NodeId, int, bool]] = set()
    while isinstance(step, _Asking | _Asked):
        mark = (step.scope.path, step.node.id, step.slot, isinstance(step, _Asking))
        if mark in seen:
            raise _error("links lead in a circle", scope, node, slot)
        seen.add(mark)
        step = _from_input(step) if isinstance(step, _Asking) else _from_output(step, graphs)
    return step


def _from_input(at: _Asking) -> _Step:
    scope, slot = at.scope, at.node.inputs[at.slot]
    if slot.link is None:
        return None
    link = scope.graph.links.get(slot.link)
    if link is None:
        raise _error(f"there is no link {slot.link}", scope, at.node, at.slot)
    if scope.host is not None and link.origin == INPUT_BOX:
        return _from_host(at, link.origin_slot)
    origin = scope.graph.nodes.get(link.origin)
    if origin is None:
        what = f"link {link.id} comes from node {link.origin}, which is not there"
        raise _error(what, scope, at.node, at.slot)
    return _Asked(scope, origin, link.origin_slot, at.type or slot.type)


def _from_host(at: _Asking, port: int) -> _Step:
    """Out of the subgraph, to the host's input."""
    scope = at.scope
    assert scope.host is not None
    assert scope.outer is not None
    if not 0 <= port < len(scope.host.inputs):
        raise _error(f"the subgraph has no input {port}", scope, at.node, at.slot)
    slot = scope.host.inputs[port]
    if slot.link is not None:
        return _Asking(scope.outer, scope.host, port)
    widget = scope.host.widget(slot.widget) if slot.widget is not None else None
    return Value(widget.value) if widget else None


def _from_output(at: _Asked, graphs: Graphs) -> _Step:
    node = at.node
    if node.saved.mode == MUTED:
        return None
    if node.saved.mode == BYPASSED:
        slot = _bypass(at)
        return None if slot is None else _Asking(at.scope, node, slot)
    match node.kind:
        case "subgraph":
            return _into_subgraph(at, graphs)
        case "get":
            return _from_setter(at)
        case "virtual" | "set":
            return _Asking(at.scope, node, at.slot, at.type) if _has(node, at.slot) else None
        case "real" | "unknown":
            return Origin(at.scope.full_id(node), at.slot)


def _has(node: Node, slot: int) -> bool:
    return 0 <= slot < len(node.inputs)


def _into_subgraph(at: _Asked, graphs: Graphs) -> _Step:
    inner = at.scope.inside(at.node, graphs)
    if not 0 <= at.slot < len(inner.graph.outputs):
        raise _error(f"the subgraph has no output {at.slot}", at.scope, at.node)
    link = next(inner.graph.links_of(inner.graph.outputs[at.slot]), None)
    if link is None:
        return None
    if link.origin == INPUT_BOX:
        return (
            _Asking(at.scope, at.node, link.origin_slot, at.type)
            if _has(at.node, link.origin_slot)
            else None
        )
    origin = inner.graph.nodes.get(link.origin)
    if origin is None:
        raise _error(
            f"output {at.slot} comes from node {link.origin}, which is not there", at.scope, at.node
        )
    return _Asked(inner, origin, link.origin_slot, at.type)


def _from_setter(at: _Asked) -> _Step:
    """A Get node passes on what the Set node of the same name is linked to, in or around."""
    wanted = next(iter(sequence(at.node.saved.values)), None)
    scope: Scope | None = at.scope
    while scope is not None:
        for node in scope.graph.nodes.values():
            if node.kind == "set" and next(iter(sequence(node.saved.values)), None) == wanted:
                return _Asking(scope, node, 0, at.type) if node.inputs else None
        scope = scope.outer
    return None


# --- bypass --------------------------------------------------------------------------------------


def _bypass(at: _Asked) -> int | None:
    """The input that a bypassed node passes on to an output; it may be unconnected."""
    node, wanted = at.node, at.type
    if not node.inputs:
        return None
    if wanted in ("*", ""):
        return at.slot if at.slot < len(node.inputs) else 0
    if not 0 <= at.slot < len(node.outputs):
        raise _error(f"the bypassed node has no output {at.slot}", at.scope, node)
    own = node.outputs[at.slot]
    if at.slot < len(node.inputs) and _fits(node.inputs[at.slot].type, own, wanted):
        return at.slot
    types = [slot.type for slot in node.inputs]
    if wanted in types:
        return types.index(wanted)
    return next((i for i, kind in enumerate(types) if _fits(kind, own, wanted)), None)


def _fits(given: str, output: str, wanted: str) -> bool:
    return compatible(given, output) and compatible(given, wanted)


def compatible(one: str, other: str) -> bool:
    """May slots of these types be linked? Types may be lists, divided by commas."""
    if {one, other} & {"*", "", "0"} or one == other:
        return True
    members = one.lower().split(","), other.lower().split(",")
    if {"*", ""} & {*members[0], *members[1]} and ("," in one or "," in other):
        return True
    return bool({*members[0]} & {*members[1]})


def _error(what: str, scope: Scope, node: Node, slot: int | None = None) -> WorkflowError:
    at = "" if slot is None or not _has(node, slot) else f", input {node.inputs[slot].name!r}"
    return WorkflowError(
        f"{scope.graph.where}: {node.saved.label}{at}: {what}",
        details={"reason": "broken_link", "node": scope.full_id(node), "type": node.saved.type},
    )
