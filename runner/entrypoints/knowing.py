"""Node definitions for the commands that look at graphs: from a file, or from a ComfyUI started for them."""

from pathlib import Path
from typing import Any

from runner import workflow as workflows
from runner.entrypoints import console, setup
from runner.settings import Settings


def definitions_of(settings: Settings, file: Path | None) -> dict[str, Any]:
    """Raises WorkflowError for a file that is none, EngineUnavailable."""
    if file:
        return workflows.load(file).document
    saying = console.waiting("starting ComfyUI to ask for its nodes")
    with saying, setup.definitions(settings) as found:
        return found
