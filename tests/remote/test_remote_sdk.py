"""The local API server of RunPod's SDK, as `http://localhost:8000` and behind CALLSHEET_RUNPOD_API."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from calling import QUICK, Asked
from local_worker import SMALL

from runner.errors import UnknownWorkflow
from runner.job import Status
from runner.remote import Client, EndpointError, ResultExpired


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port)]
    here = Path(__file__).parent
    log = tmp_path_factory.mktemp("sdk") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(here / "local_worker.py"), *words],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(here.parents[1])},
            cwd=log.parent, stdout=out, stderr=out,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        try:
            requests.get(f"{url}/openapi.json", timeout=5).raise_for_status()
            break
        except requests.RequestException:
            time.sleep(0.1)
    yield url
    process.terminate()
    process.wait(20)


def test_the_sdk_s_local_server(server: str, asked: Asked, tmp_path: Path) -> None:
    with Client.runpod(
        "any", environment={"CALLSHEET_RUNPOD_API": server}, patience=QUICK
    ) as client:
        job = client.submit("ltx2-lipsync@1", asked(), job_id="local", inline=True)
        result = job.download(tmp_path / "out")
        assert (result.job_id, job.status) == ("local", Status.SUCCEEDED)
        assert Path(result.artifacts[0].location).read_bytes() == SMALL
        with pytest.raises(ResultExpired, match="does not know the job"):
            client.job(job.id).result()


def test_its_failures(server: str) -> None:
    with Client.runpod(server, environment={}, patience=QUICK) as client:
        with pytest.raises(UnknownWorkflow, match="theirs@1"):
            client.submit("theirs@1").result()
        with pytest.raises(EndpointError, match="local server"):
            client.submit("theirs@1").cancel()
        with pytest.raises(EndpointError, match="no such endpoint"):
            client.health()
