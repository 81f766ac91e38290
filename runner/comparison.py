"""Two workflow files side by side: identity, contract and graph; layout does not count. Pure."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from runner import contract
from runner.contract import BYPASSED, MUTED, Bump, Change, Contract, same
from runner.errors import WorkflowError
from runner.graph.document import INPUT_BOX, OUTPUT_BOX, SavedGraph, SavedNode
from runner.graph.document import Document as Graphs
from runner.graph.document import parse as parse_graphs
from runner.parameters import WIDGETS
from runner.workflow import Document, info

NOTES = ("Note", "MarkdownNote")
_MODES = {0: "active", MUTED: "muted", BYPASSED: "bypassed"}
_CONTROL = ("fixed", "increment", "decrement", "randomize")


@dataclass(frozen=True)
class Comparison:
    """What is another in the second of two workflow files."""

    identity: tuple[Change, ...]
    contract: tuple[Change, ...]
    graph: tuple[Change, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.identity + self.contract + self.graph

    @property
    def same(self) -> bool:
        return not self.changes

    @property
    def bump(self) -> Bump:
        return contract.bump(self.changes)

    @property
    def breaking(self) -> tuple[Change, ...]:
        return tuple(change for change in self.contract if change.breaks_callers)

    def to_dict(self) -> dict[str, Any]:
        return {
            "same": self.same,
            "bump": self.bump.word,
            "breaks_callers": bool(self.breaking),
            "identity": [change.to_dict() for change in self.identity],
            "contract": [change.to_dict() for change in self.contract],
            "graph": [change.to_dict() for change in self.graph],
        }


def compare(
    before: Document, after: Document, *, sources: tuple[str, str] = ("before", "after")
) -> Comparison:
    """What has changed from one workflow file to the other. `sources` name them in errors.

    Raises WorkflowError if either is not a graph editor's workflow, or its contract cannot be read.
    """
    (old, old_graphs), (new, new_graphs) = (
        _read(document, source) for document, source in zip((before, after), sources, strict=True)
    )
    return Comparison(
        identity=tuple(_identity(before, after)),
        contract=contract.changes(old, new),
        graph=tuple(_graphs(old_graphs, new_graphs)),
    )


def _read(document: Document, source: str) -> tuple[Contract, Graphs]:
    try:
        return contract.read(document), parse_graphs(document)
    except WorkflowError as error:
        raise WorkflowError(f"{source}: {error.message}", details=error.details) from error


def _identity(before: Document, after: Document) -> Iterator[Change]:
    """Name and version raise nothing: they say what a file is, not what it does."""
    for field in ("name", "version", "description", "author"):
        was, now = info(before).get(field), info(after).get(field)
        if not same(was, now):
            level = Bump.NONE if field in ("name", "version") else Bump.PATCH
            yield Change("changed", "identity", "", level, field, was, now)


# --- a graph as it is compared -------------------------------------------------------------------

Source: TypeAlias = tuple[str, str | int]  # node id; name of the output, or its place


@dataclass(frozen=True, slots=True)
class _Node:
    """A node without its place on the canvas."""

    id: str
    type: (
        str  # a subgraph's is its definition's id in the first file; every parameter is "parameter"
    )
    own_title: str  # as people gave it, or empty; a parameter's name
    title: str  # as people read it, unique within the graph
    kind: str  # the type as people read it
    mode: int
    names: tuple[str, ...] | None  # of its widgets, if the file tells
    values: tuple[Any, ...]  # of its widgets
    linked: frozenset[str]  # widgets whose value comes by a link
    sources: Mapping[str, Source]  # by the name of the input
    outputs: tuple[str, ...]
    promoted: Any  # a subgraph's proxyWidgets


@dataclass(frozen=True, slots=True)
class _Graph:
    name: str  # of the subgraph; empty: the root
    nodes: Mapping[str, _Node]

    def said(self, source: Source | None) -> str | None:
        """A source as people read it: the title of the node, with the output if it has several."""
        if source is None:
            return None
        origin, slot = source
        node = self.nodes.get(origin)
        if node is None:
            return f"node {origin}"
        plain = len(node.outputs) < 2 or (node.type == "parameter" and slot == "value")
        return node.title if plain else f"{node.title}.{slot}"


def _view(graph: SavedGraph, kinds: Mapping[str, str], types: Mapping[str, str]) -> _Graph:
    """`kinds`: the name of each definition; `types`: its id in the first file."""
    saved = [node for node in graph.nodes if node.type != "Reroute"]
    titles = [node.title or kinds.get(node.type, node.type) for node in saved]
    count = Counter(titles)
    root = not graph.id
    nodes: dict[str, _Node] = {}
    for node, title in zip(saved, titles, strict=True):
        unique = title if count[title] < 2 else f"{title} (node {node.id})"
        nodes[node.id] = _node(node, graph, title=unique, kinds=kinds, types=types, root=root)
    return _Graph(graph.name, nodes | ({} if root else _boxes(graph)))


def _node(
    node: SavedNode,
    graph: SavedGraph,
    *,
    title: str,
    kinds: Mapping[str, str],
    types: Mapping[str, str],
    root: bool,
) -> _Node:
    values = _values(node)
    names = _widget_names(node, values)
    parameter = root and node.type in WIDGETS
    own = str(dict(zip(names, values, strict=False)).get("name")) if parameter and names else ""
    return _Node(
        id=node.id,
        type="parameter" if parameter else types.get(node.type, node.type),
        own_title=own or node.title,
        title=title,
        kind=kinds.get(node.type, node.type),
        mode=node.mode,
        names=names,
        values=() if parameter else values,  # the contract tells of them
        linked=frozenset(i.widget for i in node.inputs if i.widget and i.link is not None),
        sources=_sources({i.name: i.link for i in node.inputs}, graph),
        outputs=tuple(output.name for output in node.outputs),
        promoted=node.properties.get("proxyWidgets"),
    )


def _boxes(graph: SavedGraph) -> dict[str, _Node]:
    """The two ends of a subgraph, as nodes."""

    def box(
        node_id: str, title: str, sources: Mapping[str, Source], outputs: Iterable[str]
    ) -> _Node:
        return _Node(node_id, title, title, title, title, 0, (), (), frozenset(), sources,
                     tuple(outputs), None)  # fmt: skip

    leads_out = {port.name: next(iter(port.links), None) for port in graph.outputs}
    return {
        INPUT_BOX: box(INPUT_BOX, "inputs", {}, (port.name for port in graph.inputs)),
        OUTPUT_BOX: box(OUTPUT_BOX, "outputs", _sources(leads_out, graph), ()),
    }


def _sources(inputs: Mapping[str, str | None], graph: SavedGraph) -> dict[str, Source]:
    found = {name: _source(link, graph) for name, link in inputs.items() if link is not None}
    return {name: source for name, source in found.items() if source is not None}


def _source(link_id: str, graph: SavedGraph) -> Source | None:
    """Where a link comes from; a Reroute is only a bend in it."""
    nodes = {node.id: node for node in graph.nodes}
    for _ in range(len(nodes) + 1):  # a circle of reroutes ends as well
        link = graph.links.get(link_id)
        if link is None:
            return None
        if link.origin == INPUT_BOX:
            return INPUT_BOX, _slot([port.name for port in graph.inputs], link.origin_slot)
        origin = nodes.get(link.origin)
        if origin is None or origin.type != "Reroute":
            names = [output.name for output in origin.outputs] if origin else []
            return link.origin, _slot(names, link.origin_slot)
        onward = next((i.link for i in origin.inputs if i.link is not None), None)
        if onward is None:
            return None
        link_id = onward
    return None


def _slot(names: Sequence[str], place: int) -> str | int:
    name = names[place] if 0 <= place < len(names) else ""
    return name if name and names.count(name) == 1 else place


def _values(node: SavedNode) -> tuple[Any, ...]:
    return tuple(node.values.values() if isinstance(node.values, Mapping) else node.values or ())


def _widget_names(node: SavedNode, values: Sequence[Any]) -> tuple[str, ...] | None:
    """The names of the stored values, or None if the file does not tell them all."""
    if isinstance(node.values, Mapping):
        return tuple(map(str, node.values))
    if node.type in NOTES:
        return ("text",) if len(values) == 1 else None
    if node.type in WIDGETS:
        return WIDGETS[node.type]
    names = [i.widget for i in node.inputs if i.widget]
    if len(names) != len(values):
        names = _with_control(names, values)
    return tuple(names) if len(names) == len(values) else None


def _with_control(names: Sequence[str], values: Sequence[Any]) -> list[str]:
    """A seed's control_after_generate has a value but no input slot."""
    found: list[str] = []
    for name in names:
        found.append(name)
        if "seed" in name and len(found) < len(values) and values[len(found)] in _CONTROL:
            found.append("control_after_generate")
    return found


