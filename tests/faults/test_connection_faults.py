"""The connection breaks at every point: the job still ends as it should, and is rendered once."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

from runner.comfy import client, remote
from runner.comfy.client import Patience
from runner.comfy.engine import LocalEngine
from runner.comfy.remote import RemoteEngine, attached
from runner.comfy.supervisor import FREE_WITHIN
from runner.job import Deadlines
from runner.run import run
from runner.storage.local import LocalStorage

from faulty import BUSY, HASTY, Fault, act, asked, graph, rendered, until, when
from proxy import Proxy

KINDS = ("status", "execution_start", "execution_cached", "executing", "progress_state",
         "progress", "executed", "execution_success", "last")  # fmt: skip


@pytest.fixture
def proxy(engine: LocalEngine) -> Proxy:
    return Proxy(engine.ready().url)


@pytest.fixture
def far(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteEngine]:
    """The engine as one that runs elsewhere, behind the proxy."""
    monkeypatch.setattr(remote, "READY_WITHIN", 2.0)
    monkeypatch.setattr(remote, "BACK_WITHIN", 2.0)
    with proxy as url, attached(url, unstored=tmp_path / "unstored", patience=HASTY) as found:
        yield found


def once(kind: str, act: str, do: Callable[[], object] = lambda: None) -> Callable[[str, Any], str]:
    """A rule for the first message of a kind."""
    done: list[bool] = []

    def rule(seen: str, data: Any) -> str:
        if seen == kind and not done:
            done.append(True)
            do()
            return act
        return "pass"

    return rule


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["double", "lose", "swap", "cut before", "cut during", "cut after"])
def test_a_message(proxy: Proxy, far: RemoteEngine, fault: Fault, kind: str, how: str) -> None:
    """The websocket and a message of any type: {how}."""
    proxy.rule = once(kind, how)
    outcome = fault.watch(lambda: rendered(far, act("sleep", 0.3)))
    assert fault.seen == "succeeded", outcome
    assert [f.node_id for f in outcome.files] == ["2"]
    assert proxy.cuts == how.startswith("cut")
    assert proxy.requests.count("POST /prompt") == 1
    assert fault.seconds < 1.0 + BUSY


def test_every_message_is_lost(proxy: Proxy, far: RemoteEngine, fault: Fault) -> None:
    """No message ever comes."""
    proxy.rule = lambda kind, data: "lose"
    assert fault.watch(lambda: rendered(far, act("sleep", 0.3))).files
    assert fault.seconds < 1.0 + BUSY


def test_cut_again_and_again(proxy: Proxy, far: RemoteEngine, fault: Fault) -> None:
    """The websocket is cut after each message."""
    proxy.rule = lambda kind, data: "cut after"
    assert fault.watch(lambda: rendered(far, act("sleep", 0.3))).files
    assert proxy.cuts > 2


def going(proxy: Proxy, moment: str) -> None:
    """The server goes away at a moment."""

    def go() -> None:
        proxy.down = True

    async def at_history(request: web.Request) -> None:
        if request.path.startswith("/history"):
            go()
            assert request.transport
            request.transport.abort()

    if moment == "before it is submitted":
        go()
    elif moment == "while it runs":
        proxy.rule = once("progress", "cut after", go)
    elif moment == "at its last message":
        proxy.rule = once("last", "cut before", go)
    elif moment == "between the last message and the history":
        proxy.http = at_history


MOMENTS = ["before it is submitted", "while it runs", "at its last message",
           "between the last message and the history"]  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
def test_gone_for_good(proxy: Proxy, far: RemoteEngine, fault: Fault, moment: str) -> None:
    """ComfyUI elsewhere is gone for good {moment}."""
    going(proxy, moment)
    fault.watch(lambda: rendered(far, act("sleep", 0.5)))
    assert fault.seen == "engine_unavailable"
    assert fault.seconds < HASTY.silence + remote.BACK_WITHIN + BUSY


@pytest.mark.parametrize("moment", MOMENTS)
def test_gone_for_a_moment(proxy: Proxy, far: RemoteEngine, fault: Fault, moment: str) -> None:
    """ComfyUI elsewhere cannot be reached for a second {moment}."""
    going(proxy, moment)

    def back() -> None:
        proxy.down, proxy.http = False, Proxy.http

    # Down from the moment that the rule sees; up a second after everything has gone down.
    def watch() -> None:
        until(lambda: proxy.down)
        time.sleep(1.0)
        back()

    watcher = threading.Thread(target=watch)
    watcher.start()
    outcome = fault.watch(lambda: rendered(far, act("sleep", 0.5)))
    watcher.join()
    assert fault.seen == "succeeded", outcome
    assert proxy.requests.count("POST /prompt") == 1


def test_started_anew_elsewhere(
    engine: LocalEngine, proxy: Proxy, far: RemoteEngine, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """ComfyUI elsewhere is started anew while the job runs."""
    monkeypatch.setattr(remote, "BACK_WITHIN", 60.0)

    def anew() -> None:
        engine.give_up()
        proxy.url = engine.ready().url

    outcome = fault.watch(lambda: rendered(far, act("sleep", 2.0), see=when("progress", anew)))
    assert fault.seen == "succeeded", outcome
    assert proxy.requests.count("POST /prompt") == 2


def test_a_lost_answer_to_the_prompt(proxy: Proxy, far: RemoteEngine, fault: Fault) -> None:
    """ComfyUI takes the prompt, but its answer is lost."""
    lost: list[bool] = []

    async def lose(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/prompt" or lost:
            return None
        lost.append(True)
        async with proxy._client.post(proxy.url + "/prompt", data=await request.read(),
                                      headers={"Content-Type": "application/json"}) as answer:  # fmt: skip
            await answer.read()
        assert request.transport
        request.transport.abort()
        return web.Response()

    proxy.http = lose
    assert fault.watch(lambda: rendered(far, act("sleep", 0.3))).files
    assert proxy.requests.count("POST /prompt") == 1  # not queued twice


def test_a_part_of_the_graph(far: RemoteEngine, fault: Fault) -> None:
    """ComfyUI accepts a part of the graph (200 with node_errors)."""
    graph = act("nothing")
    graph["3"] = {
        "class_type": "SaveImage",
        "_meta": {"title": "Broken"},
        "inputs": {"images": ["1", 0]},
    }
    error = fault.watch(lambda: rendered(far, graph))
    assert fault.seen == "prompt_rejected"
    assert "Broken (node 3)" in str(error)


def test_a_part_of_the_graph_runs(
    engine: LocalEngine, proxy: Proxy, far: RemoteEngine, fault: Fault, tmp_path: Path
) -> None:
    """ComfyUI accepts a part of the graph and is in a node that cannot be interrupted."""
    mark = tmp_path / "mark"
    prompt = act("deaf", 0.5, mark)
    prompt["3"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}

    async def late(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/prompt":
            return None
        async with proxy._client.post(proxy.url + "/prompt", data=await request.read(),
                                      headers={"Content-Type": "application/json"}) as answer:  # fmt: skip
            said = await answer.read()
        while not mark.exists():
            await asyncio.sleep(0.01)
        return web.Response(body=said, status=answer.status, content_type="application/json")

    proxy.http = late
    fault.watch(lambda: rendered(far, prompt))
    assert fault.seen == "prompt_rejected"
    assert requests.get(f"{engine.url}/queue", timeout=5).json()["queue_running"] == []


# --- HTTP answers -----------------------------------------------------------------------------------


async def empty(_: web.Request) -> web.StreamResponse:
    return web.json_response({})


async def fails(_: web.Request) -> web.StreamResponse:
    return web.Response(status=500, text="<html>Internal Server Error</html>")


async def truncated(_: web.Request) -> web.StreamResponse:
    return web.Response(text='{"status": {"status_str": "succ', content_type="application/json")


async def short(request: web.Request) -> web.StreamResponse:
    """Fewer bytes than its header says."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"status"')
    assert request.transport
    request.transport.abort()
    return response


