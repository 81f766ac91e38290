"""Conversion of every official template; schema and check of our own workflows."""

import contextlib
import json
import time
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from workbench import ROOT, Figure, engine, median, worst_of

from runner import parameters
from runner.check import check
from runner.errors import WorkflowError
from runner.graph import to_api
from runner.workflow import released

REPEATS = 3


def measure(_: Path) -> list[Figure]:
    with engine() as running:
        definitions = running.comfy.object_info()
    times = sorted(
        _fastest(partial(to_api, document, definitions, unknown="keep"))
        for document in _templates()
    )
    own = list(released([ROOT / "workflows"]))
    schemas = [_fastest(partial(_schema, w.document)) for w in own]
    checks = [_fastest(partial(check, w.document, definitions)) for w in own]
    return [
        Figure(f"conversion, median of {len(times)} templates", median(times) * 1000, "ms"),
        Figure("conversion, 95th percentile", worst_of(times, 0.95) * 1000, "ms"),
        Figure("schema of a workflow, median", median(schemas) * 1000, "ms"),
        Figure("check of a workflow, median", median(checks) * 1000, "ms"),
    ]


def _templates() -> list[dict[str, Any]]:
    found = []
    for package in ("core", "media_api", "media_image", "media_other", "media_video", "json"):
        name = f"comfyui_workflow_templates_{package}"
        try:
            folder = Path(str(resources.files(name)))
        except ModuleNotFoundError:
            continue
        found += [json.loads(file.read_text()) for file in sorted(folder.rglob("*.json"))]
    return [document for document in found if isinstance(document, dict) and document.get("nodes")]


def _fastest(do: Callable[[], object]) -> float:
    """Seconds, of a few tries."""
    return min(_timed(do) for _ in range(REPEATS))


def _timed(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    with contextlib.suppress(WorkflowError):  # the one template that the editor cannot convert, too
        do()
    return time.perf_counter() - start


def _schema(document: dict[str, Any]) -> object:
    return parameters.schema(parameters.read(document), name="x")
