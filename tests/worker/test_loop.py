"""The worker in the real SDK's loop, with a real ComfyUI."""

import base64
import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from cloud import Cloud
from workers import Machine, Start, free_port

METRICS = free_port()


@pytest.fixture(scope="module")
def ours() -> Any:
    with Cloud() as found:
        yield found


@pytest.fixture(scope="module")
def machine(ours: Cloud, start: Start) -> Machine:
    found = start(**ours.environment, S3CRET_TOKEN="hunter2hunter2", CALLSHEET_PROGRESS_EVERY="0.1",
                  CALLSHEET_METRICS_PORT=str(METRICS))  # fmt: skip
    found.wait("fit", 120, check="models")
    return found


@pytest.fixture
def asked(site: str) -> Any:
    def made(page: str = "now.png", **params: Any) -> dict[str, Any]:
        return {"workflow": "act@1", "params": {"image_url": f"{site}/{page}", **params}}

    return made


def error(answer: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(answer["error"], str), "RunPod wants a text"
    return json.loads(answer["error"])


def test_a_job_s_answer_and_progress(ours: Cloud, machine: Machine, asked: Any) -> None:
    answer = ours.ask("good", asked("now.png?token=hunter3", seconds=1.0))
    assert "error" not in answer, answer
    output = answer["output"]
    assert output["status"] == "succeeded" and output["workflow"] == "act@1.0.0"
    assert output["params"]["image_url"].endswith("/now.png"), "no token in the answer"
    artifact = output["artifacts"][0]
    assert Path(artifact["location"]).stat().st_size == artifact["bytes"]
    assert "base64" not in artifact
    updates = ours.updates["good"]
    fractions = [update["progress"] for update in updates]
    assert len(updates) >= 4 and fractions == sorted(fractions)
    assert "fetching inputs" in {update["stage"] for update in updates}
    assert any(update["stage"] == "Act" and update["steps"] == 100 for update in updates)
    assert ours.late == []
    done = machine.wait("job_succeeded", job="good")
    assert {"fetch", "render", "store"} <= done["stages"].keys()


def test_bytes_on_request(ours: Cloud, machine: Machine, asked: Any) -> None:
    answer = ours.ask("inline", {**asked(), "inline": True})
    artifact = answer["output"]["artifacts"][0]
    assert base64.b64decode(artifact["base64"]) == Path(artifact["location"]).read_bytes()


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        ({"workflow": "act@1", "parms": {}}, "invalid_parameters", "did you mean params?"),
        ({"workflow": "act@1", "params": {"second": 1}}, "invalid_parameters", "image_url"),
        ({"workflow": "wan-t2v@1"}, "unknown_workflow", "there is act"),
        ({"workflow": "act@1", "to": "/tmp", "params": {"image_url": "https://x.example/a.png"}},
         "request_error", "callers cannot choose"),
        ({"workflow": "act@1", "params": {"image_url": "/etc/passwd"}}, "input_error", "image_url"),
        ({"workflow": "act@1", "params": {"image_url": "http://10.0.0.1/x?sig=hunter2"}},
         "input_error", "image_url"),
        ({"hello": 1}, "invalid_parameters", "workflow: is missing"),
    ],
)  # fmt: skip
def test_an_error_s_answer(
    ours: Cloud, machine: Machine, request_: dict[str, Any], code: str, says: str
) -> None:
    name = f"bad-{code}-{abs(hash(says))}-{len(str(request_))}"
    answer = ours.ask(name, request_)
    said = error(answer)
    assert said["code"] == code and says in said["message"] and not said["retryable"]
    assert "hunter2" not in str(answer) and "stopPod" not in answer


def test_a_crash_is_healed(ours: Cloud, machine: Machine, asked: Any) -> None:
    answer = ours.ask("crash", asked(act="die once"), 120)
    assert answer["output"]["status"] == "succeeded" and "stopPod" not in answer


@pytest.mark.parametrize(("act", "code"), [("fail", "execution_failed"), ("full", "out_of_memory")])
def test_a_failed_job_is_only_its_own(
    ours: Cloud, machine: Machine, asked: Any, act: str, code: str
) -> None:
    answer = ours.ask(act, asked(act=act))
    assert error(answer)["code"] == code and "stopPod" not in answer
    assert ours.ask(f"after-{act}", asked(), 10)["output"]["status"] == "succeeded"


@pytest.mark.parametrize("stage", ["fetching inputs", "Act", "queued"])
def test_runpod_ends_a_job(ours: Cloud, machine: Machine, asked: Any, stage: str) -> None:
    name = f"ended in {stage}".replace(" ", "-")
    page = "slow.png" if stage == "fetching inputs" else "now.png"
    if stage == "queued":
        ours.send("before", asked(seconds=5.0))
        machine.wait("job_stage", job="before", stage="Act")
    ours.send(name, asked(page, seconds=60.0))
    machine.wait("job_stage", job=name, stage=stage)
    ours.end(name)
    machine.wait("job_canceled", 10, job=name)
    if stage == "queued":
        assert ours.answer("before")["output"]["status"] == "succeeded", "others go on"
    assert ours.ask(f"after-{name}", asked(), 10)["output"]["status"] == "succeeded"
    assert name not in ours.answers