async def slow(request: web.Request) -> web.StreamResponse:
    """A byte now and then, so that no single read ever takes long."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(600):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)
        await asyncio.sleep(0.001)


async def mute(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(600)
    return web.Response()


ANSWERS = {a.__name__: a for a in (empty, fails, truncated, short, slow, endless, mute)}
PATHS = ["/prompt", "/api/jobs", "/history"]


def answering(path: str, answer: Any, times: int) -> Callable[[web.Request], Any]:
    left = [times]

    async def http(request: web.Request) -> web.StreamResponse | None:
        if not request.path.startswith(path) or not left[0]:
            return None
        left[0] -= 1
        return await answer(request)

    return http


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["fails", "truncated", "short", "slow"])
def test_a_wrong_answer_once(
    proxy: Proxy, far: RemoteEngine, fault: Fault, path: str, name: str
) -> None:
    """ComfyUI's answer on {path} is wrong once: {name}."""
    proxy.http = answering(path, ANSWERS[name], 1)
    outcome = fault.watch(lambda: rendered(far, act("sleep", 0.3)))
    assert fault.seen == "succeeded", outcome
    assert outcome.files


def test_a_late_history(proxy: Proxy, far: RemoteEngine, fault: Fault) -> None:
    """The history entry comes late."""
    proxy.http = answering("/history", empty, 4)
    assert fault.watch(lambda: rendered(far, act("nothing"))).files


@pytest.mark.parametrize("name", ["empty", "fails", "truncated", "slow", "endless", "mute"])
def test_never_a_history(proxy: Proxy, far: RemoteEngine, fault: Fault, name: str) -> None:
    """The history never comes: {name}."""
    proxy.http = answering("/history", ANSWERS[name], 1000)
    fault.watch(lambda: rendered(far, act("nothing")))
    assert fault.seen == "engine_unavailable"
    assert fault.seconds < 2 * (HASTY.silence + HASTY.answer) + BUSY


