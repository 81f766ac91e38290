"""Workers in processes of their own, with RunPod's side and a web site on loopback."""

import contextlib
import io
import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cloud import Cloud

HERE = Path(__file__).parent
DOWNLOAD = 1.0  # seconds for `/slow.png`


def workflow() -> dict[str, Any]:
    """A picture, seconds and an act in; the same picture out."""

    def parameter(node_id: int, kind: str, link: int, out: str, *values: Any) -> dict[str, Any]:
        return {"id": node_id, "type": f"Callsheet{kind}", "title": values[1], "mode": 0, "inputs": [],
                "outputs": [{"name": "value", "type": out, "links": [link]}],
                "widgets_values": list(values)}  # fmt: skip

    def taken(name: str, kind: str, link: int) -> dict[str, Any]:
        return {"name": name, "type": kind, "link": link, "widget": {"name": name}}

    nodes = [
        parameter(1, "Image", 1, "IMAGE", "", "image_url", "", True),
        parameter(2, "Number", 2, "FLOAT", 0.0, "seconds", "", False, 0, 1000, 0),
        parameter(3, "Text", 3, "STRING", "render", "act", "", False, 0, 100),
        {"id": 4, "type": "WorkerAct", "title": "Act", "mode": 0,
         "inputs": [{"name": "image", "type": "IMAGE", "link": 1},
                    taken("act", "STRING", 3), taken("seconds", "FLOAT", 2)],
         "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [4]}],
         "widgets_values": ["render", 0.0]},
        {"id": 5, "type": "SaveImage", "title": "Picture", "mode": 0, "outputs": [],
         "inputs": [{"name": "images", "type": "IMAGE", "link": 4}], "widgets_values": ["x"]},
    ]  # fmt: skip
    links = [[1, 1, 0, 4, 0, "IMAGE"], [2, 2, 0, 4, 2, "FLOAT"], [3, 3, 0, 4, 1, "STRING"],
             [4, 4, 0, 5, 0, "IMAGE"]]  # fmt: skip
    extra = {"linearData": {"inputs": [], "outputs": [5]}, "info": {"name": "act"}}
    return {"version": 0.4, "nodes": nodes, "links": links, "extra": extra}


@dataclass
class Machine:
    """A worker's process."""

    process: subprocess.Popen[bytes]
    home: Path
    log: Path

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in found if name in (None, event["event"])]

    def wait(self, event: str, seconds: float = 60.0, **facts: Any) -> dict[str, Any]:
        """The first event of that name with these facts."""
        end = time.monotonic() + seconds
        while True:
            over = self.process.poll() is not None or time.monotonic() > end
            for seen in self.events(event):
                if facts.items() <= seen.items():
                    return seen
            assert not over, self.log.read_text()[-4000:]
            time.sleep(0.02)

    def busy(self) -> list[tuple[float, float]]:
        """When the node had its turn: start and end, in seconds."""
        diary = self.home / "segments" / "diary"
        times = [float(line.split()[1]) for line in diary.read_text().splitlines()]
        return list(zip(times[::2], times[1::2], strict=True))

    def left(self) -> list[str]:
        """Processes and temporary files of this machine that are there after its end."""
        mark = f"CALLSHEET_HOME={self.home}\0".encode()
        found = [str(file) for file in (self.home / "tmp").glob("callsheet*")]
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found += [str(environment)] if mark in environment.read_bytes() else []
        return found


Start = Callable[..., Machine]


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A web site with a picture: at once, or after a while."""
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16), (200, 30, 60)).save(buffer, "PNG")
    picture = buffer.getvalue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/slow"):
                time.sleep(DOWNLOAD)
            self.send_response(200)
            self.send_header("Content-Length", str(len(picture)))
            self.end_headers()
            self.wfile.write(picture)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a worker with settings of the environment; it is ended at the end."""
    started: list[Machine] = []

    def started_one(*words: str, **environment: str) -> Machine:
        home = tmp_path_factory.mktemp("machine")
        folder = home / "workflows" / "act"
        folder.mkdir(parents=True)
        (home / "tmp").mkdir()
        (folder / "1.0.0.json").write_text(json.dumps(workflow()))
        known = ("PATH", "HOME", "COMFYUI_DIR", "CALLSHEET_CACHE", "LANG", "VIRTUAL_ENV")
        own = {
            **{name: os.environ[name] for name in known if name in os.environ},
            "CALLSHEET_HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "CALLSHEET_WORKFLOWS": str(home / "workflows"),
            "CALLSHEET_SERVE": "act",
            "CALLSHEET_CPU": "1",
            "CALLSHEET_TO": str(home / "out"),
            "CALLSHEET_ALLOW_HOSTS": "127.0.0.1",
            "CALLSHEET_MIN_FREE_GB": "0.1",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        log = home / "stderr"
        with log.open("wb") as stderr, (home / "stdout").open("wb") as stdout:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "machine.py"), *words],
                env=own, cwd=home, stderr=stderr, stdout=stdout,
            )  # fmt: skip
        started.append(Machine(process, home, log))
        return started[-1]

    yield started_one
    for machine in started:
        if machine.process.poll() is None:
            machine.process.terminate()
            try:
                machine.process.wait(30)
            except subprocess.TimeoutExpired:
                machine.process.kill()
                machine.process.wait()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as found:
        yield found


def free_port() -> int:
    """One that no connection gets by chance before it is used: they come from 32768 on."""
    for port in random.sample(range(10_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("of a hundred ports none is free")