# --- comparing -----------------------------------------------------------------------------------


def _graphs(before: Graphs, after: Graphs) -> Iterator[Change]:
    pairs = _definition_pairs(before, after)
    types = {new: old for old, new in pairs.items()}
    old_kinds, new_kinds = (
        {i: g.name or i for i, g in graphs.definitions.items()} for graphs in (before, after)
    )
    old_types = {i: i for i in before.definitions}
    yield from _graph(_view(before.root, old_kinds, old_types), _view(after.root, new_kinds, types))
    for gone in before.definitions.keys() - pairs.keys():
        yield Change("removed", "subgraph", old_kinds[gone], Bump.PATCH)
    for graph_id, graph in after.definitions.items():
        view = _view(graph, new_kinds, types)
        if graph_id in types:
            was = before.definitions[types[graph_id]]
            yield from _graph(_view(was, old_kinds, old_types), view)
        else:
            yield Change("added", "subgraph", view.name, Bump.PATCH,
                         after=[n.title for n in view.nodes.values() if n.id not in
                                (INPUT_BOX, OUTPUT_BOX)])  # fmt: skip
    for name in before.group_nodes.keys() | after.group_nodes.keys():
        was_group, now_group = before.group_nodes.get(name), after.group_nodes.get(name)
        if not same(was_group, now_group):
            yield Change("changed", "group node", str(name), Bump.PATCH)


