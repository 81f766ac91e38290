"""ComfyUI's messages folded into one progress that never goes back. Pure, but for `Steady`'s clock."""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.job import Progress, Report
from runner.shape import mapping, sequence

# Shares of a render's time by what a node gives; anything else, such as a parameter, is quick.
_SAMPLER, _DECODER, _LOADER, _OTHER, _QUICK = 30.0, 6.0, 3.0, 1.0, 0.1
_COUNTED = re.compile(r"(\d+)\s*(?:of|/)\s*(\d+)")  # "window 3 of 14"
_TEXT = 80  # characters of what a node says
EVERY = 0.1  # seconds between two updates, at least


@dataclass
class Tracker:
    """Follows one prompt. `see` takes a message's type, its data and the time in seconds."""

    weights: Mapping[str, float]  # by node id
    titles: Mapping[str, str]  # by node id
    started: float | None = None
    _parts: dict[str, float] = field(default_factory=dict[str, float])  # 0..1 by node id
    _said: dict[str, str] = field(default_factory=dict[str, str])  # by node id
    _first: dict[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )  # by node id: the first part measured, and when
    _pace: float | None = None  # measured seconds per weight
    _last: Progress = field(default_factory=lambda: Progress(0.0, "queued"))

    def see(self, kind: str, data: Mapping[str, Any], now: float) -> Progress:
        if kind == "tick":
            return self._last
        if self.started is None or kind == "execution_start":
            self.started = now  # time in the queue says nothing of the time left
        stage, step, steps = self._last.stage, self._last.step, self._last.steps
        node = str(data.get("display_node") or data.get("node"))
        if kind == "execution_start":
            stage = "starting"
        elif kind == "engine_lost":
            self._forget()
            stage, step, steps = "starting ComfyUI again", None, None
        elif kind == "execution_cached":
            self._parts.update(dict.fromkeys(map(str, sequence(data.get("nodes"))), 1.0))
        elif kind == "executing" and self._takes_time(node):
            stage, step, steps = self._stage(node), None, None
        elif kind == "progress_text" and node in self.titles:
            self._said[node] = str(data.get("text")).strip().partition("\n")[0][:_TEXT]
            stage = self._stage(node)
        elif kind == "progress_state":
            for node_id, state in mapping(data.get("nodes")).items():
                whole, value = float(state["max"]) or 1.0, float(state["value"])
                if state["state"] == "finished":
                    self._parts[node_id] = 1.0
                    continue
                self._parts[node_id] = self._part(node_id, min(1.0, value / whole))
                if whole > 1:
                    self._measure(node_id, now)
                    stage = self._stage(node_id) if node_id in self.titles else stage
                    step, steps = int(value), int(whole)
        self._last = self._progress(stage, step, steps, now)
        return self._last

    def _takes_time(self, node_id: str) -> bool:
        return node_id in self.titles and (self.weights[node_id] > _QUICK or node_id in self._said)

    def _stage(self, node_id: str) -> str:
        said = self._said.get(node_id)
        return f"{self.titles[node_id]}: {said}" if said else self.titles[node_id]

    def _part(self, node_id: str, part: float) -> float:
        """A node that says "window 3 of 14" counts its steps anew in each."""
        counted = _COUNTED.search(self._said.get(node_id, ""))
        if counted is None or not 0 < int(counted[1]) <= int(counted[2]):
            return part
        return (int(counted[1]) - 1 + part) / int(counted[2])

    def _measure(self, node_id: str, now: float) -> None:
        part = self._parts[node_id]
        first, since = self._first.setdefault(node_id, (part, now))
        work = (part - first) * self.weights.get(node_id, 0.0)
        if work > 0:
            self._pace = (now - since) / work

    def _forget(self) -> None:
        self.started, self._pace = None, None
        self._parts.clear()
        self._said.clear()
        self._first.clear()

    def _progress(self, stage: str, step: int | None, steps: int | None, now: float) -> Progress:
        total = sum(self.weights.values()) or 1.0
        done = sum(self.weights.get(node, 0.0) * part for node, part in self._parts.items())
        fraction = max(self._last.fraction, min(1.0, done / total))
        pace = self._pace
        if pace is None and self.started is not None and done / total > 0.02:
            pace = (now - self.started) / done
        eta = None if pace is None else max(0.0, total - done) * pace
        return Progress(fraction, stage, step, steps, eta)


@dataclass
class Steady:
    """A report that gets at most ten updates a second, whose fraction never falls.

    What comes too soon is held: the newest of it goes out with the next call, or with `flush`.
    What says nothing else than the last one is dropped.
    """

    report: Report
    clock: Callable[[], float] = time.monotonic
    _highest: float = 0.0
    _sent: float = float("-inf")
    _held: Progress | None = None
    _told: Progress | None = None  # the last one, without its preview

    def __call__(self, progress: Progress) -> None:
        self._highest = max(self._highest, progress.fraction)
        preview = progress.preview or (self._held.preview if self._held else None)
        self._held = dataclasses.replace(progress, fraction=self._highest, preview=preview)
        if self.clock() - self._sent >= EVERY:
            self.flush()

    def flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            if held != self._told:
                self._sent, self._told = self.clock(), dataclasses.replace(held, preview=None)
                self.report(held)


def tracker(prompt: Mapping[str, Mapping[str, Any]], object_info: Mapping[str, Any]) -> Tracker:
    """A tracker for an API prompt."""
    weights = {
        node_id: _weight(node, mapping(object_info.get(node["class_type"])))
        for node_id, node in prompt.items()
    }
    titles = {
        node_id: str(mapping(node.get("_meta")).get("title") or node["class_type"])
        for node_id, node in prompt.items()
    }
    return Tracker(weights, titles)


def _weight(node: Mapping[str, Any], definition: Mapping[str, Any]) -> float:
    gives, takes = set(map(str, sequence(definition.get("output")))), mapping(node["inputs"])
    if "LATENT" in gives and ("steps" in takes or "sigmas" in takes):
        return _SAMPLER
    if "IMAGE" in gives and "vae" in takes:
        return _DECODER
    if gives & {"MODEL", "CLIP", "VAE"} and "model" not in takes:
        return _LOADER
    return _OTHER if "CONDITIONING" in gives or definition.get("output_node") else _QUICK
