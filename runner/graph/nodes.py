"""Saved nodes set up from their definitions, as the editor does when it loads a file. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from runner.graph.definitions import Definition, Definitions, Group, Parts
from runner.graph.document import LinkId, NodeId, SavedInput, SavedNode
from runner.graph.widgets import Filled, fill, unknown_widgets

MUTED, BYPASSED = 2, 4  # litegraph's modes NEVER and BYPASS

# Set and Get are made by a pack's JavaScript (KJNodes); the server never hears of them.
_SET, _GET = "SetNode", "GetNode"
PRIMITIVE = "PrimitiveNode"
_VIRTUAL = frozenset({"Reroute", PRIMITIVE, "Note", "MarkdownNote", _SET, _GET})

Kind: TypeAlias = Literal["real", "virtual", "set", "get", "subgraph", "unknown"]


@dataclass(frozen=True, slots=True)
class Slot:
    """An input slot: what is linked to it, and the widget it stands in for."""

    name: str
    type: str
    link: LinkId | None
    widget: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the editor holds it."""

    saved: SavedNode
    kind: Kind
    title: str
    inputs: tuple[Slot, ...]
    outputs: tuple[str, ...]  # types
    widgets: tuple[Filled, ...] = field(default=())

    @property
    def id(self) -> NodeId:
        return self.saved.id

    @property
    def runs(self) -> bool:
        """Neither muted nor bypassed."""
        return self.saved.mode not in (MUTED, BYPASSED)

    def widget(self, name: str) -> Filled | None:
        return next((w for w in self.widgets if w.name == name), None)

    def slot_of(self, link: LinkId) -> int | None:
        """The input that a link ends at: the input knows, the link's own slot number is stale."""
        return next((i for i, slot in enumerate(self.inputs) if slot.link == link), None)


def set_up(saved: SavedNode, definitions: Definitions) -> Node:
    """A node of the server's types, a virtual one, or one that nobody knows."""
    if saved.type in _VIRTUAL:
        return _as_saved(saved, _virtual_kind(saved.type))
    definition = definitions.get(saved.type)
    if definition is None:
        return _as_saved(saved, "unknown", unknown_widgets(saved.values))
    widgets = fill(definition, saved.values)
    return Node(
        saved=saved,
        kind="real",
        title=saved.title or definition.title,
        inputs=tuple(_inputs(saved.inputs, definition, widgets)),
        outputs=tuple(_outputs(saved, definition)),
        widgets=widgets,
    )


def _virtual_kind(node_type: str) -> Kind:
    return "set" if node_type == _SET else "get" if node_type == _GET else "virtual"


def _as_saved(saved: SavedNode, kind: Kind, widgets: tuple[Filled, ...] = ()) -> Node:
    return Node(
        saved=saved,
        kind=kind,
        title=saved.title or saved.type,
        inputs=tuple(Slot(i.name, i.type, i.link, i.widget) for i in saved.inputs),
        outputs=tuple(o.type for o in saved.outputs),
        widgets=widgets,
    )


def _outputs(saved: SavedNode, definition: Definition) -> Iterator[str]:
    """Outputs match by index; their names are not unique."""
    for index in range(max(len(saved.outputs), len(definition.outputs))):
        in_file = saved.outputs[index].type if index < len(saved.outputs) else None
        declared = definition.outputs[index] if index < len(definition.outputs) else None
        if declared is None or (declared.saved_type and in_file is not None):
            yield in_file or "*"
        else:
            yield declared.type


# --- inputs: by name, in the order of the definition ---------------------------------------------


def _inputs(
    saved: Sequence[SavedInput], definition: Definition, widgets: Sequence[Filled]
) -> list[Slot]:
    by_name = {slot.name: slot for slot in saved}
    branches = {w.name: w for w in widgets if w.branch is not None}
    declared = list(_declared(definition.parts, branches, by_name))
    names = {slot.name for slot in declared}
    rebuilt = tuple(f"{name}." for name, w in branches.items() if w.rebuilt)
    # A dynamic combo whose value is set throws away all inputs it did not make itself.
    extra = [
        Slot(slot.name, slot.type, slot.link, slot.widget)
        for slot in saved
        if slot.name not in names and not slot.name.startswith(rebuilt)
    ]
    return _without_lost_widgets([*declared, *extra], {w.name for w in widgets})


def _declared(
    parts: Parts, branches: dict[str, Filled], saved: dict[str, SavedInput]
) -> Iterator[Slot]:
    sockets = {socket.name: socket for socket in parts.sockets}
    widget_types = {widget.name: widget.socket_type or "*" for widget in parts.widgets}
    for name in _grown(parts, saved):
        socket, slot = sockets.get(name), saved.get(name)
        link = slot.link if slot else None
        if socket is None:
            yield Slot(name, widget_types.get(name, "*"), link, name)
        else:
            kept = slot is not None and socket.saved_type
            yield Slot(name, slot.type if slot and kept else socket.type, link)
        if name in branches:
            yield from _declared(branches[name].branch or Parts(), branches, saved)


def _grown(parts: Parts, saved: dict[str, SavedInput]) -> Iterator[str]:
    """The slots' names; an autogrow group shows one row more than is linked."""
    last_of = {group.names[group.shown - 1]: group for group in parts.groups if group.names}
    for name in parts.slots:
        yield name
        if name in last_of:
            yield from _more(last_of[name], saved)


def _more(group: Group, saved: dict[str, SavedInput]) -> Iterator[str]:
    shown = group.shown
    while shown < len(group.names):
        row = group.names[shown - group.row : shown]
        if not any(name in saved and saved[name].link is not None for name in row):
            return
        yield from group.names[shown : shown + group.row]
        shown += group.row


def _without_lost_widgets(slots: list[Slot], widgets: set[str]) -> list[Slot]:
    """Slots without those of widgets that no longer exist."""
    kept: list[Slot] = []
    skip = False
    for slot in slots:
        lost = slot.widget is not None and slot.widget not in widgets
        # The editor deletes from the list it walks, so it never looks at the one behind.
        skip = lost and not skip
        if not skip:
            kept.append(slot)
    return kept