def _definition_pairs(before: Graphs, after: Graphs) -> dict[str, str]:
    """The id of each definition in the second file, by that in the first: same id, else same name."""
    pairs = {i: i for i in before.definitions if i in after.definitions}
    by_name = {g.name: i for i, g in after.definitions.items() if i not in pairs and g.name}
    for old_id, graph in before.definitions.items():
        if old_id not in pairs and graph.name in by_name:
            pairs[old_id] = by_name.pop(graph.name)
    return pairs


def _graph(before: _Graph, after: _Graph) -> Iterator[Change]:
    pairs = _pairs(before.nodes.values(), after.nodes.values())
    partners = {new: old for old, new in pairs.items()}
    where = after.name
    if before.name != after.name:
        yield Change("renamed", "subgraph", after.name, Bump.PATCH, "", before.name, after.name)
    for node in before.nodes.values():
        if node.id not in pairs and node.type != "parameter":
            yield Change("removed", "node", node.title, Bump.PATCH, before=node.kind, where=where)
    for node in after.nodes.values():
        old = before.nodes.get(partners.get(node.id, ""))
        if old is not None:
            yield from _node_changes(old, node, where)
        elif node.type != "parameter":
            values = {name: value for name, value in _by_name(node).items()
                      if name not in node.linked}  # fmt: skip
            yield Change("added", "node", node.title, Bump.PATCH, "", None,
                         {"type": node.kind, "values": values}, where=where)  # fmt: skip
        yield from _link_changes(old, node, before, after, pairs)


