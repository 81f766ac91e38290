"""Whole jobs: memory that is full, ids that come twice, outputs that are not what was promised."""

import asyncio
import dataclasses
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from PIL import Image

from runner.comfy import client
from runner.comfy import engine as engines
from runner.comfy.engine import LocalEngine
from runner.comfy.remote import RemoteEngine, attached
from runner.comfy.supervisor import FREE_WITHIN
from runner.errors import Canceled, JobConflict
from runner.inputs import Access
from runner.job import Deadlines, Progress
from runner.jobs import Jobs
from runner.run import run
from runner.service.inline import Inlined
from runner.storage.local import LocalStorage
from runner.storage.naming import Fields
from runner.workflow import Workflow

from faulty import BUSY, HASTY, Cancel, Fault, as_soon_as, asked, graph
from proxy import Proxy


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "out")


@pytest.fixture
def proxy(engine: LocalEngine) -> Proxy:
    return Proxy(engine.ready().url)


@pytest.fixture
def far(proxy: Proxy, tmp_path: Path) -> Iterator[RemoteEngine]:
    with proxy as url, attached(url, unstored=tmp_path / "unstored", patience=HASTY) as found:
        yield found


def stored(storage: LocalStorage) -> list[str]:
    return sorted(file.name for file in storage.folder.iterdir())


@pytest.mark.parametrize("full", ["gpu_full", "main_full"])
def test_the_next_step_down(
    far: RemoteEngine, proxy: Proxy, storage: LocalStorage, fault: Fault, full: str
) -> None:
    """Memory is full and the workflow declares a thriftier way: {full}."""
    ready = asked(graph(full, "nothing"))
    result = fault.watch(lambda: run(ready, engine=far, storage=storage))
    assert fault.seen == "succeeded", result
    assert result.params["memory"] == "nothing"
    assert proxy.requests.count("POST /free") == 1
    assert result.notes == (f"memory was full with memory={full}; rendered with memory=nothing",)
    assert json.loads((storage.folder / f"{ready.job.id}.json").read_text())["notes"]


def test_the_last_step_is_too_large_as_well(
    engine: LocalEngine, storage: LocalStorage, fault: Fault
) -> None:
    """Memory is full, and so it is on the thriftier way."""
    workflow = graph("gpu_full", "main_full", "nothing")
    error = fault.watch(lambda: run(asked(workflow), engine=engine, storage=storage))
    assert fault.seen == "out_of_memory"
    assert "What helps: memory=nothing takes less" in str(error)
    assert "tried with memory=gpu_full, memory=main_full" in str(error)


def test_no_way_down(engine: LocalEngine, storage: LocalStorage, fault: Fault) -> None:
    """Memory is full and the workflow declares no thriftier way."""
    error = fault.watch(lambda: run(asked(graph("gpu_full")), engine=engine, storage=storage))
    assert fault.seen == "out_of_memory"
    assert "GPU memory is full" in str(error)
    assert error.details["peak"] == "22.40 GiB"


def test_the_same_job_is_joined(engine: LocalEngine, storage: LocalStorage, fault: Fault) -> None:
    """The same request comes again under the same id while it runs."""
    jobs, ready = Jobs(), asked(graph("sleep", seconds=1.0), job="twice")
    results: list[object] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(jobs.run(ready, engine=engine, storage=storage))
        )
        for _ in range(3)
    ]
    fault.watch(lambda: [t.start() for t in threads] and [t.join() for t in threads])
    assert len(results) == 3
    assert results[0] is results[1] is results[2]  # and none was read from the storage
    assert stored(storage) == ["twice-picture.png", "twice.json"]


