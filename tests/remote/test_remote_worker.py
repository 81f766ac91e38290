"""From end to end: our client, RunPod's SDK, our real worker, a real ComfyUI that rehearses."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import requests
from calling import spoken
from real_worker import Bridge, Worker, working

from runner.errors import InputError
from runner.job import Progress, Result, Status
from runner.remote import Client, Patience

QUICK = Patience(wait=0.1, poll=0.05, slowest=0.2, cancel=10.0)
LIPSYNC = "ltx2-lipsync@1"


@pytest.fixture(scope="module")
def local_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a worker in the SDK's local API server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port)]
    with working(tmp_path_factory.mktemp("local"), *words) as worker:
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + 180
        while True:
            assert worker.process.poll() is None, worker.log.read_text()[-4000:]
            assert time.monotonic() < end, worker.log.read_text()[-4000:]
            try:
                requests.get(f"{url}/openapi.json", timeout=5).raise_for_status()
                break
            except requests.RequestException:
                time.sleep(0.2)
        yield url


@pytest.fixture(scope="module")
def bridge() -> Iterator[Bridge]:
    with Bridge() as found:
        yield found


@pytest.fixture(scope="module")
def worker(bridge: Bridge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """In the SDK's own loop, as at RunPod."""
    with working(tmp_path_factory.mktemp("loop"), **bridge.environment) as found:
        yield found


@pytest.fixture
def client(bridge: Bridge, worker: Worker) -> Iterator[Client]:
    where = {"CALLSHEET_RUNPOD_API": f"{bridge.base}/v2", "RUNPOD_API_KEY": "rpa_KEYKEYKEY"}
    with Client.runpod("runpod://endpoint", environment=where, patience=QUICK) as found:
        yield found


def small(face: Path, voice: Path, **more: Any) -> dict[str, Any]:
    asked = {"image_url": face, "audio_url": str(voice), "prompt": "she talks"}
    return {**asked, "width": 256, "height": 256, "seed": 3, **more}


def require_talks(result: Result) -> None:
    film = next(a for a in result.artifacts if a.probe.kind == "video")
    with av.open(film.location) as video:
        assert video.streams.video[0].width == film.probe.width == 256
        assert video.streams.audio, "the voice is in it"


def test_at_the_local_server(local_server: str, face: Path, voice: Path, tmp_path: Path) -> None:
    with Client.runpod(local_server, environment={}, patience=QUICK) as client:
        job = client.submit(LIPSYNC, small(face, voice), job_id="afar", inline=True)
        result = job.download(tmp_path / "out")
        assert (result.job_id, result.seed, job.status) == ("afar", 3, Status.SUCCEEDED)
        assert result.rehearsal and result.timings["render"] > 0
        require_talks(result)


def test_what_only_the_worker_can_tell(local_server: str) -> None:
    asked = {"image_url": "http://127.0.0.1:9/x.png", "audio_url": "https://127.0.0.1/a.wav"}
    with Client.runpod(local_server, environment={}, patience=QUICK) as client:
        job = client.submit(LIPSYNC, asked, inline=True)
        with pytest.raises(InputError) as caught:
            job.result()
    assert "image_url: http://127.0.0.1:9/x.png" in caught.value.message
    assert len(caught.value.details["problems"]) == 2


def test_through_the_worker_s_loop(client: Client, face: Path, voice: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    job = client.submit(LIPSYNC, small(face, voice), inline=True)
    require_talks(job.download(tmp_path / "out", seen.append))
    assert [p.fraction for p in seen] == sorted(p.fraction for p in seen)
    assert any(0 < p.fraction < 1 for p in seen), "the worker's own progress arrives"


def test_canceled_in_the_worker(client: Client, worker: Worker, face: Path, tmp_path: Path) -> None:
    long = spoken(tmp_path / "long.wav", 25.0)

    def leave(progress: Progress) -> None:
        if progress.fraction > 0:
            raise KeyboardInterrupt

    asked = small(face, long, width=512, height=512)
    with pytest.raises(KeyboardInterrupt), client.submit(LIPSYNC, asked, inline=True) as job:
        job.result(leave)
    assert job.status is Status.CANCELED
    worker.wait("job_stopped_by_runpod", 20)
    worker.wait("job_canceled", 20)
    after = client.submit(LIPSYNC, small(face, spoken(tmp_path / "a.wav", 0.5)), inline=True)
    require_talks(after.download(tmp_path / "out"))
