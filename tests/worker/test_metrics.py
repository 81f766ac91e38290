"""A worker's figures: what Prometheus reads."""

import threading
import time
import urllib.request
from collections.abc import Callable

import pytest

from runner.service.metrics import Metrics

from workers import free_port


def read(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"callsheet_{name}", labels) or 0.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_jobs_by_how_they_end(metrics: Metrics) -> None:
    for event, facts in (
        ("job_taken", {}),
        ("job_taken", {}),
        ("job_taken", {}),
        ("job_succeeded", {"workflow": "a@1.0.0", "seconds": 7.0, "bytes": 900, "stages": {"render": 5.0}}),
        ("job_failed", {"workflow": "a@1.0.0", "seconds": 1.0, "code": "input_error"}),
    ):  # fmt: skip
        metrics(event, facts)
    assert read(metrics, "jobs_total", workflow="a@1.0.0", status="succeeded") == 1
    assert read(metrics, "jobs_total", workflow="a@1.0.0", status="failed") == 1
    assert read(metrics, "errors_total", code="input_error") == 1
    assert read(metrics, "stage_seconds_total", stage="render") == 5
    assert read(metrics, "stored_bytes_total") == 900
    assert read(metrics, "jobs_open") == 1
    assert read(metrics, "job_seconds_bucket", le="5.0") == 1
    assert read(metrics, "job_seconds_count") == 2


def test_a_canceled_job_is_no_error(metrics: Metrics) -> None:
    metrics("job_taken", {})
    metrics("job_canceled", {"workflow": "a@1.0.0", "seconds": 2.0, "code": "canceled"})
    assert read(metrics, "jobs_total", workflow="a@1.0.0", status="canceled") == 1
    assert read(metrics, "errors_total", code="canceled") == 0
    assert read(metrics, "jobs_open") == 0


def test_the_port_tells_idle_and_busy(metrics: Metrics) -> None:
    before, turn, port = threading.active_count(), threading.Lock(), free_port()
    looks: list[bool] = []

    def busy() -> bool:
        looks.append(turn.locked())
        return looks[-1]

    end = metrics.serve(port, busy)
    try:
        until(lambda: read(metrics, "gpu_idle_seconds_total") > 0.1)
        with turn:
            until(lambda: read(metrics, "gpu_busy") == 1)
            idle = read(metrics, "gpu_idle_seconds_total")
            seen = len(looks)
            until(lambda: len(looks) > seen + 3)
            assert read(metrics, "gpu_idle_seconds_total") == idle
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                text = answer.read().decode()
    finally:
        end()
    assert "callsheet_gpu_busy 1.0" in text
    assert "# HELP callsheet_gpu_idle_seconds_total while no job rendered" in text
    assert threading.active_count() == before


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