def test_who_joins_may_want_the_bytes_in_the_answer(
    engine: LocalEngine, storage: LocalStorage
) -> None:
    jobs, ready = Jobs(), asked(graph("sleep", seconds=1.0), job="both")
    running, inlined = threading.Event(), Inlined(storage, "both.json")
    first = threading.Thread(
        target=lambda: jobs.run(
            ready, engine=engine, storage=storage, report=lambda _: running.set()
        )
    )
    first.start()
    running.wait()
    result = jobs.run(ready, engine=engine, storage=inlined)
    first.join()
    assert list(inlined.texts) == [result.artifacts[0].location]


def test_a_job_that_has_succeeded_is_not_rendered_again(
    engine: LocalEngine, storage: LocalStorage, fault: Fault
) -> None:
    """The same request comes again under the same id after it has succeeded."""
    ready = asked(graph("sleep", seconds=1.0), job="again")
    first = Jobs().run(ready, engine=engine, storage=storage)
    (picture,) = first.artifacts
    written = Path(picture.location).stat().st_mtime_ns
    again = fault.watch(lambda: Jobs().run(ready, engine=engine, storage=storage))
    assert again == first
    assert Path(picture.location).stat().st_mtime_ns == written


def test_another_request_is_refused(
    engine: LocalEngine, storage: LocalStorage, fault: Fault
) -> None:
    """Another request comes under the id of a job that has succeeded."""
    Jobs().run(asked(graph("nothing", "sleep"), job="mine"), engine=engine, storage=storage)
    other = asked(graph("nothing", "sleep"), job="mine", memory="sleep")
    error = fault.watch(lambda: Jobs().run(other, engine=engine, storage=storage))
    assert fault.seen == "job_conflict"
    assert "belongs to another request" in str(error)


def test_another_request_is_refused_while_one_runs(
    engine: LocalEngine, storage: LocalStorage
) -> None:
    jobs = Jobs()
    ready = asked(graph("sleep", "nothing", seconds=1.5), job="busy")
    running, shown = threading.Event(), []

    def report(progress: Progress) -> None:
        shown.append(progress)
        running.set()

    first = threading.Thread(
        target=lambda: jobs.run(ready, engine=engine, storage=storage, report=report)
    )
    first.start()
    assert running.wait(20)
    with pytest.raises(JobConflict):
        jobs.run(
            asked(ready.workflow, job="busy", memory="nothing"), engine=engine, storage=storage
        )
    first.join()
    assert stored(storage) == ["busy-picture.png", "busy.json"]


class Bucket(LocalStorage):
    """A folder that is told what a destination's template is filled with."""

    def put(self, file: Path, name: str, fields: Fields | None = None) -> str:
        with (self.folder.parent / "told").open("a") as told:
            told.write(f"{json.dumps(fields)}\n")
        return super().put(file, name, fields)


def test_the_storage_is_told_what_a_file_is(engine: LocalEngine, tmp_path: Path) -> None:
    run(asked(graph("nothing"), job="mine"), engine=engine, storage=Bucket(tmp_path / "out"))
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert told == [{"job_id": "mine", "output": "Picture", "index": 0}, {"job_id": "mine"}]


@pytest.mark.parametrize("refuses", [True, False])
def test_a_storage_that_fails(
    engine: LocalEngine, storage: LocalStorage, fault: Fault, refuses: bool
) -> None:
    """The storage refuses the outputs, or fails."""
    storage.folder.parent.mkdir(exist_ok=True)
    if refuses:
        storage = LocalStorage(storage.folder, overwrite=False)
        storage.folder.mkdir()
        (storage.folder / "mine-picture.png").write_text("somebody else's")
    else:
        storage.folder.write_text("no folder")
    before = set(engine.output.rglob("*.png"))  # of jobs of a ComfyUI elsewhere
    error = fault.watch(
        lambda: run(asked(graph("nothing"), job="mine"), engine=engine, storage=storage)
    )
    assert fault.seen == "storage_error"
    assert error.retryable is not refuses
    kept = Path(error.details["kept"])
    assert (kept / "mine-picture.png").is_file()
    assert set(engine.output.rglob("*.png")) <= before
    shutil.rmtree(kept)


