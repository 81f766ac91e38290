"""A workflow file as frozen records: every assumption on its shape is checked here, and only here. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias, cast

from runner.errors import WorkflowError

NodeId: TypeAlias = str
LinkId: TypeAlias = str

# The ends of a link that lead into and out of a subgraph.
INPUT_BOX: NodeId = "-10"
OUTPUT_BOX: NodeId = "-20"

# A definition that contains definitions that contain …: what is deeper is no workflow.
_MAX_NESTING = 32


@dataclass(frozen=True, slots=True)
class Link:
    """A wire of one graph, from an output slot to an input slot."""

    id: LinkId
    origin: NodeId
    origin_slot: int
    target: NodeId
    target_slot: int  # goes stale when a node definition changes


@dataclass(frozen=True, slots=True)
class SavedInput:
    """An input slot as the file holds it."""

    name: str
    type: str
    link: LinkId | None
    widget: str | None = None


@dataclass(frozen=True, slots=True)
class SavedOutput:
    """An output slot as the file holds it."""

    name: str
    type: str
    links: tuple[LinkId, ...]


@dataclass(frozen=True, slots=True)
class SavedNode:
    """A node as the file holds it."""

    id: NodeId
    type: str
    title: str
    mode: int
    inputs: tuple[SavedInput, ...]
    outputs: tuple[SavedOutput, ...]
    values: Sequence[Any] | Mapping[str, Any] | None  # widgets_values
    properties: Mapping[str, Any]

    @property
    def label(self) -> str:
        """How an error names the node."""
        return f"{self.title or self.type} (node {self.id}, {self.type})"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a subgraph, and the inner links at it, the first one first."""

    name: str
    type: str
    links: tuple[LinkId, ...]


@dataclass(frozen=True, slots=True)
class SavedGraph:
    """The root graph, or the definition of a subgraph."""

    id: str  # "" for the root
    name: str
    nodes: tuple[SavedNode, ...]
    links: Mapping[LinkId, Link]
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A workflow file."""

    root: SavedGraph
    definitions: Mapping[str, SavedGraph]
    last_node_id: int
    group_nodes: Mapping[str, Any]


def parse(workflow: Mapping[str, Any]) -> Document:
    """The records of a workflow file.

    Raises WorkflowError, saying where, if the file is not what the graph editor saves.
    """
    root = _graph(workflow, where="the file", graph_id="")
    definitions: dict[str, SavedGraph] = {}
    for raw in _definitions(workflow, where="the file", depth=0):
        graph_id = _text(raw, "id", where="a subgraph definition")
        if not graph_id or graph_id in definitions:
            _fail(f"there are two subgraph definitions with the id {graph_id!r}")
        definitions[graph_id] = _graph(raw, where=f"subgraph {graph_id}", graph_id=graph_id)
    extra = _optional_mapping(workflow, "extra", where="the file")
    return Document(
        root=root,
        definitions=definitions,
        last_node_id=_last_node_id(workflow),
        group_nodes=_optional_mapping(extra, "groupNodes", where="extra"),
    )


def type_name(value: object) -> str:
    """A slot's type as text; old files hold a list of a combo's choices or a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(map(str, cast(list[object], value)))
    return "*" if value is None or value == 0 else str(value)


