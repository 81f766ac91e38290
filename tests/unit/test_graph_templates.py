"""Official templates convert exactly as the official frontend converts them."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.errors import WorkflowError
from runner.graph import to_api

from graph_files import copied, template_server, templates

ROOT = Path(__file__).parents[2]
YARDSTICK = Path(
    os.environ.get("CALLSHEET_CONVERSION_TRUTH") or ROOT.parent / "shared" / "data" / "conversion"
)
PACKAGE = "comfyui_workflow_templates_json"
# PrimitiveNode with a stale slot number: the frontend sends a model's name as the aspect ratio.
FRONTEND_DEFECT = {"templates_graphic_design_recomposer"}


def same_for_javascript(one: Any, other: Any) -> bool:
    """1 and 1.0 are the same, true and 1 are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same_for_javascript(v, other[k]) for k, v in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_for_javascript, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@pytest.mark.parametrize("name", templates())
def test_a_template_converts_exactly(name: str) -> None:
    case = templates()[name]
    before = copied(case["workflow"])
    converted = to_api(case["workflow"], template_server())
    assert set(converted) == set(case["prompt"])
    for node_id, node in case["prompt"].items():
        assert same_for_javascript(converted[node_id], node), node_id
    assert case["workflow"] == before


def installed_templates() -> list[Path]:
    spec = importlib.util.find_spec(PACKAGE)
    folders = (
        [Path(p) / "templates" for p in (spec.submodule_search_locations or ())] if spec else []
    )
    return sorted(path for folder in folders for path in folder.glob("*.json"))


def graph_files(paths: list[Path]) -> dict[str, Any]:
    documents = {path.stem: json.loads(path.read_text()) for path in paths}
    return {n: d for n, d in documents.items() if isinstance(d, dict) and "nodes" in d}


needs_yardstick = pytest.mark.skipif(
    not ((YARDSTICK / "object_info.json").is_file() and installed_templates()),
    reason="NOT RUN: the frontend's own conversions (CALLSHEET_CONVERSION_TRUTH) or the package "
    f"{PACKAGE} are not here",
)


@needs_yardstick
def test_all_installed_templates_convert_exactly(tmp_path: Path) -> None:
    """The official score over all templates whose conversion by the frontend is at hand."""
    info = json.loads((YARDSTICK / "object_info.json").read_text())
    for name, document in graph_files(installed_templates()).items():
        converted = to_api(document, info, unknown="keep")
        (tmp_path / f"{name}.api.json").write_text(json.dumps(converted))
    report = tmp_path / "report"
    subprocess.run(
        [sys.executable, str(YARDSTICK / "score.py"), str(tmp_path), "--json", str(report)],
        check=True,
        capture_output=True,
    )
    scores = json.loads(report.read_text())
    assert len(scores) > 200
    assert {name for name, s in scores.items() if s["status"] != "exact"} <= FRONTEND_DEFECT


@needs_yardstick
def test_all_installed_files_convert_or_name_their_unknown_nodes() -> None:
    info = json.loads((YARDSTICK / "object_info.json").read_text())
    comfyui = Path(os.environ.get("COMFYUI_DIR") or ROOT / "vendor" / "comfyui")
    blueprints = sorted((comfyui / "blueprints").glob("*.json"))
    for name, document in graph_files([*installed_templates(), *blueprints]).items():
        try:
            to_api(document, info)
        except WorkflowError as error:
            assert error.details["reason"] == "unknown_nodes", name
