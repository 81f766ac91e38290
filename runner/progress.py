"""ComfyUI's messages folded into one progress that never goes back. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.job import Progress
from runner.shape import mapping, sequence

# Shares of a render's time by what a node gives; anything else, such as a parameter, is quick.
_SAMPLER, _DECODER, _LOADER, _OTHER, _QUICK = 30.0, 6.0, 3.0, 1.0, 0.1


@dataclass
class Tracker:
    """Follows one prompt. `see` takes a message's type, its data and the time in seconds."""

    weights: Mapping[str, float]  # by node id
    titles: Mapping[str, str]  # of the nodes that take time: the stages
    started: float | None = None
    _parts: dict[str, float] = field(default_factory=dict[str, float])  # 0..1 by node id
    _last: Progress = field(default_factory=lambda: Progress(0.0, "queued"))

    def see(self, kind: str, data: Mapping[str, Any], now: float) -> Progress:
        if self.started is None or kind == "execution_start":
            self.started = now  # time in the queue says nothing of the time left
        stage, step, steps = self._last.stage, self._last.step, self._last.steps
        if kind == "execution_start":
            stage = "starting"
        if kind == "execution_cached":
            self._parts.update(dict.fromkeys(map(str, sequence(data.get("nodes"))), 1.0))
        elif kind == "executing" and data.get("node") in self.titles:
            stage, step, steps = self.titles[data["node"]], None, None
        elif kind == "progress_state":
            for node_id, state in mapping(data.get("nodes")).items():
                whole = float(state["max"]) or 1.0
                finished = state["state"] == "finished"
                self._parts[node_id] = 1.0 if finished else min(1.0, state["value"] / whole)
                if state["state"] == "running" and whole > 1:
                    stage = self.titles.get(node_id, stage)
                    step, steps = int(state["value"]), int(whole)
        self._last = self._progress(stage, step, steps, now)
        return self._last

    def _progress(self, stage: str, step: int | None, steps: int | None, now: float) -> Progress:
        total = sum(self.weights.values()) or 1.0
        done = sum(self.weights.get(node, 0.0) * part for node, part in self._parts.items())
        fraction = max(self._last.fraction, min(1.0, done / total))
        assert self.started is not None
        elapsed = now - self.started
        eta = elapsed * (1 - fraction) / fraction if fraction > 0.02 else None
        return Progress(fraction, stage, step, steps, eta)


def tracker(prompt: Mapping[str, Mapping[str, Any]], object_info: Mapping[str, Any]) -> Tracker:
    """A tracker for an API prompt."""
    weights = {
        node_id: _weight(node, mapping(object_info.get(node["class_type"])))
        for node_id, node in prompt.items()
    }
    titles = {
        node_id: str(mapping(node.get("_meta")).get("title") or node["class_type"])
        for node_id, node in prompt.items()
        if weights[node_id] > _QUICK
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
