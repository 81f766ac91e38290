"""A picture from a URL becomes a video; nothing of the URL's secrets stays anywhere."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from test_cli import callsheet

from runner.comfy.engine import Engine
from runner.errors import InputError
from runner.inputs import Access, Allowed
from runner.job import Job, Progress, Result
from runner.request import check
from runner.run import run
from runner.storage.local import LocalStorage
from runner.workflow import Workflow

SECRET = "S3CRET"
ORANGE = (230, 120, 20)


def node(
    kind: str, number: int, values: list[Any], *, title: str = "", **links: int
) -> dict[str, Any]:
    return {
        "id": number, "type": kind, "title": title or kind, "mode": 0, "order": number,
        "inputs": [{"name": name, "type": "*", "link": link} for name, link in links.items()],
        "outputs": [{"name": "0", "type": "*", "links": []}], "widgets_values": values,
    }  # fmt: skip


def workflow(folder: Path) -> Workflow:
    document = {
        "version": 0.4, "last_node_id": 4, "last_link_id": 3, "groups": [], "config": {}, "extra": {},
        "nodes": [
            node("CallsheetImage", 1, ["", "image_url", "", True, "image"]),
            node("RepeatImageBatch", 2, [8], image=1),
            node("CreateVideo", 3, [8, 8], images=2),
            node("SaveVideo", 4, ["x", "auto", "auto"], title="film", video=3),
        ],
        "links": [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"], [3, 3, 0, 4, 0, "VIDEO"]],
    }  # fmt: skip
    path = folder / "still.json"
    path.write_text(json.dumps(document))
    return Workflow(document, path, "still", "0.0.0")


class Page(BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        found = self.path.startswith("/a.png")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 48), ORANGE).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def address(picture: Path) -> Iterator[str]:
    handler = type("Own", (Page,), {"body": picture.read_bytes()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def render(
    engine: Engine,
    found: Workflow,
    url: str,
    said: list[Progress],
    to: Path,
    *,
    allow: str = "127.0.0.1",
) -> Result:
    ready = check(Job("still", "still", {"image_url": url}), found)
    access = Access(hosts=Allowed.of([allow]))
    return run(ready, engine=engine, storage=LocalStorage(to), access=access, report=said.append)


def test_a_url_is_rendered_and_nothing_private_of_it_stays(
    engine: Engine, tmp_path: Path, address: str
) -> None:
    said: list[Progress] = []
    to = tmp_path / "out"
    result = render(
        engine, workflow(tmp_path), f"{address}/a.png?X-Signature={SECRET}#{SECRET}", said, to
    )
    (artifact,) = result.artifacts
    with av.open(artifact.location) as film:
        frame = next(film.decode(video=0)).to_ndarray(format="rgb24")
        metadata = dict(film.metadata)
    assert np.abs(frame.mean((0, 1)) - ORANGE).max() < 12
    stored = json.loads(metadata["workflow"])["nodes"][0]["widgets_values"][0]
    assert stored.startswith("callsheet/")
    assert stored.endswith("/0.png")
    assert result.params["image_url"] == f"{address}/a.png"
    assert not (engine.input / stored).parent.exists()
    assert result.timings["fetch"] > 0
    assert "fetching inputs" in {progress.stage for progress in said}
    fractions = [progress.fraction for progress in said]
    assert fractions == sorted(fractions)
    everything = [f.read_bytes() for f in to.iterdir()] + [engine.log.read_bytes()]
    everything += [repr(said).encode(), repr(result).encode(), repr(metadata).encode()]
    assert not [text for text in everything if SECRET.encode() in text]
    assert address.encode() not in engine.log.read_bytes()


def test_an_input_that_cannot_be_had_starts_nothing(
    engine: Engine, tmp_path: Path, address: str
) -> None:
    said: list[Progress] = []
    found = workflow(tmp_path)
    with pytest.raises(InputError, match=f"image_url: {address}/b.png: the server answered 404"):
        render(engine, found, f"{address}/b.png?{SECRET}", said, tmp_path / "out")
    with pytest.raises(InputError, match="private, local or reserved"):
        render(engine, found, f"{address}/a.png", said, tmp_path / "out", allow="10.0.0.0/8")
    assert {progress.stage for progress in said} == {"fetching inputs"}
    assert not (tmp_path / "out").exists()
    assert not list((engine.input / "callsheet").iterdir())


def test_the_command_line_takes_files_of_this_machine_and_allowed_hosts(
    tmp_path: Path, address: str
) -> None:
    document = workflow(tmp_path).document
    document["nodes"].append(node("CallsheetImage", 5, ["", "other_url", "", True, "image"]))
    (tmp_path / "two.json").write_text(json.dumps(document))
    (tmp_path / "note.png").write_text("a note")
    url = f"{address}/b.png?token={SECRET}"
    done = callsheet(
        "run", str(tmp_path / "two.json"), "--rehearse", "--json", "-p", f"image_url={url}",
        "-p", f"other_url={tmp_path / 'note.png'}", CALLSHEET_ALLOW_HOSTS="10.0.0.0/8, 127.0.0.1",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "input_error"
    assert [(p["parameter"], p["message"]) for p in error["details"]["problems"]] == [
        ("image_url", f"{address}/b.png: the server answered 404 Not Found"),
        ("other_url", f"{tmp_path / 'note.png'} is a text, not an image; give a PNG, JPEG or WebP"),
    ]
    assert SECRET not in done.stdout + done.stderr
