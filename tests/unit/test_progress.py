"""Messages → one progress that never goes back."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner import progress

INFO = {
    "Load": {"output": ["MODEL"]},
    "Sample": {"output": ["LATENT"]},
    "Decode": {"output": ["IMAGE"]},
}
PROMPT: dict[str, dict[str, Any]] = {
    "1": {"class_type": "Load", "inputs": {}, "_meta": {"title": "Expert"}},
    "2": {"class_type": "Sample", "inputs": {"steps": 4}, "_meta": {"title": "Sample"}},
    "3": {"class_type": "Decode", "inputs": {"vae": 1}, "_meta": {"title": "Decode"}},
}


def state(node: str, value: float, whole: float, what: str = "running") -> dict[str, Any]:
    return {"nodes": {node: {"value": value, "max": whole, "state": what}}}


def test_a_sampler_counts_more_than_a_loader() -> None:
    tracker = progress.tracker(PROMPT, INFO)
    tracker.see("execution_start", {}, 10.0)
    loaded = tracker.see("progress_state", state("1", 1, 1, "finished"), 11.0)
    half = tracker.see("progress_state", state("2", 2, 4), 21.0)
    assert 0 < loaded.fraction < 0.1
    assert 0.4 < half.fraction < 0.6
    assert (half.stage, half.step, half.steps) == ("Sample", 2, 4)
    assert half.eta is not None
    assert 5 < half.eta < 25


def test_cached_nodes_are_done() -> None:
    tracker = progress.tracker(PROMPT, INFO)
    assert tracker.see("execution_cached", {"nodes": ["1", "2", "3"]}, 0.0).fraction == 1.0


messages = st.lists(
    st.tuples(
        st.sampled_from(["executing", "progress_state", "execution_cached", "status", "preview"]),
        st.sampled_from(["1", "2", "3", "99", None]),
        st.floats(0, 10),
    )
)


@given(messages)
def test_it_never_goes_back_and_never_leaves_0_to_1(sent: list[tuple[str, Any, float]]) -> None:
    tracker = progress.tracker(PROMPT, INFO)
    last = 0.0
    for index, (kind, node, value) in enumerate(sent):
        data = {"node": node, "nodes": {node: {"value": value, "max": 5, "state": "running"}}}
        if kind == "execution_cached":
            data["nodes"] = [node]  # type: ignore[assignment]
        now = tracker.see(kind, data, float(index)).fraction
        assert last <= now <= 1.0
        last = now
