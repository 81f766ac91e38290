"""Small workflow documents for unit tests."""

from typing import Any


def parameter(kind: str, node_id: int, *values: Any, title: str = "") -> dict[str, Any]:
    return {
        "id": node_id,
        "type": f"Callsheet{kind}",
        "title": title or kind,
        "widgets_values": list(values),
        "inputs": [],
        "outputs": [],
    }


def document(*nodes: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"version": 0.4, "nodes": list(nodes), "links": [], "extra": extra}