@pytest.mark.parametrize("name", ["fails", "mute", "endless"])
def test_never_an_answer_to_the_prompt(
    proxy: Proxy, far: RemoteEngine, fault: Fault, name: str
) -> None:
    """The prompt is never answered: {name}."""
    proxy.http = answering("/prompt", ANSWERS[name], 1000)
    fault.watch(lambda: rendered(far, act("nothing")))
    assert fault.seen == "engine_unavailable"


HASTIER = Patience(
    tick=0.05, quiet=0.3, connect=1.0, listen=0.5, glance=0.4, answer=0.7, insist=0.7, silence=0.8
)


def longest(patience: Patience) -> float:
    """Seconds until a job has ended that gets no good answer to one kind of question: two attempts,
    each of which finds ComfyUI ready, asks until it has insisted enough, or hears nothing."""
    asked = max(patience.insist, patience.silence + patience.glance) + 2 * patience.listen
    return remote.READY_WITHIN + remote.BACK_WITHIN + 2 * asked


async def refused(request: web.Request) -> web.StreamResponse:
    assert request.transport
    request.transport.abort()
    return web.Response()


def test_how_long_a_job_insists() -> None:
    assert longest(Patience()) < 150
    assert Patience().insist * 2 + remote.READY_WITHIN + remote.BACK_WITHIN < 110


@pytest.mark.parametrize("path", ["/system_stats", "/object_info", *PATHS, "/view"])
@pytest.mark.parametrize("name", ["fails", "refused", "truncated", "slow", "endless", "mute"])
def test_an_answer_is_always_wrong(
    engine: LocalEngine, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    path: str, name: str,
) -> None:  # fmt: skip
    """ComfyUI's answers on {path} are always wrong: fails, refused, truncated, slow, endless, mute."""
    monkeypatch.setattr(remote, "READY_WITHIN", 0.8)
    monkeypatch.setattr(remote, "BACK_WITHIN", 0.8)
    monkeypatch.setattr(client, "UNDECLARED", 8 * 1024**2)
    proxy = Proxy(engine.ready().url)
    storage = LocalStorage(tmp_path / "out")
    with proxy as url, attached(url, unstored=tmp_path / "kept", patience=HASTIER) as far:
        proxy.http = answering(path, {**ANSWERS, "refused": refused}[name], -1)
        fault.watch(lambda: run(asked(graph("nothing")), engine=far, storage=storage))
    codes = {"output_missing"} if path == "/view" else {"engine_unavailable"}
    # Messages say that it has ended, and the status of an answer that it is alive.
    codes |= {"succeeded"} if path == "/api/jobs" or name == "truncated" else set()
    codes |= {"prompt_rejected"} if (path, name) == ("/prompt", "truncated") else set()
    assert fault.seen in codes
    assert fault.seconds < longest(HASTIER) + BUSY
    assert fault.seen == "succeeded" or not storage.folder.exists()


@pytest.mark.parametrize(
    ("what", "seen", "prompts"), [("wait once", "succeeded", 2), ("deaf", "timed_out_stalled", 1)]
)
def test_stalled_elsewhere(
    engine: LocalEngine, proxy: Proxy, far: RemoteEngine, fault: Fault, tmp_path: Path,
    what: str, seen: str, prompts: int,
) -> None:  # fmt: skip
    """A node of a ComfyUI elsewhere makes no progress for longer than it may, of kind "{what}"."""
    limits = Deadlines(total=60, queue=60, stalled=1.0)
    prompt = act(what, 30.0, tmp_path / "mark")
    error = fault.watch(lambda: rendered(far, prompt, deadlines=limits))
    assert fault.seen == seen, error
    assert proxy.requests.count("POST /prompt") == prompts
    assert fault.seconds < 2 * FREE_WITHIN + BUSY
    if what == "deaf":
        assert "is not ours to end" in str(error)
        engine.give_up()


def test_canceled_before_the_answer(
    engine: LocalEngine, proxy: Proxy, far: RemoteEngine, fault: Fault
) -> None:
    """The caller cancels while POST /prompt is on its way; it arrives a second later."""
    canceled, arrived = threading.Event(), threading.Event()

    async def late(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/prompt":
            return None
        body = await request.read()
        canceled.set()
        await asyncio.sleep(1.0)
        async with proxy._client.post(proxy.url + "/prompt", data=body,
                                      headers={"Content-Type": "application/json"}) as answer:  # fmt: skip
            await answer.read()
        arrived.set()
        return web.Response()

    proxy.http = late
    fault.watch(lambda: rendered(far, act("sleep", 30.0), canceled=canceled))
    assert fault.seen == "canceled"
    assert arrived.wait(5)  # and was canceled as soon as ComfyUI knew it
    assert fault.seconds < FREE_WITHIN + BUSY
    assert rendered(engine, act("nothing"), deadlines=Deadlines(total=15.0)).files  # it is free


def test_slow_network(proxy: Proxy, far: RemoteEngine, fault: Fault) -> None:
    """Every HTTP answer takes half a second longer."""

    async def late(_: web.Request) -> None:
        await asyncio.sleep(0.5)

    proxy.http = late
    assert fault.watch(lambda: rendered(far, act("sleep", 0.3))).files
