"""RunPod's side of a worker, on loopback: hands out jobs, takes answers, says what to stop."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Cloud:
    waiting: list[dict[str, Any]] = field(default_factory=list)
    taken: dict[str, float] = field(default_factory=dict)  # when, by job id
    updates: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by job id
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)  # by job id
    answered: dict[str, float] = field(default_factory=dict)  # when, by job id
    late: list[str] = field(default_factory=list)  # jobs with an update after the answer
    stop: list[str] = field(default_factory=list)
    poll: float = 0.5  # seconds for which a worker's question for jobs is held open
    asked: int = 0  # such questions that are open
    pings: list[dict[str, list[str]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        handler = type("Own", (_Handler,), {"cloud": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> "Cloud":
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

    @property
    def environment(self) -> dict[str, str]:
        """What RunPod gives a worker."""
        base = f"http://127.0.0.1:{self.server.server_address[1]}/v2/endpoint"
        return {
            "RUNPOD_POD_ID": "pod",
            "RUNPOD_AI_API_KEY": "rpa_S3CRETS3CRET",
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",
        }

    def send(self, job_id: str, request: object) -> None:
        with self.changed:
            self.waiting.append({"id": job_id, "input": request})
            self.changed.notify_all()

    def end(self, job_id: str) -> None:
        """As when a caller cancels: the job's worker is told."""
        with self.changed:
            self.stop.append(job_id)
            self.changed.notify_all()

    def wait(self, until: Callable[["Cloud"], object], seconds: float = 60.0) -> None:
        with self.changed:
            if not self.changed.wait_for(lambda: until(self), seconds):
                raise AssertionError(f"not within {seconds} s; {self.answers}")

    def answer(self, job_id: str, seconds: float = 60.0) -> dict[str, Any]:
        self.wait(lambda cloud: job_id in cloud.answers, seconds)
        return self.answers[job_id]

    def ask(self, job_id: str, request: object, seconds: float = 60.0) -> dict[str, Any]:
        self.send(job_id, request)
        return self.answer(job_id, seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: Cloud

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        kind, query = parts.path.split("/")[3], parse_qs(parts.query)
        cloud = self.cloud
        if kind == "ping":
            with cloud.changed:
                cloud.pings.append(query)
                cloud.changed.notify_all()
            return self.reply({})
        with cloud.changed:
            if kind == "job-stop":
                cloud.changed.wait_for(lambda: cloud.stop, 0.5)
                stop, cloud.stop = cloud.stop, []
                return self.reply({"jobsToStop": stop}) if stop else self.reply(None)
            most = int(query.get("batch_size", ["1"])[0])
            cloud.asked += 1
            cloud.changed.notify_all()
            cloud.changed.wait_for(lambda: cloud.waiting, cloud.poll)
            cloud.asked -= 1
            jobs, cloud.waiting = cloud.waiting[:most], cloud.waiting[most:]
            cloud.taken |= {job["id"]: time.time() for job in jobs}
        if not jobs:
            return self.reply(None)
        return self.reply(jobs if kind == "job-take-batch" else jobs[0])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        job_id = urlsplit(self.path).path.split("/")[5]
        with self.cloud.changed:
            if body.get("status") == "IN_PROGRESS":
                self.cloud.updates.setdefault(job_id, []).append(body["output"])
                self.cloud.late += [job_id] if job_id in self.cloud.answers else []
            else:
                self.cloud.answers[job_id] = body
                self.cloud.answered[job_id] = time.time()
            self.cloud.changed.notify_all()
        self.reply({})

    def reply(self, said: object) -> None:
        body = b"" if said is None else json.dumps(said).encode()
        self.send_response(204 if said is None else 200)
        if said is not None:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