def identifier(value: object, *, where: str) -> str:
    """A node's or link's id as text: 7 and "7" are the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        _fail(f"{where}: {_short(value)} is no id")
    return str(value)


def node_from(raw: object, *, where: str) -> SavedNode:
    """The record of a node. Raises WorkflowError."""
    node = _mapping(raw, where=where)
    node_id = identifier(node.get("id"), where=where)
    where = f"{where} {node_id}"
    kind = _text(node, "type", where=where)
    if not kind:
        _fail(f"{where} has no type")
    return SavedNode(
        id=node_id,
        type=kind,
        title=_text(node, "title", where=where),
        mode=_whole(node.get("mode") or 0, where=f"{where}: mode"),
        inputs=tuple(_input(i, where=where) for i in _sequence(node, "inputs", where=where)),
        outputs=tuple(_output(o, where=where) for o in _sequence(node, "outputs", where=where)),
        values=_values(node.get("widgets_values"), where=where),
        properties=_optional_mapping(node, "properties", where=where),
    )


def _graph(raw: Mapping[str, Any], *, where: str, graph_id: str) -> SavedGraph:
    if not isinstance(raw.get("nodes"), list):
        _fail(f"{where} has no list of nodes: it is not a graph editor's workflow")
    nodes = tuple(
        node_from(n, where=f"{where}: node") for n in _sequence(raw, "nodes", where=where)
    )
    links = (_link(x, where=where) for x in _sequence(raw, "links", where=where))
    return SavedGraph(
        id=graph_id,
        name=_text(raw, "name", where=where) if graph_id else "",
        nodes=nodes,
        links={link.id: link for link in links},
        inputs=_ports(raw, "inputs", where=where) if graph_id else (),
        outputs=_ports(raw, "outputs", where=where) if graph_id else (),
    )


def _definitions(raw: Mapping[str, Any], *, where: str, depth: int) -> Iterator[Mapping[str, Any]]:
    if depth > _MAX_NESTING:
        _fail("subgraph definitions are nested too deeply")
    holder = _optional_mapping(raw, "definitions", where=where)
    for item in _sequence(holder, "subgraphs", where=where):
        definition = _mapping(item, where="a subgraph definition")
        yield definition
        yield from _definitions(definition, where="a subgraph definition", depth=depth + 1)


def _link(raw: object, *, where: str) -> Link:
    """Version 0.4 writes a link of the root graph as an array, everything else as an object."""
    if isinstance(raw, list):
        fields = cast(list[object], raw)
        if len(fields) < 5:
            _fail(f"{where}: link {_short(fields)} is not [id, origin, slot, target, slot, type]")
        link_id, origin, origin_slot, target, target_slot = fields[:5]
    else:
        link = _mapping(raw, where=f"{where}: a link")
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
        link_id, origin, origin_slot, target, target_slot = (link.get(key) for key in keys)
    where = f"{where}: link {_short(link_id)}"
    return Link(
        id=identifier(link_id, where=where),
        origin=identifier(origin, where=where),
        origin_slot=_whole(origin_slot, where=where),
        target=identifier(target, where=where),
        target_slot=_whole(target_slot, where=where),
    )


def _input(raw: object, *, where: str) -> SavedInput:
    slot = _mapping(raw, where=f"{where}: an input")
    link = slot.get("link")
    return SavedInput(
        name=_text(slot, "name", where=f"{where}: an input"),
        type=type_name(slot.get("type")),
        link=None if link is None else identifier(link, where=f"{where}: an input's link"),
        widget=_widget_name(slot, where=f"{where}: an input"),
    )


def _widget_name(slot: Mapping[str, Any], *, where: str) -> str | None:
    widget = slot.get("widget")
    if not widget:
        return None
    return _text(_mapping(widget, where=f"{where}'s widget"), "name", where=where)


def _output(raw: object, *, where: str) -> SavedOutput:
    slot = _mapping(raw, where=f"{where}: an output")
    links = _sequence(slot, "links", where=f"{where}: an output")
    return SavedOutput(
        name=_text(slot, "name", where=f"{where}: an output"),
        type=type_name(slot.get("type")),
        links=tuple(identifier(x, where=f"{where}: an output's link") for x in links),
    )


def _ports(raw: Mapping[str, Any], key: str, *, where: str) -> tuple[Port, ...]:
    return tuple(
        _port(_mapping(item, where=f"{where}: {key}"), where=f"{where}: {key}")
        for item in _sequence(raw, key, where=where)
    )


def _port(raw: Mapping[str, Any], *, where: str) -> Port:
    links = _sequence(raw, "linkIds", where=where)
    return Port(
        name=_text(raw, "name", where=where),
        type=type_name(raw.get("type")),
        links=tuple(identifier(x, where=where) for x in links),
    )


def _values(value: object, *, where: str) -> Sequence[Any] | Mapping[str, Any] | None:
    if value is None or isinstance(value, list):
        return cast(Sequence[Any] | None, value)
    return _mapping(value, where=f"{where}: widgets_values")


def _last_node_id(workflow: Mapping[str, Any]) -> int:
    """Version 1 keeps the counter in `state`."""
    state = _optional_mapping(workflow, "state", where="the file")
    value = state.get("lastNodeId", workflow.get("last_node_id"))
    return _whole(value or 0, where="last_node_id")


# --- the shapes ----------------------------------------------------------------------------------


def _mapping(value: object, *, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        _fail(f"{where}: {_short(value)} is not an object")
    return cast(Mapping[str, Any], value)


def _optional_mapping(raw: Mapping[str, Any], key: str, *, where: str) -> Mapping[str, Any]:
    value = raw.get(key)
    # PHP-like exporters, and litegraph itself for empty properties, write [] for {}.
    return {} if value is None or value == [] else _mapping(value, where=f"{where}: {key}")


def _sequence(raw: Mapping[str, Any], key: str, *, where: str) -> Sequence[Any]:
    value = raw.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        _fail(f"{where}: {key} is not a list")
    return cast(Sequence[Any], value)


def _text(raw: Mapping[str, Any], key: str, *, where: str) -> str:
    value = raw.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        _fail(f"{where}: {key} is not a text")
    return str(value)


def _whole(value: object, *, where: str) -> int:
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        _fail(f"{where}: {_short(value)} is not a whole number")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _fail(message: str) -> NoReturn:
    raise WorkflowError(message, details={"reason": "broken_file"})
