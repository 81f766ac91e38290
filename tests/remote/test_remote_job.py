"""A job at an endpoint, from the request to the video at home."""

import base64
import dataclasses
import hashlib
import json
import re
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
from calling import QUICK, Asked, client_of
from PIL import Image
from runpod_cloud import FILM, KEY, MOST, STARTS, WAITS, Cloud, Shelf, answer, at, says

from runner import errors
from runner.errors import (
    Canceled,
    ExecutionFailed,
    InputError,
    InvalidParameters,
    Problem,
    QueuedTooLong,
    RanTooLong,
    RequestError,
    RunnerError,
    StorageError,
    UnknownWorkflow,
)
from runner.job import Artifact, Probe, Progress, Status
from runner.remote import Client, EndpointError, EndpointUnavailable, ResultExpired, api
from runner.remote.home import file_names
from runner.service import answers as worker
from runner.storage.faults import StorageRefused

LIPSYNC = "ltx2-lipsync@1"


def test_from_the_request_to_the_video_at_home(
    client: Client, cloud: Cloud, shelf: Shelf, asked: Asked, tmp_path: Path
) -> None:
    job = client.submit(LIPSYNC, asked(), job_id="mine", timeout=600)
    seen = list(job)
    assert [p.stage for p in seen] == [
        "waiting for a worker",
        "starting",
        "Sampler",
        "Sampler",
        "done",
    ]
    assert [p.fraction for p in seen] == [0, 0, 0.25, 0.75, 1]
    assert (seen[2].step, seen[2].steps, seen[2].eta) == (5, 20, 3.5)
    assert (job.id, job.job_id, job.status) == ("0-u1", "mine", Status.SUCCEEDED)

    result = job.download(tmp_path / "out")
    (film,) = result.artifacts
    assert Path(film.location) == tmp_path / "out" / "job-film.mp4"
    assert Path(film.location).read_bytes() == FILM
    assert (result.job_id, result.seed, result.workflow) == ("mine", 7, "ltx2-lipsync@1.0.0")
    assert film.probe.has_audio and film.probe.frames == 25
    assert job.result().artifacts[0].location == f"{shelf.base}/job-film.mp4"
    assert json.loads((tmp_path / "out" / "mine.json").read_text()) == json.loads(
        json.dumps(result.to_dict())
    )
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["job-film.mp4", "mine.json"]

    assert cloud.input["workflow"] == LIPSYNC and cloud.input["job_id"] == "mine"
    assert cloud.input["params"]["audio_url"].startswith("data:audio/wav;base64,")
    assert cloud.jobs["0-u1"]["policy"] == {"executionTimeout": 600_000}
    assert all("Authorization" not in headers for _, headers in shelf.asked), (
        "the key stays with RunPod"
    )


def test_everything_wrong_is_told_before_anything_is_sent(
    client: Client, cloud: Cloud, asked: Asked, tmp_path: Path
) -> None:
    with pytest.raises(InvalidParameters) as caught:
        client.submit(LIPSYNC, asked(width=1000, promt="x", audio_url=tmp_path / "no.wav",
                                     **{"Loader.name": "x"}))  # fmt: skip
    told = {p.parameter for p in caught.value.problems}
    assert told == {"width", "promt", "audio_url", "Loader.name"}
    assert "did you mean prompt?" in caught.value.message and "no.wav" in caught.value.message
    assert cloud.asked == []


