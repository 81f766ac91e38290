"""RunPod's job API on loopback, with a worker behind it that reads and answers as ours does; a web
site with outputs. Both can go wrong."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runner import workflow as workflows
from runner.errors import RunnerError
from runner.job import Artifact, Probe, Result, Status
from runner.request import check
from runner.service import answers, requests

ROOT = Path(__file__).resolve().parents[2]
KEY = "rpa_S3CRETS3CRETS3CRET"
MOST = 10_000_000  # bytes of a request
FILM = bytes(range(256)) * 12_000  # 3 MB
WAITS, STARTS = {"status": "IN_QUEUE"}, {"status": "IN_PROGRESS"}


def at(progress: float, stage: str = "Sampler", **more: Any) -> dict[str, Any]:
    """What a status says between two of the worker's updates."""
    return {"status": "IN_PROGRESS", "output": {"progress": progress, "stage": stage, **more}}


def answer(
    job: dict[str, Any], files: dict[str, bytes], where: str, texts: dict[str, str] | None = None
) -> dict[str, Any]:
    """What our worker answers: a result, whose files lie at `where`, or an error."""
    try:
        asked = requests.read(job["input"], given_id=job["id"], now=datetime.now())
        ready = check(asked.job, workflows.find(asked.job.workflow, [ROOT / "workflows"]))
        artifacts = [
            Artifact(
                Path(name).stem.title(),
                f"{where}{name}",
                len(data),
                hashlib.sha256(data).hexdigest(),
                Probe("video", "mp4", "h264", 64, 32, 25, 25.0, 1.0, has_audio=True),
            )
            for name, data in files.items()
        ]
        result = Result(
            asked.job.id,
            Status.SUCCEEDED,
            ready.workflow.reference,
            tuple(artifacts),
            asked.job.params,
            7,
            {"render": 2.0},
            request="a fingerprint",
        )
        said = answers.output(asked, result, texts or {} if asked.inline else {})
    except RunnerError as error:
        return {"status": "FAILED", "error": answers.error_text(error)}
    return {"status": "COMPLETED", "output": json.loads(json.dumps(said))}


class _Server:
    """An HTTP server that takes HTTP/1.1 requests, each in a thread."""

    def __init__(self) -> None:
        handler = type("Own", (_Handler,), {"site": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.asked: list[tuple[str, dict[str, str]]] = []  # method and path, headers

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.server.shutdown()
        self.server.server_close()

    def handle(self, request: "_Handler", body: bytes) -> None:
        raise NotImplementedError

    def times(self, word: str) -> int:
        return sum(word in line for line, _ in self.asked)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece
    site: _Server

    def _any(self) -> None:
        self.site.asked.append((f"{self.command} {self.path}", dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.site.handle(self, body)

    do_GET = do_POST = _any

    def reply(self, status: int, said: object, **headers: str) -> None:
        body = said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")  # the SDK asks for it
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self) -> None:
        """The connection breaks after a few bytes."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


Fault = Callable[[_Handler], None]
Steps = Callable[[dict[str, Any]], list[dict[str, Any]]]


def says(status: int, said: object = "no", **headers: str) -> Fault:
    return lambda request: request.reply(status, said, **headers)


@dataclass
class Cloud(_Server):
    """`play` gives the statuses that a job goes through; each question is answered with the next."""

    play: Steps
    faults: dict[str, list[Fault]] = field(default_factory=dict)  # by path's first word, in turn
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    canceled: list[str] = field(default_factory=list)
    times_asked: list[float] = field(default_factory=list)  # when statuses were

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def api(self) -> str:
        return f"{self.base}/v2"

    @property
    def input(self) -> dict[str, Any]:
        """Of the only job."""
        (job,) = self.jobs.values()
        return job["input"]

    def handle(self, request: _Handler, body: bytes) -> None:
        words = request.path.strip("/").split("/")
        if words[:2] != ["v2", "endpoint"]:
            return request.reply(404, {"error": "endpoint not found"})
        word, job_id = words[2], words[3] if len(words) > 3 else ""
        if word == "status":
            self.times_asked.append(time.monotonic())
        if self.faults.get(word):
            return self.faults[word].pop(0)(request)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return request.reply(401, "")
        if word == "run":
            return self._run(request, body)
        if word == "health":
            return request.reply(200, {"workers": {"idle": 1}, "jobs": {"inQueue": len(self.jobs)}})
        if job_id not in self.jobs:
            return request.reply(404, {"error": "job not found"})
        if word == "cancel":
            self.canceled.append(job_id)
            self.steps[job_id] = [{"status": "CANCELLED"}]
            return request.reply(200, {"id": job_id, "status": "CANCELLED"})
        steps = self.steps[job_id]
        said = steps.pop(0) if len(steps) > 1 else steps[0]
        return request.reply(200, {"id": job_id, "delayTime": 3, "executionTime": 4, **said})

    def _run(self, request: _Handler, body: bytes) -> None:
        if len(body) > MOST:
            return request.reply(413, "")
        job_id = f"{len(self.jobs)}-u1"
        self.jobs[job_id] = {"id": job_id, **json.loads(body)}
        self.steps[job_id] = self.play(self.jobs[job_id])
        return request.reply(200, {"id": job_id, "status": "IN_QUEUE"})


@dataclass
class Shelf(_Server):
    """Files by their names, with ranges. `most`: bytes after which a download breaks off, in turn."""

    files: dict[str, bytes] = field(default_factory=dict)
    most: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ranges: bool = True

    def __post_init__(self) -> None:
        super().__init__()

    def handle(self, request: _Handler, body: bytes) -> None:
        if self.faults:
            return self.faults.pop(0)(request)
        data = self.files[request.path.partition("?")[0].removeprefix("/")]
        asked = request.headers.get("Range", "") if self.ranges else ""
        start = int(asked.removeprefix("bytes=").partition("-")[0] or 0)
        request.send_response(206 if asked else 200)
        if asked:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - start))
        request.end_headers()
        whole = data[start:]
        most = self.most.pop(0) if self.most else len(whole)
        request.wfile.write(whole[:most])
        request.close_connection = most < len(whole)
        return None
