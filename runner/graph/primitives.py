"""PrimitiveNodes: their value stands in the widgets they are linked to, not in the prompt."""

from collections.abc import Callable, Iterator
from typing import Any

from runner.graph.definitions import NO_VALUE, makes_widget
from runner.graph.document import Link
from runner.graph.loading import Graph, with_value
from runner.graph.nodes import PRIMITIVE, Node, Slot
from runner.shape import sequence

REPLACES = "Run widget replace on values"


def push_values(graph: Graph, replace_text: Callable[[str], str]) -> None:
    """Write every primitive's value into the widgets it is linked to, muted or not."""
    for node in list(graph.nodes.values()):
        if node.saved.type == PRIMITIVE and node.saved.outputs:
            _push(node, graph, replace_text)


def _push(primitive: Node, graph: Graph, replace_text: Callable[[str], str]) -> None:
    links = primitive.saved.outputs[0].links
    targets = list(_targets(graph, links))
    # The first link alone decides whether the primitive has a widget, and what it starts with.
    if not links or links[0] not in graph.links or not targets:
        return
    value = _value(primitive, *targets[0])
    if isinstance(value, str) and value and primitive.saved.properties.get(REPLACES):
        value = replace_text(value)
    for node, slot in targets:
        if value is not NO_VALUE and slot.widget is not None:
            graph.nodes[node.id] = with_value(graph.nodes[node.id], slot.widget, value)


def _value(primitive: Node, target: Node, slot: Slot) -> Any:
    """The stored value, else the first target's own."""
    item = target.widget(slot.widget) if slot.widget is not None else None
    if item is None and not makes_widget(slot.type):
        return NO_VALUE
    stored = sequence(primitive.saved.values)
    value = stored[0] if stored else item.value if item else NO_VALUE
    choices = item.widget.choices if item else ()
    return choices[0] if value is None and choices else value


def _targets(graph: Graph, links: tuple[str, ...]) -> Iterator[tuple[Node, Slot]]:
    for link in (graph.links[i] for i in links if i in graph.links):
        target = graph.nodes.get(link.target)
        place = _place(target, link) if target else None
        if target is not None and place is not None:
            yield target, target.inputs[place]


def _place(target: Node, link: Link) -> int | None:
    found = target.slot_of(link.id)
    if found is not None:
        return found
    return link.target_slot if 0 <= link.target_slot < len(target.inputs) else None
