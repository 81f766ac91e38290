"""PrimitiveNodes: their value stands in the widgets they are linked to, not in the prompt."""

from runner.graph.document import Link
from runner.graph.loading import Graph, with_value
from runner.graph.nodes import PRIMITIVE, Node, Slot
from runner.shape import sequence


def push_values(graph: Graph) -> None:
    """Write every primitive's value into the widgets it is linked to."""
    for node in list(graph.nodes.values()):
        if node.saved.type == PRIMITIVE and node.saved.outputs:
            _push(node, graph)


def _push(primitive: Node, graph: Graph) -> None:
    links = [graph.links[i] for i in primitive.saved.outputs[0].links if i in graph.links]
    stored = sequence(primitive.saved.values)
    if not stored:
        return  # its widget was made from the target's and holds the target's value
    for link in links:
        target, slot = _target(link, graph)
        if target is not None and slot is not None and slot.widget is not None:
            graph.nodes[target.id] = with_value(target, slot.widget, stored[0])


def _target(link: Link, graph: Graph) -> tuple[Node | None, Slot | None]:
    target = graph.nodes.get(link.target)
    if target is None:
        return None, None
    index = target.slot_of(link.id)
    if index is None:
        index = link.target_slot
    return target, target.inputs[index] if 0 <= index < len(target.inputs) else None
