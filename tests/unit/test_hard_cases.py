"""The hard cases against what the real editor sent for them: `make parity` without a browser.

`.venv/bin/pytest tests/parity -k hard/ --record` writes the editor's answers anew.
"""

import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from runner.errors import WorkflowError
from runner.graph import to_api

HARD_CASES = Path(__file__).parents[1] / "parity" / "hard_cases"
OBJECT_INFO = json.loads((HARD_CASES / "object_info.json").read_text())
NAMES = sorted({path.name.partition(".")[0] for path in HARD_CASES.glob("*.*.json")})
NOW = datetime(2026, 2, 3, 4, 5, 6)


class FirstChoice(random.Random):
    """As the editor was recorded: Math.random() is 0."""

    def random(self) -> float:
        return 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_hard_case(name: str) -> None:
    workflow, ours = read(name), read(name, "ours")
    if ours and "error" in ours:
        with pytest.raises(WorkflowError, match=ours["error"]):
            to_api(workflow, OBJECT_INFO, unknown="keep")
        return
    prompt = to_api(workflow, OBJECT_INFO, rng=FirstChoice(), now=NOW, unknown="keep")
    untitled = {
        node_id: {key: value for key, value in node.items() if key != "_meta"}
        for node_id, node in prompt.items()
    }
    # Where we mean to differ from the editor, <name>.ours.json says how and why.
    assert untitled == (ours["prompt"] if ours else read(name, "truth"))


def test_every_hard_case_is_recorded() -> None:
    files = {path.name.partition(".")[0] for path in HARD_CASES.glob("*.json")}
    assert files - {"object_info"} == set(NAMES)


def read(name: str, kind: str | None = None) -> dict[str, Any] | None:
    path = HARD_CASES / (f"{name}.{kind}.json" if kind else f"{name}.json")
    return json.loads(path.read_text()) if path.is_file() else None
