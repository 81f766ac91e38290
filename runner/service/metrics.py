"""Figures of a worker for Prometheus: jobs, seconds by stage, bytes, errors by code, the GPU's idle time."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

_LOOK = 0.1  # seconds between two looks whether the GPU works
_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)


@dataclass
class Metrics:
    """Listens to the log's events. May be used from many threads."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _closed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        own: Any = {"registry": self.registry, "namespace": "callsheet"}
        self._jobs = Counter("jobs", "jobs that have ended", ["workflow", "status"], **own)
        self._errors = Counter("errors", "failed jobs by the error's code", ["code"], **own)
        self._seconds = Histogram("job_seconds", "from request to answer", buckets=_SECONDS, **own)
        self._stages = Counter("stage_seconds", "of succeeded jobs, by stage", ["stage"], **own)
        self._bytes = Counter("stored_bytes", "of outputs", **own)
        self._open = Gauge("jobs_open", "taken and not answered", **own)
        self._waiting = Gauge("jobs_waiting", "taken, and not the one that renders", **own)
        self._idle = Counter("gpu_idle_seconds", "while no job rendered", **own)
        self._busy = Gauge("gpu_busy", "1 while a job renders", **own)

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """An event of the log."""
        if event == "job_taken":
            self._open.inc()
        elif event in ("job_succeeded", "job_failed", "job_canceled"):
            self._open.dec()
            status = event.removeprefix("job_")
            self._jobs.labels(str(facts.get("workflow", "")), status).inc()
            self._seconds.observe(float(facts.get("seconds", 0)))
            self._bytes.inc(int(facts.get("bytes", 0)))
            for stage, seconds in dict(facts.get("stages", {})).items():
                self._stages.labels(stage).inc(seconds)
            if event == "job_failed":
                self._errors.labels(str(facts.get("code"))).inc()

    def serve(self, port: int, busy: Callable[[], bool]) -> Callable[[], None]:
        """Answer on a port from now on, and watch the GPU; returns what ends both."""
        server, thread = start_http_server(port, registry=self.registry)
        watcher = threading.Thread(target=self._watch, args=(busy,), daemon=True)
        watcher.start()

        def end() -> None:
            self._closed.set()
            server.shutdown()
            server.server_close()
            thread.join()
            watcher.join()

        return end

    def _watch(self, busy: Callable[[], bool]) -> None:
        before = time.monotonic()
        while not self._closed.wait(_LOOK):
            now, works = time.monotonic(), busy()
            self._busy.set(works)
            self._waiting.set(max(0, self._open_now() - works))
            if not works:
                self._idle.inc(now - before)
            before = now

    def _open_now(self) -> int:
        return int(self.registry.get_sample_value("callsheet_jobs_open") or 0)
