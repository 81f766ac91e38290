"""Our prompts are the real editor's, node by node and input by input: `make parity`."""

import random
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from runner import settings as runner_settings
from runner.errors import WorkflowError
from runner.graph import to_api

import hard
from cases import Case, all_cases, hard_cases
from comparison import Difference, Prompt, differences
from truth import NOW, Truth

CASES = all_cases(runner_settings.from_environment().comfyui_dir)

# Defects of the frontend, with what we send instead, by node and input.
# graphic_design_recomposer: one PrimitiveNode has two targets, and the editor writes a model's name
# into the aspect ratio of the second.
FRONTEND_DEFECTS: dict[str, dict[tuple[str, str | None], Any]] = {
    "template/templates_graphic_design_recomposer": {("143:157", "model.aspect_ratio"): "16:9"},
}

# With an empty cache the first test waits for minutes until everything is recorded.
pytestmark = pytest.mark.timeout(0)


class FirstChoice(random.Random):
    """As the editor is recorded: Math.random() is 0."""

    def random(self) -> float:
        return 0.0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_our_prompt_is_the_editors(
    case: Case,
    truth_of: Callable[[Case], Truth],
    object_info: dict[str, Any],
    record_property: Callable[[str, Any], None],
) -> None:
    record_property("kind", case.kind)
    truth = truth_of(case)
    if instead := hard.ours_instead(case):
        record_property("verdict", "differ as meant")
        differs_as_meant(case, truth, instead, object_info)
        return
    if truth.failure:
        pytest.fail(f"the editor could not load {case.path}: {truth.failure}", pytrace=False)
    ours, milliseconds = converted(case, object_info)
    record_property("ms", milliseconds)
    found = differences(truth.prompt, ours)
    if defect := FRONTEND_DEFECTS.get(str(case)):
        record_property("verdict", "a defect of the editor")
        places = {(each.node, each.input): each.ours for each in found}
        assert places == defect, f"{case}: if this frontend is mended, remove FRONTEND_DEFECTS"
        return
    record_property("verdict", f"differ ({found[0].kind})" if found else "exact")
    expect_none(found, f"{case.path} differs from the editor")


@pytest.mark.parametrize("case", hard_cases(), ids=str)
def test_recorded_truth_is_fresh(case: Case, truth_of: Callable[[Case], Truth]) -> None:
    truth = truth_of(case)
    fresh = None if truth.failure else hard.untitled(truth.prompt)
    assert hard.truth(case) == fresh, "record it: .venv/bin/pytest tests/parity -k hard/ --record"


def differs_as_meant(
    case: Case, truth: Truth, instead: dict[str, Any], object_info: dict[str, Any]
) -> None:
    if "error" in instead:
        assert truth.failure, f"{case}: the editor can do it now; remove its .ours.json"
        with pytest.raises(WorkflowError, match=instead["error"]):
            converted(case, object_info)
        return
    ours, _ = converted(case, object_info)
    assert truth.failure or differences(truth.prompt, ours), f"{case}: remove its .ours.json"
    expect_none(differences(instead["prompt"], ours), f"{case.path} differs from its .ours.json")


def expect_none(found: list[Difference], what: str) -> None:
    if found:
        lines = [f"{what} in {len(found)} places", *map(str, found[:40])]
        pytest.fail("\n  ".join(lines), pytrace=False)


def converted(case: Case, object_info: dict[str, Any]) -> tuple[Prompt, float]:
    """Our prompt, and the milliseconds that it took."""
    workflow, now = case.workflow(), datetime.fromisoformat(NOW)
    started = time.perf_counter()
    prompt = to_api(workflow, object_info, rng=FirstChoice(), now=now, unknown="keep")
    return prompt, (time.perf_counter() - started) * 1000
