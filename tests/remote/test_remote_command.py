"""`callsheet run … --on`: what its function does, in this process and as one that gets Ctrl-C."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from calling import QUICK, Asked
from runpod_cloud import FILM, KEY, STARTS, Cloud, Shelf, at, says

from runner import workflow as workflows
from runner.entrypoints.commands.on import run_on, values
from runner.errors import InvalidParameters

ROOT = Path(__file__).resolve().parents[2]
LIPSYNC = "ltx2-lipsync@1"


@pytest.fixture(autouse=True)
def settings(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLSHEET_RUNPOD_API", cloud.api)
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)


def on(given: dict[str, Any], to: str, **more: Any) -> Any:
    found = workflows.find(LIPSYNC, [ROOT / "workflows"])
    return run_on("runpod://endpoint", LIPSYNC, given, found=found, to=to, patience=QUICK, **more)


def test_the_video_comes_home(
    cloud: Cloud, asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {name: str(value) for name, value in asked().items()}
    result = on(given, str(tmp_path / "out"), job_id="mine")
    assert Path(result.artifacts[0].location).read_bytes() == FILM
    assert cloud.input["inline"] is True
    told = capsys.readouterr()
    assert told.out == "" and "Sampler  step 5/20" in told.err and KEY not in told.err

    again = on(given, str(tmp_path / "out"), job_id="mine")
    assert again == result and len(cloud.jobs) == 1, "the same job is not paid for twice"
    Path(result.artifacts[0].location).unlink()
    on(given, str(tmp_path / "out"), job_id="mine")
    assert len(cloud.jobs) == 2 and Path(result.artifacts[0].location).read_bytes() == FILM


def test_a_bucket_takes_the_outputs_there(cloud: Cloud, shelf: Shelf, asked: Asked) -> None:
    result = on(asked(), "gs://theirs/{job_id}")
    assert result.artifacts[0].location == f"{shelf.base}/job-film.mp4"
    assert cloud.input["to"] == "gs://theirs/{job_id}" and "inline" not in cloud.input
    assert shelf.asked == []


def test_values_of_a_workflow_that_is_not_known_here() -> None:
    assert values(["a=1", "b=x=y", 'c=[{"d": true}]', "e="]) == {
        "a": 1, "b": "x=y", "c": [{"d": True}], "e": ""}  # fmt: skip
    with pytest.raises(InvalidParameters, match="name=value"):
        values(["a"])


def test_ctrl_c_cancels_there(cloud: Cloud, asked: Asked, tmp_path: Path) -> None:
    cloud.play = lambda job: [STARTS, at(0.5)]
    given = [f"--param={name}={value}" for name, value in asked().items()]
    words = ["run", LIPSYNC, "--on", "runpod://endpoint", "--to", str(tmp_path), "--json", *given]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("callsheet"), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell's background jobs ignore it, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "50%" in line:
            break
    process.send_signal(signal.SIGINT)
    said, told = process.communicate(timeout=30)
    assert process.returncode == 130 and "canceling at the endpoint" in told
    assert json.loads(said)["error"]["code"] == "canceled"
    assert cloud.canceled == ["0-u1"]


def test_a_port_of_this_machine_where_nothing_listens_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening: whoever connects is refused
        where = f"http://127.0.0.1:{taken.getsockname()[1]}"
        command = [Path(sys.executable).with_name("callsheet"), "run", "wan-t2v", "-p", "prompt=x",
                   "--on", where, "--to", str(tmp_path)]  # fmt: skip
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and time.monotonic() - start < 15
    assert "nothing listens at" in done.stderr and "callsheet worker" in done.stderr


def test_a_further_try_is_told(
    cloud: Cloud, asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.faults = {"run": [says(503), says(503)]}
    on(asked(), str(tmp_path))
    told = capsys.readouterr().err
    assert "trying again (try 2, for up to" in told and "(try 3," in told
    assert "step 0/1" not in told, "one file of one is no step"


def test_the_command_brings_the_video_home(cloud: Cloud, asked: Asked, tmp_path: Path) -> None:
    given = [f"--param={name}={value}" for name, value in asked().items()]
    words = ["run", LIPSYNC, "--on", "runpod://endpoint", "--to", "out", "--json", *given]
    command = [Path(sys.executable).with_name("callsheet"), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said["artifacts"][0]["location"]).read_bytes() == FILM
    assert KEY not in done.stdout + done.stderr

    cloud.faults = {"run": [says(401)]}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 1 and json.loads(done.stdout)["error"]["code"] == "endpoint_error"