def test_one_job_asked_for_twice_ends_for_one(ours: Cloud, machine: Machine, asked: Any) -> None:
    request = {**asked(seconds=3.0), "job_id": "shared"}
    ours.send("first", request)
    machine.wait("job_stage", job="first", stage="Act")
    ours.send("second", request)
    machine.wait("job_stage", job="second", stage="Act")  # it has joined: it is told of the other's
    ours.end("first")
    machine.wait("job_stopped_by_runpod", job="first")
    assert ours.answer("second", 20)["output"]["job_id"] == "shared"
    assert "first" not in ours.answers


def test_pings_name_the_jobs(ours: Cloud, machine: Machine, asked: Any) -> None:
    ours.send("pinged", asked(seconds=2.5))
    ours.wait(lambda cloud: any("pinged" in str(ping) for ping in cloud.pings), 10)
    ours.answer("pinged")


def test_prometheus_reads_what_has_happened(ours: Cloud, machine: Machine, asked: Any) -> None:
    before = figures()
    ours.ask("counted", asked())
    ours.ask("miscounted", asked(act="fail"))
    after = figures()
    grown = {name: after[name] - before.get(name, 0.0) for name in after}
    assert grown['callsheet_jobs_total{status="succeeded",workflow="act@1.0.0"}'] == 1
    assert grown['callsheet_jobs_total{status="failed",workflow="act@1.0.0"}'] == 1
    assert grown['callsheet_errors_total{code="execution_failed"}'] == 1
    assert grown["callsheet_stored_bytes_total"] > 0
    assert grown['callsheet_stage_seconds_total{stage="render"}'] > 0
    assert after["callsheet_jobs_open"] == 0 and after["callsheet_gpu_idle_seconds_total"] > 0


def figures() -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_sigterm_lets_jobs_end(ours: Cloud, machine: Machine, asked: Any) -> None:
    for name in ("last-1", "last-2"):
        ours.send(name, asked(seconds=1.5))
        machine.wait("job_taken", job=name)
    machine.wait("job_stage", job="last-1", stage="Act")
    machine.process.send_signal(signal.SIGTERM)
    machine.wait("draining")
    ours.send("too-late", asked())
    assert machine.process.wait(20) == 0
    assert all("error" not in ours.answers[name] for name in ("last-1", "last-2"))
    assert sorted(machine.events("draining")[0]["jobs"]) == ["last-1", "last-2"]
    assert machine.events("drained")[0]["never_started"] in ([], ["too-late"])
    assert machine.events("worker_starting")[0]["workflows"] == ["act"]
    assert [len(machine.events(name)) for name in ("worker_ready", "worker_leaving")] == [1, 1]
    assert machine.left() == []


def test_the_log_is_json_and_holds_no_secret(machine: Machine) -> None:
    text = machine.log.read_text() + (machine.home / "stdout").read_text()
    assert not any(word in text for word in ("hunter2", "hunter3", "S3CRETS3CRET"))
    lines = [line for line in machine.log.read_text().splitlines() if not line.startswith("{")]
    assert lines == []
    assert all(event["job"] for event in machine.events() if event["event"].startswith("job_"))


def test_one_by_one_and_leaving_at_once(cloud: Cloud, start: Start, asked: Any) -> None:
    machine = start(**cloud.environment, CALLSHEET_IN_FLIGHT="1")
    for name in ("one", "two", "three"):
        cloud.send(name, asked(seconds=0.5))
    cloud.answer("three")
    assert cloud.taken["two"] >= cloud.answered["one"]
    cloud.poll = 60  # as RunPod holds a question for jobs; the worker does not wait for it
    cloud.ask("four", asked())
    assert cloud.taken["three"] >= cloud.answered["two"]
    cloud.wait(lambda cloud: cloud.asked)
    machine.process.send_signal(signal.SIGTERM)
    assert machine.process.wait(20) == 0
    assert machine.left() == []


def test_an_engine_that_is_lost_asks_for_a_new_machine(
    cloud: Cloud, start: Start, asked: Any, tmp_path: Path
) -> None:
    paths = tmp_path / "paths.yaml"
    paths.write_text("{}")
    machine = start(**cloud.environment, TEST_BREAK=str(paths))
    assert "error" not in cloud.ask("fine", asked(), 120)
    paths.write_text("{ this is: no: YAML")
    answer = cloud.ask("fatal", asked(act="die"), 120)
    assert error(answer)["code"] == "engine_unavailable"
    assert answer["stopPod"] is True
    assert machine.events("engine_lost")[0]["job"] == "fatal"