def _pairs(before: Iterable[_Node], after: Iterable[_Node]) -> dict[str, str]:
    """Which node of the first graph is which of the second, by id.

    A title goes before an id: ids are numbers that the editor deals out anew when a graph is pasted
    into another file. Last, a node with the same title has had its type exchanged.
    """
    old, new = list(before), list(after)
    pairs: dict[str, str] = {}
    keys: Sequence[tuple[Callable[[_Node], Hashable], bool]] = (
        (lambda n: (n.id, n.type, n.own_title), False),
        (lambda n: (n.type, n.own_title), True),
        (lambda n: (n.id, n.type), False),
        (lambda n: (n.type, n.own_title), False),
        (lambda n: n.own_title or None, True),
    )
    for key, only_unique in keys:
        left, right = _grouped(old, key), _grouped(new, key)
        for value, found in left.items():
            partners = right.get(value, [])
            if only_unique and not len(found) == len(partners) == 1:
                continue
            pairs |= {a.id: b.id for a, b in zip(found, partners, strict=False)}
        taken = {*pairs.values()}
        old = [n for n in old if n.id not in pairs]
        new = [n for n in new if n.id not in taken]
    return pairs


def _grouped(
    nodes: Iterable[_Node], key: Callable[[_Node], Hashable]
) -> dict[Hashable, list[_Node]]:
    groups: dict[Hashable, list[_Node]] = {}
    for node in nodes:
        if key(node) is not None:
            groups.setdefault(key(node), []).append(node)
    return groups


def _node_changes(old: _Node, new: _Node, where: str) -> Iterator[Change]:
    def changed(field: str, before: Any, after: Any) -> Change:
        return Change("changed", "node", new.title, Bump.PATCH, field, before, after, where=where)

    if new.type != "parameter":
        if old.own_title != new.own_title:
            yield Change("renamed", "node", new.title, Bump.PATCH, "", old.title, new.title,
                         where=where)  # fmt: skip
        if old.type != new.type:
            yield changed("type", old.kind, new.kind)
    if old.mode != new.mode:
        yield changed("mode", *(_MODES.get(n.mode, f"mode {n.mode}") for n in (old, new)))
    linked = old.linked & new.linked  # what the widget holds has no effect there
    for name, before, after in _both_values(old, new):
        if name not in linked and not same(before, after):
            yield changed(name, before, after)
    if not same(old.promoted, new.promoted):
        yield changed("promoted widgets", old.promoted, new.promoted)
    if new.id == INPUT_BOX and {*old.outputs} != {*new.outputs}:
        yield changed("inputs", list(old.outputs), list(new.outputs))


def _both_values(old: _Node, new: _Node) -> Iterator[tuple[str, Any, Any]]:
    """Each widget's value in both files: by name if both tell the names, else by position."""
    if old.names is None or new.names is None:
        names = old.names or new.names or ()
        for place in range(max(len(old.values), len(new.values))):
            name = names[place] if place < len(names) else f"value {place + 1}"
            yield name, _at(old.values, place), _at(new.values, place)
        return
    before, after = _by_name(old), _by_name(new)
    for name in dict.fromkeys([*before, *after]):
        yield name, before.get(name), after.get(name)


def _at(values: Sequence[Any], place: int) -> Any:
    return values[place] if place < len(values) else None


def _by_name(node: _Node) -> dict[str, Any]:
    names = node.names or tuple(f"value {place + 1}" for place in range(len(node.values)))
    return dict(zip(names, node.values, strict=False))


def _link_changes(
    old: _Node | None, new: _Node, before: _Graph, after: _Graph, pairs: Mapping[str, str]
) -> Iterator[Change]:
    """The links into a node; those into a removed one have gone with it."""
    old_sources: Mapping[str, Source] = old.sources if old else {}
    for name in dict.fromkeys([*old_sources, *new.sources]):
        was, now = old_sources.get(name), new.sources.get(name)
        if was is None and now is None:
            continue
        if was and now and (_partner(was[0], before, pairs), was[1]) == now:
            continue
        yield Change(
            "added" if was is None else "removed" if now is None else "changed",
            "link",
            new.title,
            Bump.PATCH,
            name,
            before.said(was),
            after.said(now),
            where=after.name,
        )


def _partner(node_id: str, before: _Graph, pairs: Mapping[str, str]) -> str | None:
    """A broken file may name a node that does not exist; it is the same in both, then."""
    return pairs.get(node_id) if node_id in before.nodes else node_id
