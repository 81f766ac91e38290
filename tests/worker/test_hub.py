"""What RunPod's Hub and a first try read: it names what there is."""

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from runner.job import Job
from runner.request import check
from runner.service import options
from runner.service.requests import read
from runner.workflow import find, released

HUB = Path(__file__).resolve().parents[2] / ".runpod"
NOW = datetime(2026, 1, 31)
FOLDERS = [HUB.parent / "workflows"]
NAMES = [workflow.name for workflow in released(FOLDERS)]


def loaded(name: str):
    return json.loads((HUB / name).read_text())


@pytest.mark.parametrize("name", NAMES)
def test_every_workflow_has_an_input_to_try(name: str) -> None:
    request = loaded(f"test_inputs/{name}.json")["input"]
    job = read(request, given_id="try", now=NOW).job
    assert job.workflow.partition("@")[0] == name
    check(Job("try", job.workflow, job.params), find(job.workflow, FOLDERS))


def test_the_hub_s_tests_are_requests() -> None:
    for test in loaded("tests.json")["tests"]:
        job = read(test["input"], given_id="try", now=NOW).job
        check(Job("try", job.workflow, job.params), find(job.workflow, FOLDERS))


def test_the_hub_s_settings_are_read_by_somebody() -> None:
    config = loaded("hub.json")["config"]
    sources = "\n".join(
        file.read_text() for file in (HUB.parent / "runner").rglob("*.py")
    )  # fmt: skip
    own = [entry["key"] for entry in config["env"]]
    for key in own:
        assert key.startswith("AWS_") or f'"{key}"' in sources, key
    for preset in config["presets"]:
        served = options.from_environment(preset["defaults"]).served.workflows
        assert [find(name, FOLDERS).name for name in served]
    assert {"title", "description", "type", "category"} <= loaded("hub.json").keys()
    assert config["allowedCudaVersions"] == cuda()


def cuda() -> list[str]:
    text = (HUB.parent / "docker" / "Dockerfile").read_text()
    return [re.search(r"nvidia/cuda:(\d+\.\d+)", text)[1]]  # type: ignore[index]
