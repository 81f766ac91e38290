"""The real ComfyUI, started once, rehearsing on the CPU."""

import dataclasses
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from runner import settings as runner_settings
from runner import workflow as workflows
from runner.comfy import engine as engines
from runner.comfy.engine import Engine
from runner.entrypoints import setup
from runner.job import Job, Result
from runner.run import check, run
from runner.settings import Settings
from runner.storage.local import LocalStorage
from runner.workflow import Workflow

SMALL = {"prompt": "a red kite over a blue sea", "width": 128, "height": 96, "num_frames": 17,
         "steps": 4, "seed": 1}  # fmt: skip
Render = Callable[..., Result]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """This machine's, but for a data folder of the tests' own; stand-in weights stay cached."""
    found = runner_settings.from_environment()
    return dataclasses.replace(found, home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[Engine]:
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


def pictures(result: Result) -> np.ndarray:
    """The video's frames: [frames, height, width, 3], 0..255."""
    with av.open(result.artifacts[0].location) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def difference(one: Result, other: Result) -> float:
    """Mean absolute difference of two videos, in steps of 0..255."""
    a, b = pictures(one).astype(float), pictures(other).astype(float)
    return float(np.abs(a - b).mean())
