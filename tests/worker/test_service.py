"""Requests, destinations, answers: what a stranger may ask for and what he gets to see."""

import base64
import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from runner import kept
from runner.errors import (
    EngineUnavailable,
    InputError,
    InvalidParameters,
    RequestError,
    StorageError,
    UnknownWorkflow,
)
from runner.job import Artifact, OutputFile, Probe, Result, Status
from runner.run import _store
from runner.service import answers, options
from runner.service.destinations import Destinations
from runner.service.inline import Inlined
from runner.service.log import Log
from runner.service.requests import Asked, Served, read
from runner.service.service import Service, Ticket
from runner.storage import LocalStorage, destination_of, faults, open_storage

NOW = datetime(2026, 1, 31)


def asked(served: Served = Served(), **request: Any) -> Asked:  # noqa: B008
    return read({"workflow": "ltx2-lipsync@1", **request}, given_id="r", now=NOW, served=served)


def test_a_request_of_today() -> None:
    found = asked(params={"seed": 1}, to="gs://b/x", job_id="mine", inline=True)
    assert (found.job.workflow, found.job.params, found.job.id) == (
        "ltx2-lipsync@1",
        {"seed": 1},
        "mine",
    )
    assert (found.to, found.inline, found.old) == ("gs://b/x", True, None)
    assert asked().job.id == "r"


def test_every_problem_at_once() -> None:
    with pytest.raises(InvalidParameters) as caught:
        asked(param={}, params=[], job_id=7, to=1, inline="yes", seed=3)
    assert {p.parameter for p in caught.value.problems} == {
        "param", "params", "job_id", "to", "inline", "seed"}  # fmt: skip
    assert "did you mean params?" in caught.value.message


@pytest.mark.parametrize("request_", [None, [], "x", 7, {}])
def test_what_is_no_request(request_: object) -> None:
    with pytest.raises(InvalidParameters, match=r'write \{"workflow": "name@1"'):
        read(request_, given_id="r", now=NOW)


def test_single_widgets_cannot_be_set_from_afar() -> None:
    with pytest.raises(InvalidParameters, match="no parameter"):
        asked(params={"Load.image": "../../etc/passwd"})


@pytest.mark.parametrize(
    "reference", ["/srv/secret.json", "../x.json", "wan-t2v@1", "ltx2-lipsync@2"]
)
def test_only_what_is_served_runs(reference: str) -> None:
    served = Served(("ltx2-lipsync@1", "multitalk"))
    with pytest.raises(UnknownWorkflow, match=r"there is ltx2-lipsync@1, multitalk"):
        read({"workflow": reference}, given_id="r", now=NOW, served=served)
    for good in ("ltx2-lipsync@1", "ltx2-lipsync@1.0.0", "multitalk", "multitalk@3"):
        read({"workflow": good}, given_id="r", now=NOW, served=served)


def test_files_of_the_machine_are_no_workflows() -> None:
    with pytest.raises(UnknownWorkflow):
        read({"workflow": "/etc/x.json"}, given_id="r", now=NOW)


ALLOWED = ("gs://ours/uploads", "s3://theirs", "/srv/out")


@pytest.mark.parametrize(
    "to",
    ["gs://ours/uploads", "gs://ours/uploads/a/{job_id}", "s3://theirs/x?sign=60", "/srv/out/x"],
)
def test_a_caller_may_choose_within_what_is_allowed(to: str) -> None:
    assert Destinations("gs://ours/default", ALLOWED).of(asked(to=to)) == to


@pytest.mark.parametrize(
    "to",
    ["gs://ours", "gs://ours/uploads2", "gs://ours/uploads/../default", "s3://theirs2/x", "/srv/out/../x",
     "/etc", "relative", "supabase://x", "gs://ours\\uploads", "", "?gs://ours/uploads",
     "/srv/out/x?/../../elsewhere", "/srv/out/a\0b"],
)  # fmt: skip
def test_and_nowhere_else(to: str) -> None:
    with pytest.raises(RequestError, match="allowed is gs://ours/uploads"):
        Destinations("gs://ours/default", ALLOWED).of(asked(to=to))


