"""The real editor for tests: ComfyUI on a CPU with the pack linked in, and Chromium before it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import ConsoleMessage, Locator, Page, sync_playwright

ROOT = Path(__file__).parents[2]
PACK = ROOT / "custom_nodes" / "callsheet"
COMFYUI = Path(os.environ.get("COMFYUI_DIR") or ROOT / "vendor" / "comfyui")
START_TIMEOUT = 120  # seconds
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--mute-audio",
]
# Registered nodes alone are not enough: the Vue half of the editor comes up later.
EDITOR_IS_READY = """() => window.app?.vueAppReady && app.graph && !app.extensionManager?.spinner
  && Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 100"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a ComfyUI that has the pack and a folder of its own."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "callsheet").symlink_to(PACK)
    port = free_port()
    with (base / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command(base, port),
            cwd=COMFYUI,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_up(url, process, base / "log.txt")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def command(base: Path, port: int) -> list[str]:
    return [
        *(sys.executable, "main.py", "--cpu"),
        *("--listen", "127.0.0.1", "--port", str(port)),
        *("--disable-api-nodes", "--database-url", "sqlite:///:memory:"),
        *("--base-directory", str(base)),
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/system_stats", timeout=2).close()
            return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"ComfyUI did not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def object_info(server: str) -> dict[str, Any]:
    """Every node as the server describes it."""
    return get_json(f"{server}/object_info")


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


class Editor:
    """The graph editor in a browser: short names for what tests do with it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []  # errors that come from the pack's scripts
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)

    def _listen(self, message: ConsoleMessage) -> None:
        from_pack = "/extensions/callsheet/" in message.location.get("url", "") + message.text
        if message.type in ("error", "warning") and from_pack:
            self.complaints.append(message.text)

    def open(self, *, vue_nodes: bool = True) -> None:
        self.page.goto(self.url, wait_until="domcontentloaded", timeout=120_000)
        self.page.wait_for_function(EDITOR_IS_READY, timeout=120_000)
        self.page.evaluate(
            """async (vue) => {
              const settings = app.extensionManager.setting;
              await settings.set("Comfy.TutorialCompleted", true);
              await settings.set("Comfy.VueNodes.Enabled", vue);
              await settings.set("Comfy.Graph.CanvasInfo", false);
            }""",
            vue_nodes,
        )
        self.page.wait_for_timeout(500)
        self.page.keyboard.press("Escape")  # the template browser of a first visit
        self.clear()

    def clear(self) -> None:
        """An empty graph with a new id: the editor keeps widget states by graph and node id."""
        empty = {"id": str(uuid.uuid4()), "nodes": [], "links": [], "version": 0.4}
        self.page.evaluate(
            """async (empty) => {
              await app.loadGraphData(empty);
              app.canvas.ds.scale = 1;
              app.canvas.ds.offset = [0, 0];
            }""",
            empty,
        )
        self.complaints.clear()

    def add(self, node_id: str, *, title: str | None = None, **values: Any) -> int:
        """A fresh node, as from the menu, with these widget values; its id."""
        number = self.page.evaluate(
            """([type, title, values]) => {
              const node = LiteGraph.createNode(type);
              const i = app.graph._nodes.length;
              node.pos = [120 + (i % 3) * 420, 120 + Math.floor(i / 3) * 260];
              app.graph.add(node);
              if (title) node.title = title;
              for (const [name, value] of Object.entries(values))
                node.widgets.find((widget) => widget.name === name).value = value;
              app.canvas.setDirty(true, true);
              return node.id;
            }""",
            [node_id, title, values],
        )
        self.page.wait_for_timeout(200)
        return int(number)

    def value(self, node: int, name: str = "value") -> Any:
        return self.page.evaluate(
            "([id, name]) => app.graph.getNodeById(id).widgets.find((w) => w.name === name).value",
            [node, name],
        )

    def shown(self, node: int) -> str:
        """What the number field of a node shows."""
        return self._number(node).input_value()

    def type_number(self, node: int, text: str) -> Any:
        """Types into the value's field; the value after that."""
        self._number(node).fill(text, force=True)
        return self.press(node, "Enter")

    def press(self, node: int, key: str) -> Any:
        self._number(node).press(key)
        self.page.wait_for_timeout(150)
        return self.value(node)

    def _number(self, node: int) -> Locator:
        return self.page.locator(f"[data-node-id='{node}'] input[role=spinbutton]").first

    def save(self) -> dict[str, Any]:
        return self.page.evaluate("() => JSON.parse(JSON.stringify(app.rootGraph.serialize()))")

    def load(self, workflow: dict[str, Any]) -> None:
        self.page.evaluate(
            "async (text) => app.loadGraphData(JSON.parse(text))", json.dumps(workflow)
        )
        self.page.wait_for_timeout(500)

    def api_prompt(self) -> dict[str, Any]:
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")


@pytest.fixture(scope="session")
def editor_page(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not executable:
        pytest.skip("no Chromium: set CHROMIUM=/path or put `chromium` on the PATH")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("chromium"),
            executable_path=executable,
            headless=True,
            args=CHROMIUM_ARGS,
            viewport={"width": 1500, "height": 1000},
        )
        context.set_default_timeout(10_000)
        editor = Editor(context.new_page(), server)
        editor.open()
        yield editor
        context.close()


@pytest.fixture
def editor(editor_page: Editor) -> Editor:
    """An empty graph in an editor with Vue nodes."""
    editor_page.clear()
    return editor_page
