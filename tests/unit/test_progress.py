"""Messages → one progress that never goes back."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner import progress
from runner.job import Progress

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


def test_the_time_left_is_measured_in_steps() -> None:
    tracker = progress.tracker(PROMPT, INFO)
    tracker.see("execution_start", {}, 0.0)
    tracker.see("progress_state", state("1", 1, 1, "finished"), 100.0)  # a slow load tells nothing
    tracker.see("progress_state", state("2", 1, 4), 102.0)
    seen = tracker.see("progress_state", state("2", 2, 4), 104.0)
    # Two steps of 2 s are left; the decoder is a fifth of the sampler: 1.6 s.
    assert seen.eta is not None
    assert abs(seen.eta - 5.6) < 0.1


def test_windows_count_their_steps_anew() -> None:
    tracker = progress.tracker(PROMPT, INFO)
    text = {"node": "2", "text": "window 2 of 4\nmore"}
    seen = tracker.see("progress_text", text, 0.0)
    assert seen.stage == "Sample: window 2 of 4"
    seen = tracker.see("progress_state", state("2", 4, 4), 1.0)
    share = 30 / (30 + 6 + 3)  # the sampler's, of all three
    assert abs(seen.fraction - share * 2 / 4) < 0.01
    assert (seen.stage, seen.step, seen.steps) == ("Sample: window 2 of 4", 4, 4)


def test_a_new_attempt_does_not_go_back() -> None:
    tracker = progress.tracker(PROMPT, INFO)
    before = tracker.see("progress_state", state("2", 3, 4), 1.0)
    lost = tracker.see("engine_lost", {}, 2.0)
    again = tracker.see("progress_state", state("2", 1, 4), 30.0)
    assert lost.stage == "starting ComfyUI again"
    assert lost.eta is None
    assert before.fraction == lost.fraction == again.fraction


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.5)), max_size=60))
def test_at_most_ten_a_second_and_none_backwards(sent: list[tuple[float, float]]) -> None:
    now, got = [0.0], list[tuple[float, Progress]]()
    steady = progress.Steady(lambda p: got.append((now[0], p)), clock=lambda: now[0])
    for fraction, pause in sent:
        now[0] += pause
        steady(Progress(fraction, "x"))
    assert all(b - a >= 0.1 for (a, _), (b, _) in itertools.pairwise(got))
    now[0] += 0.1
    steady.flush()
    fractions = [p.fraction for _, p in got]
    assert fractions == sorted(fractions)
    if sent:
        assert fractions[-1] == max(fraction for fraction, _ in sent)  # nothing is lost for good


def test_a_preview_that_is_held_back_comes_with_the_next() -> None:
    got: list[Progress] = []
    steady = progress.Steady(got.append, clock=lambda: 0.0)
    steady(Progress(0.1, "x"))
    steady(Progress(0.2, "x", preview=b"picture"))
    steady(Progress(0.3, "x"))
    steady.flush()
    assert [(p.fraction, p.preview) for p in got] == [(0.1, None), (0.3, b"picture")]
