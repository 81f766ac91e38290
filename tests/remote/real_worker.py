"""Our worker in a process of its own, with a real ComfyUI that rehearses; RunPod's both sides for it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runpod_cloud import _Handler, _Server

_CODE = "from runner.entrypoints import runpod; runpod.serve()"
POLL = 0.5  # seconds for which a worker's question is held open
ENDED = ("COMPLETED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class Worker:
    process: subprocess.Popen[bytes]
    log: Path

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def wait(self, name: str, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.events(name):
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < end, self.log.read_text()[-4000:]
            time.sleep(0.05)


@contextmanager
def working(home: Path, *words: str, **environment: str) -> Iterator[Worker]:
    """A worker that has no storage: outputs travel in the answer."""
    kept = ("PATH", "HOME", "LANG", "COMFYUI_DIR", "CALLSHEET_CACHE")
    own = {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "CALLSHEET_HOME": str(home),
        "CALLSHEET_REHEARSE": "1",
        "CALLSHEET_SERVE": "ltx2-lipsync",
        "CALLSHEET_MIN_FREE_GB": "0.1",
        "CALLSHEET_PROGRESS_EVERY": "0.1",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        **environment,
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, *words], env=own, cwd=home, stdout=log, stderr=log
        )
    try:
        yield Worker(process, home / "log")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Bridge(_Server):
    """RunPod in small: callers on one side, the SDK's worker loop on the other."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    stop: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def environment(self) -> dict[str, str]:
        """What RunPod gives a worker."""
        base = f"{self.base}/v2/endpoint"
        return {
            "RUNPOD_POD_ID": "pod",
            "RUNPOD_AI_API_KEY": "rpa_W0RKERW0RKER",
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",
        }

    def handle(self, request: _Handler, body: bytes) -> None:
        words = request.path.partition("?")[0].strip("/").split("/")
        word, job_id = words[2], words[-1]
        said = json.loads(body) if body else {}
        with self.changed:
            if word == "run":
                return self._run(request, said)
            if word == "status":
                shown = {k: v for k, v in self.jobs[job_id].items() if k != "input"}
                return request.reply(200, shown)
            if word == "cancel":
                self._cancel(job_id)
                return request.reply(200, {"id": job_id, "status": "CANCELLED"})
            if word == "job-done":
                self._done(job_id, said)
                return request.reply(200, {})
            if word == "job-stop":
                self.changed.wait_for(lambda: self.stop, POLL)
                stop, self.stop = self.stop, []
                return request.reply(200, {"jobsToStop": stop}) if stop else _nothing(request)
            if word.startswith("job-take"):
                return self._take(request, batch=word == "job-take-batch")
        return request.reply(200, {})

    def _run(self, request: _Handler, said: dict[str, Any]) -> None:
        job_id = f"{len(self.jobs)}-u1"
        self.jobs[job_id] = {"id": job_id, "input": said["input"], "status": "IN_QUEUE"}
        self.changed.notify_all()
        request.reply(200, {"id": job_id, "status": "IN_QUEUE"})

    def _take(self, request: _Handler, *, batch: bool) -> None:
        def waiting() -> list[dict[str, Any]]:
            return [job for job in self.jobs.values() if job["status"] == "IN_QUEUE"]

        self.changed.wait_for(waiting, POLL)
        jobs = waiting()[:1]
        for job in jobs:
            job["status"] = "IN_PROGRESS"
        given = [{"id": job["id"], "input": job["input"]} for job in jobs]
        if not given:
            return _nothing(request)
        return request.reply(200, given if batch else given[0])

    def _cancel(self, job_id: str) -> None:
        self.stop += [job_id] if self.jobs[job_id]["status"] == "IN_PROGRESS" else []
        self.jobs[job_id]["status"] = "CANCELLED"
        self.changed.notify_all()

    def _done(self, job_id: str, said: dict[str, Any]) -> None:
        job = self.jobs[job_id]
        if job["status"] in ENDED:
            return
        if said.get("status") == "IN_PROGRESS":
            job["output"] = said["output"]
        else:
            job.pop("output", None)
            job.update(said, status="FAILED" if "error" in said else "COMPLETED")


def _nothing(request: _Handler) -> None:
    request.send_response(204)
    request.end_headers()
