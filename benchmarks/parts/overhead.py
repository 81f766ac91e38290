"""What the runner adds to a job: submit until the file is in hand, minus what ComfyUI's history says it worked."""

import itertools
import json
import time
import uuid
from pathlib import Path
from typing import Any

import requests
import websocket
from workbench import SIDE, Figure, engine, median, picture, side_by_side

from runner.comfy import client
from runner.comfy.engine import Engine
from runner.job import Job
from runner.request import check
from runner.run import run
from runner.storage import open_storage
from runner.workflow import Workflow

ROUNDS = 100
COLORS = itertools.count()  # each picture is another: nothing comes from ComfyUI's cache


class Bare:
    """The least that a client can do: one keep-alive session, one websocket, the file from the disk.

    With a `workflow` it puts that into the file, as the editor and the runner do.
    """

    def __init__(self, engine: Engine, workflow: Workflow | None = None) -> None:
        self._engine, self._url = engine, engine.comfy.url
        self._extra: dict[str, Any] = {}
        if workflow is not None:
            self._extra["extra_data"] = {"extra_pnginfo": {"workflow": workflow.document}}
        self._client, self._session = uuid.uuid4().hex, requests.Session()
        self._socket = websocket.create_connection(
            f"{self._url.replace('http', 'ws')}/ws?clientId={self._client}"
        )

    def __call__(self, _: int) -> float:
        color = next(COLORS)
        prompt = {
            "2": {"class_type": "EmptyImage",
                  "inputs": {"width": SIDE, "height": SIDE, "batch_size": 1, "color": color}},
            "3": {"class_type": "SaveImage",
                  "inputs": {"images": ["2", 0], "filename_prefix": f"bare/{uuid.uuid4().hex}"}},
        }  # fmt: skip
        start = time.perf_counter()
        body = {"prompt": prompt, "client_id": self._client, **self._extra}
        prompt_id = self._session.post(f"{self._url}/prompt", json=body).json()["prompt_id"]
        while True:
            message = self._socket.recv()
            if isinstance(message, bytes):
                continue
            heard = json.loads(message)
            if heard["type"] == "executing" and heard["data"]["node"] is None:
                break
        entry = self._session.get(f"{self._url}/history/{prompt_id}").json()[prompt_id]
        [image] = entry["outputs"]["3"]["images"]
        (self._engine.output / image["subfolder"] / image["filename"]).read_bytes()
        return time.perf_counter() - start - worked(entry)


def worked(entry: dict[str, Any]) -> float:
    """Seconds between `execution_start` and `execution_success` in a history entry."""
    at = {name: data["timestamp"] for name, data in entry["status"]["messages"]}
    return (at["execution_success"] - at["execution_start"]) / 1000


def measure(folder: Path) -> list[Figure]:
    client.REMEMBERED = 10 * ROUNDS  # jobs stay in the history, which is read here
    with engine() as running:
        url = running.comfy.url
        session, workflow = requests.Session(), picture()
        storage = open_storage(str(folder / "out"))

        def ours(number: int) -> float:
            job = Job(f"bench-{number}", "bench", {"color": next(COLORS)})
            start = time.perf_counter()
            run(check(job, workflow), engine=running, storage=storage)
            taken = time.perf_counter() - start
            entry = session.get(f"{url}/history?max_items=1").json()
            return taken - worked(next(iter(entry.values())))

        taken = side_by_side(ROUNDS, ours, Bare(running), Bare(running, workflow))
    own, bare, embedding = (median(seconds) * 1000 for seconds in taken)
    return [
        Figure("overhead per job", own, "ms", "a bare client", bare,
               target="within 1.5 times of a bare client", met=own <= 1.5 * bare),
        Figure("overhead per job, like for like", own, "ms",
               "a bare client whose file opens in the editor", embedding),
    ]  # fmt: skip
