"""Two hundred jobs, each with a fault of its own: every one ends, as it should, and leaves nothing."""

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web

from runner.comfy import remote
from runner.comfy.engine import LocalEngine
from runner.comfy.remote import attached
from runner.errors import RunnerError
from runner.job import Deadlines, Progress
from runner.jobs import Jobs
from runner.storage.local import LocalStorage

from faulty import HASTY, asked, graph
from proxy import ACTS, Proxy

JOBS, SEED = 200, int(os.environ.get("FAULTS_SEED", "20260"))
KINDS = ("status", "execution_start", "executing", "progress_state", "progress", "executed",
         "execution_success", "last")  # fmt: skip


@dataclass
class Chance:
    """What goes wrong in one job, and how it has to end."""

    name: str
    act: str = "sleep"
    seconds: float = 0.05
    ends: str = "succeeded"
    rule: Callable[[str, Any], str] = lambda kind, data: "pass"
    http: Callable[[web.Request], Any] | None = None
    total: float = 60.0
    stalled: float = 60.0
    cancel_after: float | None = None


def drawn(rng: random.Random) -> Chance:
    kind, how = rng.choice(KINDS), rng.choice(ACTS)
    path = rng.choice(["/prompt", "/api/jobs", "/history", "/view", "/object_info"])
    return rng.choice(
        [
            Chance(f"{how} {kind}", rule=lambda seen, data: how if seen == kind else "pass"),
            Chance(f"mostly {how}", rule=lambda seen, data: how if rng.random() < 0.3 else "pass"),
            Chance(f"500 on {path}", http=failing(path, 500),
                   ends="output_missing" if path == "/view" else "succeeded"),
            Chance(f"cut {path}", http=failing(path, 0),
                   ends="output_missing" if path == "/view" else "succeeded"),
            Chance("a node fails", act="fail", ends="execution_failed"),
            Chance("memory is full", act="gpu_full", ends="out_of_memory"),
            Chance("main memory is full", act="torch_full", ends="out_of_memory"),
            Chance("stands still", act="wait", seconds=30.0, stalled=0.3, ends="timed_out_stalled"),
            Chance("interrupted", act="interrupt", ends="interrupted"),
            Chance("too long", seconds=30.0, total=0.3, ends="timed_out_total"),
            Chance("canceled", seconds=30.0, cancel_after=0.2, ends="canceled"),
            Chance("nothing"),
        ]
    )  # fmt: skip


def failing(path: str, status: int) -> Callable[[web.Request], Any]:
    """Once: a status, or for 0 no answer at all."""
    left = [True]

    async def http(request: web.Request) -> web.StreamResponse | None:
        if not left[0] or not request.path.startswith(path):
            return None
        left[0] = False
        if not status:
            assert request.transport
            request.transport.abort()
        return web.Response(status=status or 502)

    return http


@pytest.mark.timeout(900)
def test_every_job_ends(
    engine: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "READY_WITHIN", 5.0)
    rng = random.Random(SEED)
    jobs, storage = Jobs(), LocalStorage(tmp_path / "out")
    proxy = Proxy(engine.ready().url)
    wrong: list[str] = []
    succeeded: list[str] = []
    here = psutil.Process()
    with proxy as url, attached(url, unstored=tmp_path / "kept", patience=HASTY) as far:
        children = {child.pid for child in here.children(recursive=True)}
        handles, threads = 0, 0
        for number in range(JOBS):
            if number == 20:  # by now everything that stays open is open
                handles, threads = here.num_fds(), threading.active_count()
            chance = drawn(rng)
            proxy.rule, proxy.http = chance.rule, chance.http or Proxy.http
            ended = one(jobs, far, storage, chance, f"job-{number}")
            if ended != chance.ends:
                wrong.append(f"{number} {chance.name}: {ended}, not {chance.ends}")
            if ended == "succeeded":
                succeeded.append(f"job-{number}")
        assert not wrong
        assert far.comfy.system_stats()
        assert {child.pid for child in here.children(recursive=True)} == children
        assert threading.active_count() <= threads
        assert here.num_fds() <= handles + 3
        assert list(far.input.rglob("*.*")) == []
    names = sorted(file.name for file in storage.folder.iterdir())
    assert names == sorted(n for job in succeeded for n in (f"{job}-picture.png", f"{job}.json"))


def one(jobs: Jobs, far: Any, storage: LocalStorage, chance: Chance, job: str) -> str:
    """How a job ends."""
    timers: list[threading.Timer] = []

    def report(progress: Progress) -> None:
        if chance.cancel_after is not None and not timers:
            timers.append(threading.Timer(chance.cancel_after, lambda: jobs.cancel(job)))
            timers[0].start()

    began = time.monotonic()
    try:
        jobs.run(
            asked(graph(chance.act, seconds=chance.seconds), job=job),
            engine=far, storage=storage, report=report,
            deadlines=Deadlines(total=chance.total, stalled=chance.stalled),
        )  # fmt: skip
        return "succeeded"
    except RunnerError as error:
        return error.code
    finally:
        for timer in timers:
            timer.join()
        assert time.monotonic() - began < 30
