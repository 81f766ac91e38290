"""Whether a workflow file hangs together: what no node definition is needed to see. Pure."""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from runner.errors import WorkflowError
from runner.graph.convert import is_api_format
from runner.graph.document import INPUT_BOX, OUTPUT_BOX, SavedGraph, parse
from runner.shape import mapping, sequence


def require_sound(workflow: Mapping[str, Any]) -> None:
    """Raises WorkflowError with everything that is broken: shapes, links to nowhere, circles."""
    try:
        problems = list(_api_problems(workflow) if is_api_format(workflow) else _problems(workflow))
    except RecursionError as error:
        raise WorkflowError("the file is nested too deeply") from error
    if problems:
        raise WorkflowError("; ".join(problems), details={"problems": problems})


def _problems(workflow: Mapping[str, Any]) -> Iterator[str]:
    document = parse(workflow)
    for graph in (document.root, *document.definitions.values()):
        where = f" in subgraph {graph.name or graph.id}" if graph.id else ""
        yield from (f"{problem}{where}" for problem in _graph_problems(graph))


def _graph_problems(graph: SavedGraph) -> Iterator[str]:
    labels = {node.id: node.label for node in graph.nodes}
    known = {*labels, INPUT_BOX, OUTPUT_BOX}
    feeds: dict[str, set[str]] = {}
    for node in graph.nodes:
        for slot in node.inputs:
            link = graph.links.get(slot.link) if slot.link is not None else None
            if link is None:
                continue  # the editor drops such a leftover, too
            if link.origin not in known:
                yield f"{node.label}: {slot.name} is linked to node {link.origin}, which is not there"
            elif link.origin in labels:
                feeds.setdefault(node.id, set()).add(link.origin)
    yield from _circle(feeds, labels)


def _api_problems(prompt: Mapping[str, Any]) -> Iterator[str]:
    labels = {i: f"node {i} ({mapping(node).get('class_type')})" for i, node in prompt.items()}
    feeds: dict[str, set[str]] = {}
    for node_id, node in prompt.items():
        for name, value in mapping(mapping(node).get("inputs")).items():
            pair = sequence(value)
            if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], int):
                continue
            if pair[0] not in prompt:
                yield f"{labels[node_id]}: {name} is linked to node {pair[0]}, which is not there"
            else:
                feeds.setdefault(node_id, set()).add(pair[0])
    yield from _circle(feeds, labels)


def _circle(feeds: Mapping[str, set[str]], labels: Mapping[str, str]) -> Iterator[str]:
    try:
        TopologicalSorter(feeds).prepare()
    except CycleError as error:
        yield "links run in a circle: " + " → ".join(labels[i] for i in error.args[1])