def test_a_result_whose_file_is_gone_is_made_again(
    engine: LocalEngine, storage: LocalStorage
) -> None:
    ready = asked(graph("nothing"), job="gone")
    first = Jobs().run(ready, engine=engine, storage=storage)
    Path(first.artifacts[0].location).unlink()
    again = Jobs().run(ready, engine=engine, storage=storage)
    assert Path(again.artifacts[0].location).is_file()


def test_a_failed_job_may_be_tried_again(engine: LocalEngine, storage: LocalStorage) -> None:
    jobs, ready = Jobs(), asked(graph("fail"), job="retry")
    for _ in range(2):
        with pytest.raises(Exception, match="it cannot be done"):
            jobs.run(ready, engine=engine, storage=storage)


def test_canceled_by_its_id(engine: LocalEngine, storage: LocalStorage, fault: Fault) -> None:
    """The caller cancels a running job by its id; another waits for the same job."""
    jobs, ready = Jobs(), asked(graph("sleep", seconds=60.0), job="stop")
    told, canceled = threading.Event(), Cancel()
    joined: list[BaseException] = []

    def join() -> None:
        try:
            jobs.run(ready, engine=engine, storage=storage, report=lambda progress: told.set())
        except Canceled as error:
            joined.append(error)

    def report(progress: Progress) -> None:
        if progress.stage.startswith("Act") and other.ident is None:
            other.start()

    def cancel() -> None:
        canceled.set()
        assert jobs.cancel("stop")

    other = threading.Thread(target=join)
    with as_soon_as(told.is_set, cancel):
        fault.watch(lambda: jobs.run(ready, engine=engine, storage=storage, report=report))
    other.join()
    assert fault.seen == "canceled"
    assert len(joined) == 1
    assert canceled.ago() < FREE_WITHIN + BUSY
    assert not jobs.cancel("stop")
    assert list(engine.input.rglob("*.png")) == []


