"""The real ComfyUI with nodes that misbehave, and a record of what the caller sees of each fault."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import settings as runner_settings
from runner.comfy import engine as engines
from runner.comfy.engine import LocalEngine
from runner.entrypoints import setup
from runner.settings import Settings

from faulty import HASTY, Fault

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    found = runner_settings.from_environment()
    return dataclasses.replace(found, home=tmp_path_factory.mktemp("home"), cpu=True)


@pytest.fixture(scope="session")
def options(settings: Settings) -> engines.EngineOptions:
    usual = setup.engine_options(settings, rehearse=False)
    packs = [*usual.packs, HERE / "callsheet_faults"]
    return dataclasses.replace(usual, packs=packs, custom_nodes=(), patience=HASTY)


@pytest.fixture(scope="session")
def engine(options: engines.EngineOptions) -> Iterator[LocalEngine]:
    with engines.running(options) as running:
        yield running


@pytest.fixture
def fault(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Fault:
    """Named by the test's docstring, with the parameters' values in place of their names."""
    told = " ".join(str(request.function.__doc__).split()).rstrip(".")
    values = getattr(request.node, "callspec", None)
    folder = pytestconfig.rootpath / "out"
    folder.mkdir(exist_ok=True)
    return Fault(told.format(**(values.params if values else {})), folder / "faults.json")
