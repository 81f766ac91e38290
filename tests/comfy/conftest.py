"""The real ComfyUI, started once, rehearsing on the CPU."""

import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import settings as runner_settings
from runner import workflow as workflows
from runner.comfy import engine as engines
from runner.comfy.engine import Engine
from runner.entrypoints import setup
from runner.job import Job, Result
from runner.request import check
from runner.run import run
from runner.settings import Settings
from runner.storage.local import LocalStorage
from runner.workflow import Workflow

from rendering import SMALL, Render, tree


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """This machine's, but for a data folder of the tests' own; stand-in weights stay cached."""
    found = runner_settings.from_environment()
    return dataclasses.replace(found, home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def comfyui_before(settings: Settings) -> dict[Path, tuple[int, int]]:
    """ComfyUI's tree as it was before the engine started."""
    return tree(settings.comfyui_dir)


@pytest.fixture(scope="session")
def engine(settings: Settings, comfyui_before: object) -> Iterator[Engine]:
    with engines.running(setup.engine_options(settings, rehearse=True)) as running:
        yield running


@pytest.fixture
def wan(settings: Settings) -> Workflow:
    return workflows.find("wan-t2v@1.0.0", settings.workflows)


@pytest.fixture
def render(engine: Engine, settings: Settings, wan: Workflow, tmp_path: Path) -> Render:
    def rendered(workflow: Workflow = wan, **params: Any) -> Result:
        job = Job(uuid.uuid4().hex, workflow.reference, {**SMALL, **params})
        return run(
            check(job, workflow),
            engine=engine,
            storage=LocalStorage(tmp_path / "out"),
            prepare=setup.stand_ins(settings),
        )

    return rendered
