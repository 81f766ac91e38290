"""What every benchmark needs: a real ComfyUI, a small workflow, and figures as medians of many rounds."""

import dataclasses
import socket
import statistics
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner import settings
from runner.comfy.engine import Engine
from runner.entrypoints import setup
from runner.workflow import Workflow

ROOT = Path(__file__).resolve().parent.parent
SIDE = 16  # pixels: a picture that costs next to nothing to make


@dataclasses.dataclass(frozen=True)
class Figure:
    """One measured number, and what it is compared with in the same run."""

    name: str
    value: float
    unit: str
    beside: str = ""  # what else was measured side by side
    other: float | None = None  # its number, in the same unit
    target: str = ""  # in words
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.other if self.other else None


@contextmanager
def engine() -> Generator[Engine]:
    """ComfyUI on the CPU, as the runner starts it."""
    config = dataclasses.replace(settings.from_environment(), cpu=True)
    with setup.started(config, rehearse=False) as running:
        yield running


def picture() -> Workflow:
    """One parameter, two stock nodes, one output: a picture of one colour."""
    nodes: list[dict[str, Any]] = [
        {
            "id": 1, "type": "CallsheetInteger", "title": "Color", "inputs": [],
            "outputs": [{"name": "value", "type": "INT", "links": [1]}],
            "widgets_values": [0, "color", "The color.", True, 0, 16777215, 1, ""],
        },
        {
            "id": 2, "type": "EmptyImage", "title": "Picture",
            "inputs": [{"name": "color", "type": "INT", "widget": {"name": "color"}, "link": 1}],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [2]}],
            "widgets_values": [SIDE, SIDE, 1, 0],
        },
        {
            "id": 3, "type": "SaveImage", "title": "picture", "outputs": [],
            "inputs": [{"name": "images", "type": "IMAGE", "link": 2}],
            "widgets_values": ["bench"],
        },
    ]  # fmt: skip
    links = [[1, 1, 0, 2, 0, "INT"], [2, 2, 0, 3, 0, "IMAGE"]]
    document = {"version": 0.4, "nodes": nodes, "links": links, "extra": {}}
    return Workflow(document, None, "bench", "1.0.0")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def worst_of(values: Sequence[float], share: float) -> float:
    """The value that `share` of all stay below: 0.95 is the 95th percentile."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def side_by_side(
    rounds: int, *ways: Callable[[int], float], warm: int = 5
) -> tuple[list[float], ...]:
    """Each way in turn, round by round, so that a busy moment hits all alike. Seconds each."""
    taken: tuple[list[float], ...] = tuple([] for _ in ways)
    for number in range(rounds + warm):
        for way, seconds in zip(ways, taken, strict=True):
            took = way(number)
            if number >= warm:
                seconds.append(took)
    return taken