def test_the_operator_s_destination_is_the_default() -> None:
    assert Destinations("gs://ours/default", ALLOWED).of(asked()) == "gs://ours/default"
    with pytest.raises(RequestError, match="callers cannot choose"):
        Destinations("gs://ours/default").of(asked(to="gs://ours/default"))


def test_no_storage_is_said() -> None:
    with pytest.raises(StorageError, match="CALLSHEET_TO"):
        Destinations().open(asked())
    assert Destinations().open(asked(inline=True)) is None


def test_fields_of_the_request_fill_the_destination(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def open_at(destination: str, *, fields: dict[str, Any]) -> LocalStorage:
        seen[destination] = fields
        return LocalStorage(tmp_path)

    Destinations("s3://b/{job_id}/x").open(asked(), open_at=open_at)
    Destinations("s3://b/x").open(asked(), open_at=open_at)
    assert seen == {"s3://b/{job_id}/x": {"job_id": "r"}, "s3://b/x": {}}


def file(folder: Path, name: str, size: int) -> Path:
    target = folder / name
    target.write_bytes(b"x" * size)
    return target


def test_small_outputs_travel_in_the_answer(tmp_path: Path) -> None:
    inlined = Inlined(None, "r.json", most=10)
    place = inlined.put(file(tmp_path, "a.png", 4), "r.png")
    inlined.put(file(tmp_path, "b.json", 100), "r.json")
    assert inlined.texts == {place: base64.b64encode(b"xxxx").decode()}
    with pytest.raises(StorageError, match="more than 10 bytes"):
        inlined.put(file(tmp_path, "c.png", 7), "r-2.png")
    assert (tmp_path / "c.png").exists(), "what cannot be sent is kept"


def test_large_ones_are_stored_and_only_named(tmp_path: Path) -> None:
    inlined = Inlined(LocalStorage(tmp_path / "out"), "r.json", most=10)
    small = inlined.put(file(tmp_path, "a.png", 10), "r.png")
    inlined.put(file(tmp_path, "b.png", 11), "r-2.png")
    inlined.put(file(tmp_path, "r.json", 1), "r.json")
    assert list(inlined.texts) == [small]
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["r-2.png", "r.json", "r.png"]


SECRETS = answers.secrets_of(
    {"SUPABASE_SERVICE_ROLE_KEY": "k3y-k3y-k3y", "DB_PASSWORD": 'pass"wo\\rd-hunter2', "RUNPOD_AI_API_KEY": "rpa_ABCDEFGH", "PATH": "/usr/bin",
     "GOOGLE_APPLICATION_CREDENTIALS": "/run/key.json", "SHORT_TOKEN": "abc"}
)  # fmt: skip


def test_an_error_is_a_text_of_json() -> None:
    problems = {
        "problems": [{"parameter": "image_url", "message": "not found", "retryable": False}]
    }
    said = json.loads(answers.error_text(InputError("image_url: not found", details=problems)))
    assert said == {"code": "input_error", "message": "image_url: not found", "details": problems,
                    "retryable": False}  # fmt: skip


@pytest.mark.parametrize(
    "leak",
    ["k3y-k3y-k3y", "rpa_ABCDEFGH", "https://me:hunter2@host/x", "https://h/x?X-Amz-Signature=hunter2",
     'pass"wo\\rd-hunter2', "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
     "Authorization: Bearer hunter2hunter2", "AKIAHUNTER2HUNTER2", "eyJhunter2.eyJhunter2.sig"],
)  # fmt: skip
def test_no_error_and_no_log_line_holds_a_secret(leak: str, tmp_path: Path) -> None:
    error = EngineUnavailable(f"a {leak} b", details={"list": [{"deep": f"({leak})"}]})
    text = answers.error_text(error, SECRETS)
    with (tmp_path / "log").open("w+") as stream:
        Log(stream, SECRETS)("event", job="1", message=f"a {leak} b")
        line = (tmp_path / "log").read_text()
    for said in (text, line):
        assert not any(word in said for word in ("k3y", "ABCDEFGH", "hunter2", "HUNTER2")), said
        json.loads(said)


def test_a_long_error_is_cut() -> None:
    error = EngineUnavailable("x" * 100_000, details={"log": "y" * 100_000})
    text = answers.error_text(error)
    assert len(text) < 10_000
    assert json.loads(text)["details"] == {"left_out": "the details are too long for an answer"}


def test_settings() -> None:
    found = options.from_environment(
        {"CALLSHEET_TO": "gs://b", "CALLSHEET_ALLOW_TO": "gs://b/x, s3://c", "CALLSHEET_IN_FLIGHT": "1",
         "CALLSHEET_SERVE": "wan-t2v ltx2-lipsync@1", "CALLSHEET_OLD_REQUESTS": "wan"}
    )  # fmt: skip
    assert found.allow_to == ("gs://b/x", "s3://c") and found.in_flight == 1
    assert found.served == Served(("wan-t2v", "ltx2-lipsync@1"), ("wan",))
    assert options.from_environment({}).served.services == ("multitalk", "ltx2", "wan")
    assert options.from_environment({"CALLSHEET_OLD_REQUESTS": "no"}).served.services == ()


@pytest.mark.parametrize(
    ("name", "text"), [("CALLSHEET_IN_FLIGHT", "0"), ("CALLSHEET_IN_FLIGHT", "many"),
                       ("CALLSHEET_MIN_FREE_GB", "-1"), ("CALLSHEET_OLD_REQUESTS", "mochi")]
)  # fmt: skip
def test_a_wrong_setting_is_named(name: str, text: str) -> None:
    with pytest.raises(RequestError, match=name):
        options.from_environment({name: text})


@pytest.mark.parametrize("text", ["a?" * 500_000, "eyJ-" * 20_000, "a?b=" * 20_000])
def test_cleaning_takes_time_by_length_alone(text: str) -> None:
    start = time.process_time()
    answers.cleaned(text)
    faults.Door("s3://b").clean(text)
    assert time.process_time() - start < 5  # it was minutes where time grows by its square


class Canceling:
    """Jobs that only count who was canceled."""

    def __init__(self) -> None:
        self.canceled: list[str] = []

    def cancel(self, job_id: str) -> None:
        self.canceled.append(job_id)


def test_a_job_ends_when_all_who_wait_for_it_have_canceled() -> None:
    jobs = Canceling()
    service = Service(engine=cast(Any, None), folders=(), _jobs=cast(Any, jobs))
    first, second = Ticket("a", job_id="x"), Ticket("b", job_id="x")
    service._waiting["x"] = [first, second]
    assert not service.cancel(first)
    assert jobs.canceled == []
    assert service.cancel(second)
    assert jobs.canceled == ["x"]


def test_without_a_storage_all_outputs_are_kept_if_one_is_too_large(tmp_path: Path) -> None:
    sizes = {"a.mp4": 4, "b.mp4": 7}
    files = [file(tmp_path, name, size) for name, size in sizes.items()]
    made = tuple(OutputFile(f.stem, f, Probe("video")) for f in files)

    def result(artifacts: tuple[Artifact, ...]) -> Result:
        return Result("r", Status.SUCCEEDED, "w@1", artifacts, {}, None, {})

    with pytest.raises(StorageError, match="kept in"):
        _store(made, Inlined(None, "r.json", most=10), "r", tmp_path / "kept", result)
    waiting = kept.find("r", tmp_path / "kept")
    assert [p.name for p in waiting.pending] == ["a", "b"]
    assert kept.send(waiting.folder, LocalStorage(tmp_path / "out")).artifacts[1].bytes == 7


def test_what_an_inline_job_could_not_store_knows_its_destination(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "out"))
    assert destination_of(Inlined(storage, "r.json")) == destination_of(storage)


def test_no_named_workflow_means_all() -> None:
    assert (Served().shown, Served(("act",)).shown) == ("all", ["act"])