def test_progress_is_one_stream(engine: LocalEngine, storage: LocalStorage, tmp_path: Path) -> None:
    """Also over the death of the engine."""
    seen: list[tuple[float, Progress]] = []
    workflow = graph("windows", seconds=2.0)
    run(
        asked(workflow), engine=engine, storage=storage,
        report=lambda p: seen.append((time.monotonic(), p)),
    )  # fmt: skip
    fractions = [p.fraction for _, p in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert any(p.stage == "Act: window 3 of 4" for _, p in seen)
    assert any(p.steps == 10 for _, p in seen)
    assert any(p.eta is not None for _, p in seen)
    times = [t for t, _ in seen]
    in_a_second = max(sum(t <= u < t + 1 for u in times) for t in times)
    assert in_a_second <= 11  # the last one is not held back


# --- a ComfyUI elsewhere -----------------------------------------------------------------------------


def picture_workflow() -> Workflow:
    picture = {
        "id": 1, "type": "CallsheetImage", "title": "Picture in", "mode": 0, "inputs": [],
        "outputs": [{"name": "image", "type": "IMAGE", "links": [1]}],
        "widgets_values": ["", "picture", "", True],
    }  # fmt: skip
    save = {
        "id": 2, "type": "SaveImage", "title": "Picture", "mode": 0, "outputs": [],
        "inputs": [{"name": "images", "type": "IMAGE", "link": 1}], "widgets_values": ["x"],
    }  # fmt: skip
    document = {"version": 0.4, "nodes": [picture, save], "links": [[1, 1, 0, 2, 0, "IMAGE"]],
                "extra": {"linearData": {"inputs": [], "outputs": [2]}}}  # fmt: skip
    return Workflow(document, None, "picture", "1.0.0")


def noise(path: Path, side: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_files_travel(
    far: RemoteEngine, proxy: Proxy, storage: LocalStorage, tmp_path: Path
) -> None:
    source = noise(tmp_path / "in.png", 600)
    ready = asked(picture_workflow(), picture=str(source))
    result = run(ready, engine=far, storage=storage, access=Access(local=True))
    assert "POST /upload/image" in proxy.requests
    assert "GET /view" in proxy.requests
    sent, back = Image.open(source), Image.open(result.artifacts[0].location)
    assert np.array_equal(np.asarray(sent), np.asarray(back))


def test_an_input_over_the_limit(
    far: RemoteEngine, proxy: Proxy, storage: LocalStorage, fault: Fault, tmp_path: Path
) -> None:
    """An input is larger than a ComfyUI elsewhere takes."""

    async def small(request: web.Request) -> web.StreamResponse | None:
        said = {"max_upload_size": 1024**2}
        return web.json_response(said) if request.path == "/features" else None

    proxy.http = small
    ready = asked(picture_workflow(), picture=str(noise(tmp_path / "in.png", 700)))
    error = fault.watch(lambda: run(ready, engine=far, storage=storage, access=Access(local=True)))
    assert fault.seen == "input_error"
    assert "--max-upload-size 2" in str(error)
    assert "POST /upload/image" not in proxy.requests


@pytest.mark.parametrize(
    "how", ["is not there", "breaks off", "is cut", "is empty", "comes too slowly", "never ends"]
)
def test_an_output_that_is_not_whole(
    far: RemoteEngine, proxy: Proxy, storage: LocalStorage, fault: Fault, how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """An output of a ComfyUI elsewhere {how}."""

    async def http(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/view":
            return None
        if how == "is not there":
            return web.Response(status=404)
        async with proxy._client.get(proxy.url + request.path_qs) as answer:
            whole = await answer.read()
        if how == "is cut":
            return web.Response(body=whole[: len(whole) * 2 // 3])
        if how == "is empty":
            return web.Response(body=b"")
        trickles, floods = how == "comes too slowly", how == "never ends"
        length = {} if trickles or floods else {"Content-Length": str(len(whole))}
        response = web.StreamResponse(headers=length)
        await response.prepare(request)
        await response.write(whole[:20])
        while trickles or floods:
            await response.write(b"x" * (65536 if floods else 1))
            await asyncio.sleep(0.01)
        assert request.transport
        request.transport.abort()
        return response

    if how == "never ends":  # 8 MB are the whole disk
        monkeypatch.setattr(client, "ROOM", shutil.disk_usage(far.output).free - 8 * 1024**2)
    proxy.http = http
    error = fault.watch(lambda: run(asked(graph("nothing")), engine=far, storage=storage))
    assert fault.seen == ("disk_full" if how == "never ends" else "output_missing")
    assert how != "never ends" or f"the disk of {far.output}" in str(error)
    assert not storage.folder.exists() or stored(storage) == []


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSTOP"])
def test_lost_between_jobs(
    engine: LocalEngine, storage: LocalStorage, fault: Fault, number: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The engine gets {number} between two jobs."""
    monkeypatch.setattr(engines, "ANSWERS_WITHIN", 1.0)
    engine.ready()
    os.kill(engine.process.pid, signal.Signals[number])
    fault.watch(lambda: run(asked(graph("nothing")), engine=engine, storage=storage))
    assert fault.seen == "succeeded"


def test_deadlines_hold_for_whole_jobs(engine: LocalEngine, storage: LocalStorage) -> None:
    ready = asked(graph("sleep", seconds=60.0))
    with pytest.raises(Exception, match="not ended within 1 s"):
        run(ready, engine=engine, storage=storage, deadlines=dataclasses.replace(Deadlines(), total=1.0))  # fmt: skip


def test_previews_on_request(engine: LocalEngine) -> None:
    """Both kinds of frames are understood: see tests/unit/test_client.py; here: off unless asked for."""
    seen: list[Progress] = []
    run(asked(graph("sleep", seconds=0.3)), engine=engine, storage=LocalStorage(engine.temp / "s"),
        report=seen.append)  # fmt: skip
    assert all(p.preview is None for p in seen)