def test_files_that_do_not_fit_are_told_before_anything_is_sent(
    client: Client, cloud: Cloud, face: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        client.submit(LIPSYNC, {"image_url": str(tmp_path), "audio_url": face})
    assert "image_url: " in caught.value.message and "is a folder" in caught.value.message
    assert "audio_url: face.png is an image (PNG), not a sound file" in caught.value.message
    assert len(caught.value.details["problems"]) == 2
    assert cloud.asked == []


def test_files_in_rows(client: Client, cloud: Cloud, face: Path, voice: Path) -> None:
    rows = [{"image_url": str(face)}, {"image_url": "https://host/x.png", "frame_position": "last"}]
    client.submit("ltx2-keyframes-lipsync@1", {"keyframes": rows, "audio_url": voice})
    first, second = cloud.input["params"]["keyframes"]
    assert first["image_url"].startswith("data:image/png;base64,")
    assert second == rows[1]


def test_a_workflow_that_is_not_known_here_is_the_endpoint_s(
    client: Client, cloud: Cloud, face: Path
) -> None:
    job = client.submit("theirs@3", {"picture": face, "text": "face.png", "n": [1, {"a": face}]})
    params = cloud.input["params"]
    assert params["picture"] == params["n"][1]["a"] and params["picture"].startswith(
        "data:image/png"
    )
    assert params["text"] == "face.png", "only a Path says that it is a file"
    with pytest.raises(UnknownWorkflow, match="theirs@3"):  # as the worker tells it
        job.result()


def test_a_file_is_no_workflow_there(client: Client) -> None:
    with pytest.raises(RequestError, match="name@version"):
        client.submit("mine.json", {})


def test_what_is_too_large_to_travel_in_the_request(
    client: Client, cloud: Cloud, asked: Asked, tmp_path: Path
) -> None:
    large = tmp_path / "large.bmp"
    Image.new("RGB", (1400, 1400)).save(large)
    with pytest.raises(RequestError, match=r"large.bmp has more than 5 MB.*media_to"):
        client.submit(LIPSYNC, asked(image_url=large))
    assert cloud.asked == []
    with pytest.raises(RequestError, match=r"up to 10 MB; it has 1\d\.\d MB.*--media-to"):
        client.submit("theirs@1", {"text": "x" * (MOST + 1)})
    assert cloud.asked == []
    cloud.faults["run"] = [says(413)]
    with pytest.raises(RequestError, match="RunPod takes requests of up to 10 MB"):
        client.submit("theirs@1", {})


def failing(said: dict[str, Any]) -> Any:
    return lambda job: [WAITS, said]


@pytest.mark.parametrize(
    "error",
    [
        InvalidParameters([Problem("width", "1000 is not a multiple of 16"), Problem("fps", "no")]),
        InputError("image_url: not found", details={"problems": [{"parameter": "image_url"}]}),
        ExecutionFailed("the Sampler failed", details={"node": "Sampler", "exception": "ValueError"}),
        errors.OutOfMemory("full", details={"memory": {"kind": "gpu"}}),
        errors.EngineUnavailable("ComfyUI is gone"),
        errors.Stalled("no progress", details={"limit": 600}),
        StorageError("gs://b: the service fails"),
        StorageRefused("gs://b: access is denied"),
        errors.JobConflict("the job id belongs to another request"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_of_the_worker_arrive_as_they_were(
    error: RunnerError, client: Client, cloud: Cloud, asked: Asked
) -> None:
    cloud.play = failing({"status": "FAILED", "error": worker.error_text(error)})
    job = client.submit(LIPSYNC, asked())
    with pytest.raises(RunnerError) as caught:
        job.result()
    assert type(caught.value) is type(error)
    assert caught.value.to_dict() == error.to_dict()
    assert job.status is Status.FAILED
    if isinstance(error, InvalidParameters):
        assert caught.value.problems == error.problems


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ({"status": "FAILED", "error": "worker exited with exit code 137"}, EndpointError, "exit code 137"),
        ({"status": "FAILED"}, EndpointError, "no reason is given"),
        ({"status": "FAILED", "error": json.dumps({"error_type": "<class 'KeyError'>",
          "error_message": "'id'", "hostname": "h"})}, EndpointError, r"KeyError.*'id'"),
        ({"status": "FAILED", "error": json.dumps({"code": "of_tomorrow", "message": "later",
          "retryable": True})}, EndpointUnavailable, "later"),
        ({"status": "FAILED", "error": "job timed out after 1 retries"}, RanTooLong, "--timeout"),
        ({"status": "TIMED_OUT"}, RanTooLong, "its time is over"),
        ({"status": "CANCELLED"}, Canceled, "canceled"),
        ({"status": "COMPLETED", "output": {"video_url": "x"}}, EndpointError, "no result of a callsheet"),
        ({"status": "COMPLETED"}, EndpointError, "no result of a callsheet"),
        ({"status": "COMPLETED", "output": {"artifacts": 3}}, EndpointError, "no result of a callsheet"),
        ({"status": "PAUSED"}, EndpointError, "'PAUSED', which is no known status"),
    ],
)  # fmt: skip
def test_ends_that_are_none_of_our_worker_s(
    said: dict[str, Any],
    kind: type[RunnerError],
    words: str,
    client: Client,
    cloud: Cloud,
    asked: Asked,
) -> None:
    cloud.play = failing(said)
    with pytest.raises(kind) as caught:
        client.submit(LIPSYNC, asked()).result()
    assert type(caught.value) is kind and re.search(words, caught.value.message)


def test_a_worker_of_a_later_version_may_say_more(
    client: Client, cloud: Cloud, asked: Asked
) -> None:
    def play(job: dict[str, Any]) -> list[dict[str, Any]]:
        done = answer(job, {"a.mp4": b"x"}, "https://host/")
        done["output"]["cost"] = 3
        done["output"]["artifacts"][0]["thumbnail"] = "https://host/x.png"
        done["output"]["artifacts"][0]["probe"]["hdr"] = True
        return [done]

    cloud.play = play
    assert client.submit(LIPSYNC, asked()).result().artifacts[0].name == "A"


# The network and RunPod


@pytest.mark.parametrize(
    "fault",
    [says(429), says(500, "oops"), says(502, "<html>"), says(200, "<html>"), lambda r: r.cut(),
     lambda r: time.sleep(1.5)],
    ids=["429", "500", "502", "page", "cut", "slow"],
)  # fmt: skip
def test_one_failure_ends_nothing(fault: Any, cloud: Cloud, asked: Asked) -> None:
    cloud.faults = {"run": [fault], "status": [fault]}
    seen: list[Progress] = []
    with client_of(cloud, patience=dataclasses.replace(QUICK, answer=1.0)) as client:
        assert client.submit(LIPSYNC, asked()).result(seen.append).seed == 7
    assert any("not reached; the job goes on" in p.stage for p in seen)


def test_the_bar_never_falls(client: Client, cloud: Cloud, asked: Asked) -> None:
    """RunPod queues a job again when its worker dies."""
    cloud.play = lambda job: [
        at(0.5),
        WAITS,
        STARTS,
        at(0.2),
        answer(job, {"a.mp4": b"x"}, "https://h/"),
    ]
    seen: list[Progress] = []
    client.submit(LIPSYNC, asked()).result(seen.append)
    assert [(p.fraction, p.stage) for p in seen] == [
        (0.5, "Sampler"), (0.5, "waiting for a worker"), (0.5, "starting"), (0.5, "Sampler"), (1, "done")]  # fmt: skip


def test_retry_after_is_honoured(client: Client, cloud: Cloud, asked: Asked) -> None:
    job = client.submit(LIPSYNC, asked())
    cloud.faults = {"status": [says(429, "slow down", Retry_After="1")]}
    job.result()
    assert cloud.times_asked[1] - cloud.times_asked[0] >= 1.0
    cloud.faults = {"run": [says(429, "", Retry_After="1")]}
    start = time.monotonic()
    client.submit(LIPSYNC, asked())
    assert time.monotonic() - start >= 1.0
    cloud.faults = {"run": [says(429, "", Retry_After="3600")]}
    start = time.monotonic()
    with pytest.raises(EndpointUnavailable, match="asks to slow down"):
        client.submit(LIPSYNC, asked())
    assert time.monotonic() - start < QUICK.trying, "who cannot wait as long does not wait at all"


def test_the_questions_become_rarer_while_nothing_moves(cloud: Cloud, asked: Asked) -> None:
    cloud.play = lambda job: [*[WAITS] * 12, answer(job, {"a.mp4": b"x"}, "https://h/")]
    slower = dataclasses.replace(QUICK, poll=0.05, slowest=0.4)
    client_of(cloud, patience=slower).submit(LIPSYNC, asked()).result()
    gaps = [b - a for a, b in zip(cloud.times_asked, cloud.times_asked[1:], strict=False)]
    assert sum(gaps[-3:]) > 2 * sum(gaps[:3])


def test_a_lost_network_is_told_with_the_job_s_id(cloud: Cloud, asked: Asked) -> None:
    client = client_of(cloud)
    job = client.submit(LIPSYNC, asked())
    cloud.faults = {"status": [says(503)] * 1000}
    start = time.monotonic()
    with pytest.raises(EndpointUnavailable, match="job 0-u1 may go on there") as caught:
        job.result()
    assert time.monotonic() - start >= QUICK.lost
    assert caught.value.details["runpod_id"] == "0-u1" and caught.value.retryable
    assert cloud.canceled == []
    cloud.faults = {}
    assert client.job("0-u1").result().seed == 7, "it is followed later"


def test_a_result_that_has_expired(client: Client, cloud: Cloud, asked: Asked) -> None:
    job = client.submit(LIPSYNC, asked())
    gone = cloud.jobs.pop("0-u1")
    with pytest.raises(ResultExpired, match="30 minutes"):
        job.result()
    cloud.jobs["0-u1"] = gone
    cloud.faults = {"status": [says(404)]}
    assert client.job("0-u1").result().seed == 7, "once is not believed"


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key(status: int, cloud: Cloud, asked: Asked) -> None:
    with pytest.raises(EndpointError, match="RUNPOD_API_KEY") as caught:
        client_of(cloud, key="rpa_WR0NGWR0NG").submit(LIPSYNC, asked())
    assert type(caught.value) is EndpointError and "WR0NG" not in str(caught.value.to_dict())
    assert cloud.times("run") == 1, "it is not tried again"


def test_no_such_endpoint(cloud: Cloud, asked: Asked) -> None:
    where = {"CALLSHEET_RUNPOD_API": cloud.api, "RUNPOD_API_KEY": KEY}
    with Client.runpod("other", environment=where, patience=QUICK) as client:
        with pytest.raises(EndpointError, match="no such endpoint"):
            client.submit(LIPSYNC, asked())
        with pytest.raises(EndpointError, match="no such endpoint"):
            client.health()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_key_follows_no_redirect(
    status: int, client: Client, cloud: Cloud, shelf: Shelf, asked: Asked
) -> None:
    cloud.faults = {"run": [says(status, "", Location=f"{shelf.base}/job-film.mp4")]}
    with pytest.raises(EndpointError, match="another address"):
        client.submit(LIPSYNC, asked())
    assert shelf.asked == []


def test_a_netrc_takes_not_the_key_s_place(
    cloud: Cloud, asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with client_of(cloud) as client:
        client.submit(LIPSYNC, asked())


@pytest.mark.parametrize(
    "fault",
    [
        says(400, f"bad key {KEY}"),
        says(500, KEY),
        says(200, KEY),
        says(401, KEY),
        lambda r: r.cut(),
    ],
)
def test_no_error_holds_the_key(fault: Any, cloud: Cloud, asked: Asked, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    cloud.faults = {"run": [fault] * 1000}
    with client_of(cloud) as client, pytest.raises(RunnerError) as caught:
        client.submit(LIPSYNC, asked())
    told = "".join(traceback.format_exception(caught.value)) + json.dumps(caught.value.to_dict())
    assert "S3CRET" not in told + caplog.text + repr(client) + repr(vars(client))


def test_health(client: Client) -> None:
    assert client.health()["workers"] == {"idle": 1}


# Canceling


def working(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [WAITS, STARTS, at(0.5)]


def test_cancel(client: Client, cloud: Cloud, asked: Asked) -> None:
    cloud.play = working
    job = client.submit(LIPSYNC, asked())
    assert job.cancel() is Status.CANCELED
    assert cloud.canceled == ["0-u1"]
    with pytest.raises(Canceled):
        job.result()
    assert job.cancel() is Status.CANCELED and cloud.canceled == ["0-u1"], "terminal is final"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_block_that_is_left_by_an_exception_cancels(
    error: type[BaseException], client: Client, cloud: Cloud, asked: Asked
) -> None:
    cloud.play = working

    def leave(progress: Progress) -> None:
        if progress.fraction:
            raise error

    with pytest.raises(error), client.submit(LIPSYNC, asked()) as job:
        job.result(leave)
    assert cloud.canceled == ["0-u1"] and job.status is Status.CANCELED


def test_a_block_that_is_left_well_does_not(client: Client, cloud: Cloud, asked: Asked) -> None:
    with client.submit(LIPSYNC, asked()):
        pass
    with client.submit(LIPSYNC, asked()) as job:
        job.result()
    assert cloud.canceled == []


def test_a_cancel_that_comes_too_late(client: Client, cloud: Cloud, asked: Asked) -> None:
    job = client.submit(LIPSYNC, asked())
    cloud.faults = {"cancel": [says(200, {"id": "0-u1", "status": "COMPLETED"})]}
    assert job.cancel() is Status.SUCCEEDED
    assert job.result().seed == 7


def test_a_cancel_is_insisted_on(client: Client, cloud: Cloud, asked: Asked) -> None:
    cloud.play = working
    cloud.faults = {"cancel": [says(429, "", Retry_After="0"), says(500), lambda r: r.cut()]}
    assert client.submit(LIPSYNC, asked()).cancel() is Status.CANCELED


def test_no_worker_within_the_time(client: Client, cloud: Cloud, asked: Asked) -> None:
    cloud.play = lambda job: [WAITS]
    job = client.submit(LIPSYNC, asked(), queue_timeout=0.2)
    with pytest.raises(QueuedTooLong, match=r"within 0\.2 s") as caught:
        job.result()
    assert caught.value.details == {"limit": 0.2}
    assert cloud.canceled == ["0-u1"] and job.status is Status.CANCELED


def test_the_queue_s_limit_is_none_for_the_render(
    client: Client, cloud: Cloud, asked: Asked
) -> None:
    cloud.play = lambda job: [*[at(0.5)] * 10, answer(job, {"a.mp4": b"x"}, "https://h/")]
    assert client.submit(LIPSYNC, asked(), queue_timeout=0.05).result().seed == 7


# What is asked for


def test_where_and_how(client: Client, cloud: Cloud, asked: Asked) -> None:
    client.submit(LIPSYNC, asked(), to="gs://theirs/{job_id}", inline=True)
    assert (cloud.input["to"], cloud.input["inline"]) == ("gs://theirs/{job_id}", True)
    assert re.fullmatch(r"ltx2-lipsync-\d{8}-\d{6}-\w{4}", cloud.input["job_id"])
    assert "policy" not in cloud.jobs["0-u1"]


@pytest.mark.parametrize("timeout", [1, 604_801, float("nan"), float("inf")])
def test_runpod_s_own_limits(timeout: float, client: Client, cloud: Cloud, asked: Asked) -> None:
    with pytest.raises(RequestError, match="5 to 604,800 seconds"):
        client.submit(LIPSYNC, asked(), timeout=timeout)
    assert cloud.asked == []


@pytest.mark.parametrize(
    ("endpoint", "base", "url"),
    [
        ("abc", None, "https://api.runpod.ai/v2/abc"),
        ("runpod://abc-1", None, "https://api.runpod.ai/v2/abc-1"),
        ("runpod://abc", "http://localhost:8000", "http://localhost:8000"),
        ("runpod://abc", "http://localhost:8000/", "http://localhost:8000"),
        ("runpod://abc", "https://proxy/runpod/v2/", "https://proxy/runpod/v2/abc"),
        ("http://localhost:8000", None, "http://localhost:8000"),
    ],
)
def test_addresses(endpoint: str, base: str | None, url: str) -> None:
    assert api.address(endpoint, base or api.API) == url


@pytest.mark.parametrize(
    ("endpoint", "environment", "words"),
    [
        ("", {}, "names no endpoint"),
        ("runpod://a/b", {}, "names no endpoint"),
        ("gs://bucket", {}, "names no endpoint"),
        ("abc", {}, "set RUNPOD_API_KEY"),
        ("abc", {"RUNPOD_API_KEY": " "}, "set RUNPOD_API_KEY"),
        ("abc", {"RUNPOD_API_KEY": "a\nb"}, "a space or a line"),
        ("http://example.com/v2/abc", {"RUNPOD_API_KEY": "k"}, "in the clear"),
        ("https://me:secret@host/abc", {"RUNPOD_API_KEY": "k"}, "holds a user"),
        ("https://host/abc?x=1", {"RUNPOD_API_KEY": "k"}, "no http"),
        ("abc", {"RUNPOD_API_KEY": "k", "CALLSHEET_RUNPOD_API": "ftp://x"}, "no http"),
    ],
)
def test_endpoints_that_are_none(endpoint: str, environment: dict[str, str], words: str) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        Client.runpod(endpoint, environment=environment)
    assert "secret" not in caught.value.message


# Bringing home


def test_a_download_that_breaks_off_goes_on(
    client: Client, shelf: Shelf, asked: Asked, tmp_path: Path
) -> None:
    shelf.most = [1_200_000, 1_000_000]
    shelf.faults = [says(503)]
    result = client.submit(LIPSYNC, asked()).download(tmp_path)
    assert Path(result.artifacts[0].location).read_bytes() == FILM
    asked_for = [headers.get("Range") for _, headers in shelf.asked]
    assert asked_for[:2] == [None, None] and all(asked_for[2:]), asked_for
    assert not list(tmp_path.glob(".*.part"))


def test_a_download_goes_on_in_the_next_call(
    client: Client, shelf: Shelf, asked: Asked, tmp_path: Path
) -> None:
    job = client.submit(LIPSYNC, asked())
    digest = hashlib.sha256(FILM).hexdigest()
    part = tmp_path / f".job-film.mp4.{digest[:12]}.part"
    part.write_bytes(FILM[:2_000_000])
    job.download(tmp_path)
    assert [headers.get("Range") for _, headers in shelf.asked] == ["bytes=2000000-"]
    job.download(tmp_path)
    assert len(shelf.asked) == 1, "what is there is not fetched again"
    (tmp_path / "job-film.mp4").write_bytes(b"?" * len(FILM))
    part.write_bytes(b"?" * 2_000_000)
    job.download(tmp_path)
    assert (tmp_path / "job-film.mp4").read_bytes() == FILM, "a wrong beginning is not kept"


def test_a_site_without_ranges(client: Client, shelf: Shelf, asked: Asked, tmp_path: Path) -> None:
    shelf.ranges, shelf.most = False, [1_500_000]
    result = client.submit(LIPSYNC, asked()).download(tmp_path)
    assert Path(result.artifacts[0].location).read_bytes() == FILM
    shelf.most = [1_500_000] * 10_000
    with pytest.raises(StorageError, match=r"breaks off|not reached"):
        client.submit(LIPSYNC, asked()).download(tmp_path / "other")


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [(FILM[:-1] + b"?", StorageError, "checksum"), (FILM + b"?", StorageRefused, "more bytes"),
     (FILM[:-1], StorageError, "breaks off|checksum|reached")],
)  # fmt: skip
def test_another_file_is_not_taken(
    data: bytes,
    kind: type[RunnerError],
    words: str,
    cloud: Cloud,
    shelf: Shelf,
    asked: Asked,
    tmp_path: Path,
) -> None:
    shelf.files["job-film.mp4"] = data
    with client_of(cloud) as client, pytest.raises(kind, match=words):
        client.submit(LIPSYNC, asked()).download(tmp_path)
    assert not (tmp_path / "job-film.mp4").exists()


def test_an_expired_address(client: Client, shelf: Shelf, asked: Asked, tmp_path: Path) -> None:
    shelf.faults = [says(403)] * 9
    with pytest.raises(StorageRefused, match=r"answers 403: the address has expired") as caught:
        client.submit(LIPSYNC, asked()).download(tmp_path)
    assert "?" not in caught.value.message and len(shelf.asked) == 1


def test_outputs_in_the_answer(cloud: Cloud, asked: Asked, tmp_path: Path) -> None:
    def play(job: dict[str, Any]) -> list[dict[str, Any]]:
        texts = {"a.mp4": base64.b64encode(b"film").decode()}
        return [answer(job, {"a.mp4": b"film", "empty.txt": b""}, "", {**texts, "empty.txt": ""})]

    cloud.play = play
    (tmp_path / "empty.txt").write_bytes(b"")
    with client_of(cloud) as client:
        result = client.submit(LIPSYNC, asked(), inline=True).download(tmp_path)
    assert Path(result.artifacts[0].location).read_bytes() == b"film"


def test_outputs_on_the_endpoint_s_disk(cloud: Cloud, asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.mp4").write_bytes(b"film")
    cloud.play = lambda job: [answer(job, {"a.mp4": b"film"}, f"{tmp_path}/there/")]
    with client_of(cloud) as client:
        job = client.submit(LIPSYNC, asked())
        assert Path(job.download(tmp_path / "out").artifacts[0].location).read_bytes() == b"film"
        (tmp_path / "out" / "a.mp4").unlink()
        (tmp_path / "there" / "a.mp4").unlink()
        with pytest.raises(StorageRefused, match="CALLSHEET_TO"):
            job.download(tmp_path / "out")


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("https://h/a/Clip_001.mp4?sig=1/2", "Clip_001.mp4"),
        ("https://h/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "passwd"),
        ("https://h/..", "Film"),
        ("https://h/a/.bashrc", "bashrc"),
        ("https://h/a\\..\\b.mp4", "b.mp4"),
        ("gs://b/x/y.png", "y.png"),
        ("/", "Film"),
    ],
)
def test_names_at_home_are_plain(location: str, name: str) -> None:
    one = Artifact("Film", location, 1, "", Probe("video"))
    assert file_names([one]) == [name]
    assert file_names([one, one]) == [name, f"1-{name}"]


def test_many_jobs_from_many_threads(client: Client, asked: Asked, tmp_path: Path) -> None:
    found: list[str] = []

    def work(number: int) -> None:
        job = client.submit(LIPSYNC, asked(seed=number), job_id=f"job-{number}")
        found.append(job.download(tmp_path / str(number)).job_id)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [f"job-{n}" for n in range(8)]
