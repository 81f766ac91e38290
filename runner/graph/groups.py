"""Group nodes (`workflow/name`), the forerunners of subgraphs, unpacked into their inner nodes. Pure.

The editor unpacks a group and makes a subgraph of it. Here the inner nodes go straight into the
root graph, under the ids they would have in that subgraph. Where the editor puts values or links
into the wrong place, because it counts slots as nobody saved them, they go by name instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.errors import WorkflowError
from runner.graph.definitions import NO_VALUE, Definition, Definitions
from runner.graph.document import Document, Link, NodeId, SavedInput, SavedNode, node_from
from runner.graph.nodes import BYPASSED, MUTED, PRIMITIVE
from runner.shape import mapping, sequence

# Groups may hold groups; what unpacks further than this holds itself.
_MAX_GROUPS = 1000


def unpack_groups(document: Document, definitions: Definitions) -> Document:
    """The document with every group node of the root graph replaced by what it holds."""
    for _ in range(_MAX_GROUPS):
        group = next((n for n in document.root.nodes if _name(n) in document.group_nodes), None)
        if group is None:
            return document
        document = _Unpacking(document, group, definitions).document()
    raise WorkflowError("a group node contains itself")


def _name(node: SavedNode) -> str | None:
    for prefix in ("workflow/", "workflow>"):
        if node.type.startswith(prefix):
            return node.type.removeprefix(prefix)
    return None


@dataclass(frozen=True, slots=True)
class _Inner:
    """A node in a group, and its place there."""

    index: int
    node: SavedNode
    definition: Definition | None


class _Unpacking:
    """One group node on its way to become its inner nodes."""

    def __init__(self, document: Document, group: SavedNode, definitions: Definitions) -> None:
        self._document = document
        self._group = group
        self._data = mapping(document.group_nodes[_name(group) or ""])
        raw = sequence(self._data.get("nodes"))
        first = _last_id(document) + 1
        self._host = first + len(raw)
        self._inner = [
            self._read(index, item, f"{self._host}:{first + index}", definitions)
            for index, item in enumerate(raw)
        ]
        self._links = [link for link in map(_link, sequence(self._data.get("links"))) if link]

    def document(self) -> Document:
        root = self._document.root
        links = {**root.links, **{link.id: link for link in self._inner_links()}}
        by_target: dict[tuple[NodeId, str], str] = {
            (link.target, name): link.id for link, name in self._named_links(links)
        }
        inner = [self._linked(node, by_target) for node in self._with_values()]
        outside = [node for node in root.nodes if node.id != self._group.id]
        return replace(
            self._document,
            last_node_id=self._host,
            root=replace(
                root,
                nodes=(*outside, *inner),
                links={i: self._rerouted(link) for i, link in links.items()},
            ),
        )

    def _read(self, index: int, raw: Any, node_id: NodeId, definitions: Definitions) -> _Inner:
        node = node_from(
            {**mapping(raw), "id": node_id}, where=f"group node {_name(self._group)}: node"
        )
        node = replace(node, inputs=tuple(replace(i, link=None) for i in node.inputs))
        if self._group.mode in (MUTED, BYPASSED):
            node = replace(node, mode=self._group.mode)
        return _Inner(index, node, definitions.get(node.type))

    # --- links -------------------------------------------------------------------------------

    def _inner_links(self) -> Iterator[Link]:
        for number, (source, slot, target, place) in enumerate(self._links):
            if source < len(self._inner) and target < len(self._inner):
                ends = self._inner[source].node.id, slot, self._inner[target].node.id, place
                yield Link(f"group {self._host} {number}", *ends)

    def _named_links(self, links: Mapping[str, Link]) -> Iterator[tuple[Link, str]]:
        """Links that end at an inner node, and the name of the input there."""
        by_id = {inner.node.id: inner for inner in self._inner}
        for link in self._inner_links():
            names = _input_names(by_id[link.target])
            if 0 <= link.target_slot < len(names):
                yield link, names[link.target_slot]
        for slot in self._group.inputs:
            place = self._inputs().get(slot.name)
            if slot.link is not None and slot.link in links and place is not None:
                yield replace(links[slot.link], target=place[0]), place[1]

    def _linked(self, node: SavedNode, by_target: Mapping[tuple[NodeId, str], str]) -> SavedNode:
        saved = {slot.name: slot for slot in node.inputs}
        for target, name in by_target:
            if target == node.id:
                saved.setdefault(name, SavedInput(name, "*", None))
        inputs = (
            replace(slot, link=by_target.get((node.id, slot.name))) for slot in saved.values()
        )
        return replace(node, inputs=tuple(inputs))

    def _rerouted(self, link: Link) -> Link:
        """A link out of the group, as one out of the inner node."""
        if link.origin != self._group.id:
            return link
        outputs = list(self._outputs())
        if not 0 <= link.origin_slot < len(outputs):
            raise WorkflowError(
                f"group node {_name(self._group)} (node {self._group.id}) has no output "
                f"{link.origin_slot}"
            )
        origin, slot = outputs[link.origin_slot]
        return replace(link, origin=origin, origin_slot=slot)

    # --- what the group shows ----------------------------------------------------------------

    def _inputs(self) -> dict[str, tuple[NodeId, str]]:
        """The group's inputs by name: what is not linked inside; names that repeat get a prefix."""
        shown: dict[str, tuple[NodeId, str]] = {}
        seen: dict[str, int] = {}
        for inner in self._inner:
            taken = {place for _, _, target, place in self._links if target == inner.index}
            for place, name in enumerate(_input_names(inner)):
                if place not in taken:
                    shown[self._shown_name(inner, name, seen)] = (inner.node.id, name)
        return shown

    def _shown_name(self, inner: _Inner, name: str, seen: dict[str, int]) -> str:
        custom = self._custom(inner, "input", name)
        title = inner.node.title or inner.node.type
        shown = key = str(custom.get("name") or name)
        if key in seen or (inner.node.type == PRIMITIVE and inner.node.title):
            shown = key = f"{title} {name}"
            if key in seen:
                shown = f"{title} {seen[key]} {name}"
        seen[key] = seen.get(key, 1) + 1
        return shown

    def _outputs(self) -> Iterator[tuple[NodeId, int]]:
        """The group's outputs: what is not linked inside, or is outside as well."""
        outside = {
            (ext[0], ext[1])
            for ext in map(sequence, sequence(self._data.get("external")))
            if len(ext) > 1
        }
        for inner in self._inner:
            count = len(inner.definition.outputs if inner.definition else inner.node.outputs)
            for slot in range(count):
                linked = any((s, o) == (inner.index, slot) for s, o, _, _ in self._links)
                shown = not linked or (inner.index, slot) in outside
                if self._custom(inner, "output", str(slot)).get("visible", shown):
                    yield inner.node.id, slot

    def _custom(self, inner: _Inner, side: str, name: str) -> Mapping[str, Any]:
        config = mapping(mapping(self._data.get("config")).get(str(inner.index)))
        return mapping(mapping(config.get(side)).get(name))

    # --- values ------------------------------------------------------------------------------

    def _with_values(self) -> Iterator[SavedNode]:
        """The group's values are its inner nodes' values in a row.

        Where it has too few, the definition's default counts, not what the group's own node holds.
        """
        values = iter(sequence(self._group.values))
        for inner in self._inner:
            own = list(sequence(inner.node.values))
            for place, default in _stored_places(inner):
                value = next(values, default)
                if value is not NO_VALUE:
                    own += [None] * (place + 1 - len(own))
                    own[place] = value
            yield replace(inner.node, values=own)


