"""What the editor mends in a file before it loads it: duplicate ids, group nodes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from runner.errors import WorkflowError
from runner.graph.definitions import Definitions
from runner.graph.document import Document, Link, NodeId, SavedGraph, SavedNode
from runner.graph.groups import unpack_groups
from runner.shape import sequence

_MAX_NODE_ID = 100_000_000


def normalise(document: Document, definitions: Definitions) -> Document:
    """The document with ids that are unique across all its graphs, and without group nodes."""
    return unpack_groups(_with_unique_ids(document), definitions)


def _with_unique_ids(document: Document) -> Document:
    """Definitions give way to the root graph, and later ones to earlier ones."""
    ids = _Ids(document)
    renamed: dict[str, dict[NodeId, NodeId]] = {}
    definitions: dict[str, SavedGraph] = {}
    for graph in document.definitions.values():
        nodes, new_ids = ids.assign(graph.nodes)
        links = {i: _link_renamed(link, new_ids) for i, link in graph.links.items()}
        definitions[graph.id] = replace(graph, nodes=nodes, links=links) if new_ids else graph
        if new_ids:
            renamed[graph.id] = new_ids
    if not renamed:
        return document
    return replace(
        document,
        root=_with_proxies_renamed(document.root, renamed),
        definitions={i: _with_proxies_renamed(g, renamed) for i, g in definitions.items()},
        last_node_id=ids.last,
    )


class _Ids:
    """The ids in use, and the next free one."""

    def __init__(self, document: Document) -> None:
        self.last = document.last_node_id
        self._used = {node.id for node in document.root.nodes}

    def assign(
        self, nodes: Sequence[SavedNode]
    ) -> tuple[tuple[SavedNode, ...], dict[NodeId, NodeId]]:
        """The nodes with ids of their own, and the new id by the old."""
        assigned: list[SavedNode] = []
        new_ids: dict[NodeId, NodeId] = {}
        for node in nodes:
            if node.id in self._used:
                new_ids[node.id] = self._next()
                assigned.append(replace(node, id=new_ids[node.id]))
            else:
                self._take(node.id)
                assigned.append(node)
        return tuple(assigned), new_ids

    def _take(self, node_id: NodeId) -> None:
        self._used.add(node_id)
        if node_id.isdecimal():
            self.last = max(self.last, int(node_id))

    def _next(self) -> NodeId:
        self.last += 1
        while str(self.last) in self._used:
            self.last += 1
        if self.last > _MAX_NODE_ID:
            raise WorkflowError(f"node ids end at {_MAX_NODE_ID}; the file has used them up")
        self._used.add(str(self.last))
        return str(self.last)


def _link_renamed(link: Link, new_ids: Mapping[NodeId, NodeId]) -> Link:
    return replace(
        link,
        origin=new_ids.get(link.origin, link.origin),
        target=new_ids.get(link.target, link.target),
    )


def _with_proxies_renamed(
    graph: SavedGraph, renamed: Mapping[str, Mapping[NodeId, NodeId]]
) -> SavedGraph:
    nodes = (
        _proxies_renamed(node, renamed[node.type]) if node.type in renamed else node
        for node in graph.nodes
    )
    return replace(graph, nodes=tuple(nodes))


def _proxies_renamed(host: SavedNode, new_ids: Mapping[NodeId, NodeId]) -> SavedNode:
    """A host's proxyWidgets name inner nodes by id."""
    proxies = sequence(host.properties.get("proxyWidgets"))
    patched = [_proxy_renamed(entry, new_ids) for entry in proxies]
    if not patched:
        return host
    return replace(host, properties={**host.properties, "proxyWidgets": patched})


def _proxy_renamed(entry: object, new_ids: Mapping[NodeId, NodeId]) -> object:
    fields = sequence(entry)
    new_id = new_ids.get(str(fields[0])) if fields else None
    return entry if new_id is None else [new_id, *fields[1:]]
