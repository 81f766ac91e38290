"""Files that do not hang together: told where, within a second, and never a traceback."""

import time
from typing import Any

import pytest

from runner.errors import WorkflowError
from runner.graph.soundness import require_sound
from runner.job import Job
from runner.request import check
from runner.workflow import Workflow

from workflows import document, parameter


def linked(node_id: int, link: int) -> dict[str, Any]:
    return {
        "id": node_id,
        "type": "ImageInvert",
        "inputs": [{"name": "image", "type": "IMAGE", "link": link}],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": []}],
    }


def with_links(*nodes: dict[str, Any], links: list[list[Any]]) -> dict[str, Any]:
    return {**document(*nodes), "links": links}


CIRCLE = with_links(
    linked(1, 1), linked(2, 2), links=[[1, 2, 0, 1, 0, "IMAGE"], [2, 1, 0, 2, 0, "IMAGE"]]
)
NOWHERE = with_links(linked(1, 1), links=[[1, 99, 0, 1, 0, "IMAGE"]])
API_CIRCLE = {
    "1": {"class_type": "A", "inputs": {"x": ["2", 0]}},
    "2": {"class_type": "A", "inputs": {"x": ["1", 0]}},
}
API_NOWHERE = {"1": {"class_type": "A", "inputs": {"x": ["7", 0]}}}


@pytest.mark.parametrize(
    ("workflow", "message"),
    [
        (CIRCLE, r"circle: ImageInvert \(node \d, ImageInvert\)"),
        (NOWHERE, "linked to node 99, which is not there"),
        (API_CIRCLE, "circle"),
        (API_NOWHERE, "linked to node 7, which is not there"),
        ({"nodes": "none"}, "no list of nodes"),
        ({"nodes": [{"id": 1}]}, "has no type"),
        ({"nodes": [], "links": [[1, 2]]}, "link"),
        ({"nodes": [], "definitions": {"subgraphs": [7]}}, "is not an object"),
    ],
)
def test_what_is_broken_is_said(workflow: dict[str, Any], message: str) -> None:
    started = time.monotonic()
    with pytest.raises(WorkflowError, match=message):
        require_sound(workflow)
    assert time.monotonic() - started < 1


def test_two_outputs_of_one_name_are_refused() -> None:
    save = {"type": "SaveVideo", "title": "video", "inputs": [], "outputs": []}
    source = document({**save, "id": 1}, {**save, "id": 2}, linearData={"outputs": [1, 2]})
    with pytest.raises(WorkflowError, match="several outputs are called video"):
        check(Job("j", "w"), Workflow(source, None, "w", "1.0.0"))


def test_a_sound_file_passes() -> None:
    require_sound(document(parameter("Text", 1, "a", "prompt", "", True, 0, 0)))
    require_sound({"1": {"class_type": "A", "inputs": {"size": [640, 480]}}})