def _input_names(inner: _Inner) -> Sequence[str]:
    """An inner node's inputs as the group counts them: as saved, else as declared."""
    if inner.node.inputs:
        return [slot.name for slot in inner.node.inputs]
    return inner.definition.parts.slots if inner.definition else ()


def _stored_places(inner: _Inner) -> list[tuple[int, Any]]:
    """Places in an inner node's widgets_values that the group has a value for, and the defaults.

    A widget that was turned into an input has none.
    """
    if inner.node.type == PRIMITIVE:
        numeric = bool(inner.node.outputs) and inner.node.outputs[0].type in _CONTROLLED
        return [(0, NO_VALUE), (1, NO_VALUE)] if numeric else [(0, NO_VALUE)]
    if inner.definition is None:
        return []
    stored = [widget for widget in inner.definition.parts.widgets if widget.stored]
    turned = {slot.name for slot in inner.node.inputs if slot.widget == slot.name}
    return [(i, widget.default) for i, widget in enumerate(stored) if widget.name not in turned]


_CONTROLLED = ("INT", "FLOAT", "COMBO")


def _link(raw: object) -> tuple[int, int, int, int] | None:
    """Source index and slot, target index and slot; null ends lie outside."""
    ends = sequence(raw)[:4]
    if len(ends) < 4 or not all(isinstance(x, int) and x >= 0 for x in ends):
        return None
    return ends[0], ends[1], ends[2], ends[3]


def _last_id(document: Document) -> int:
    graphs = (document.root, *document.definitions.values())
    ids = (node.id for graph in graphs for node in graph.nodes)
    parts = (part for node_id in ids for part in node_id.split(":"))
    return max([document.last_node_id, *(int(p) for p in parts if p.isdecimal())])
