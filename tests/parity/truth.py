"""What the real editor sends to the server: recorded in Chromium, kept in `.parity/`."""

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from glob import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from playwright.sync_api import Error as BrowserError

from runner.comfy.client import Comfy, wait_until_ready
from runner.comfy.engine import check_version

from cases import CHECKOUT, PACK, Case

RELOAD_AFTER = 20  # files; the editor's heap grows with each
SETTLE = 150  # milliseconds after loading: some widgets are made by later ticks
LOG = CHECKOUT / ".parity" / "comfyui.log"
NOW = "2026-02-03T04:05:06"  # local time; %date% sees it

CHROMIUM_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"]
# Registered nodes alone are not enough: the Vue half of the editor comes up later.
EDITOR_IS_READY = """() => window.app?.vueAppReady && app.graph && !app.extensionManager?.spinner
  && Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 100"""
# Clock and dice stand still only while the prompt is made: until then, debounced work needs a clock.
# {a|b} then is a.
LOAD_AND_PROMPT = """async ({ text, settle, now }) => {
  const load = async () => {
    await app.loadGraphData(JSON.parse(text));
    await new Promise((resolve) => setTimeout(resolve, settle));
    const saved = JSON.parse(text).nodes.length;
    if (saved && !app.rootGraph.nodes.length) throw new Error("the editor loaded no node of it");
    const RealDate = Date, random = Math.random, fixed = new RealDate(now).getTime();
    globalThis.Date = class extends RealDate {
      constructor(...given) { given.length ? super(...given) : super(fixed); }
      static now() { return fixed; }
    };
    Math.random = () => 0;
    try {
      return JSON.parse(JSON.stringify((await app.graphToPrompt()).output));
    } finally {
      globalThis.Date = RealDate;
      Math.random = random;
    }
  };
  const late = new Promise((_, reject) =>
    setTimeout(() => reject(new Error("the editor did not answer within a minute")), 60_000));
  return Promise.race([load(), late]);
}"""


@dataclass(frozen=True)
class Truth:
    """The editor's answer for one file."""

    prompt: dict[str, Any]
    failure: str | None = None  # what the editor said when it could make no prompt of it


@dataclass(frozen=True)
class Cache:
    """Truth of one pair of ComfyUI and frontend versions; a file is recorded anew when it changes."""

    folder: Path

    @classmethod
    def of(cls, comfyui_dir: Path) -> "Cache":
        names = (check_version(comfyui_dir), version("comfyui-frontend-package"))
        return cls(CHECKOUT / ".parity" / "-".join(names))

    def get(self, case: Case) -> Truth | None:
        path = self._path(case)
        if not path.is_file():
            return None
        return Truth(**json.loads(path.read_text()))

    def put(self, case: Case, truth: Truth) -> None:
        path = self._path(case)
        path.parent.mkdir(parents=True, exist_ok=True)
        for outdated in path.parent.glob(f"{escape(_stem(case))}.{'?' * len(case.digest())}.json"):
            outdated.unlink()
        _write(path, dataclasses.asdict(truth))

    def object_info(self) -> dict[str, Any]:
        return json.loads((self.folder / "object_info.json").read_text())

    def put_object_info(self, found: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _write(self.folder / "object_info.json", found)

    def _path(self, case: Case) -> Path:
        return self.folder / case.kind / f"{_stem(case)}.{case.digest()}.json"


def record(cases: Sequence[Case], cache: Cache, comfyui_dir: Path) -> None:
    """Loads those into the editor whose truth is not known; can be stopped and started again."""
    missing = [case for case in cases if not cache.get(case)]
    if not missing:
        return
    _say(f"{len(missing)} of {len(cases)} files go through the real editor")
    with server(comfyui_dir) as comfy, editor(comfy.url) as tab:
        cache.put_object_info(comfy.object_info())
        started = time.monotonic()
        for number, case in enumerate(missing):
            if number and number % RELOAD_AFTER == 0:
                tab.reopen()
                _say(f"{number} of {len(missing)} after {time.monotonic() - started:.0f} s")
            cache.put(case, tab.truth(case))
    _say(f"recorded {len(missing)} in {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def server(comfyui_dir: Path) -> Generator[Comfy]:
    """ComfyUI as `callsheet edit` starts it, but with the API nodes: half of the templates use them."""
    with tempfile.TemporaryDirectory(prefix="callsheet-parity-") as scratch:
        work = Path(scratch)
        for folder in ("input", "output", "temp", "user", "custom_nodes", "models"):
            (work / folder).mkdir()
        for example in (comfyui_dir / "input").glob("*.png"):
            shutil.copy(example, work / "input")
        (work / "custom_nodes" / PACK.name).symlink_to(PACK)
        port = _free_port()
        command = [
            sys.executable, str(comfyui_dir / "main.py"), "--cpu",
            "--listen", "127.0.0.1", "--port", str(port),
            "--base-directory", str(work), "--models-directory", str(work / "models"),
            "--user-directory", str(work / "user"),
            "--database-url", "sqlite:///:memory:", "--disable-auto-launch",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(work), "OMP_NUM_THREADS": "1"}
        LOG.parent.mkdir(exist_ok=True)
        with LOG.open("wb") as sink:
            process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd=work, env=environment)
        try:
            with Comfy(
                f"http://127.0.0.1:{port}",
                alive=lambda: f"ComfyUI ended, see {LOG}" if process.poll() is not None else None,
            ) as comfy:
                wait_until_ready(comfy, deadline=180)
                yield comfy
        finally:
            process.terminate()
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Tab:
    """Chromium with the editor in it; started anew when it crashes."""

    def __init__(self, playwright: Playwright, url: str) -> None:
        self._playwright = playwright
        self._url = url
        self._browser: Browser | None = None
        self._page: Page
        self.reopen()

    def reopen(self) -> None:
        """A new profile too: the editor keeps drafts of what was loaded in its local storage."""
        self.close()
        self._browser = self._playwright.chromium.launch(
            executable_path=_chromium(), headless=True, args=CHROMIUM_ARGS
        )
        self._page = self._browser.new_page(viewport={"width": 1200, "height": 800})
        self._page.goto(self._url, wait_until="domcontentloaded", timeout=120_000)
        self._page.wait_for_function(EDITOR_IS_READY, timeout=120_000)
        self._page.evaluate(
            """async () => {
              await app.extensionManager.setting.set("Comfy.TutorialCompleted", true);
              await app.extensionManager.setting.set("Comfy.Workflow.Persist", false);
            }"""
        )
        self._page.wait_for_timeout(1000)

    def close(self) -> None:
        if self._browser:
            with contextlib.suppress(BrowserError):
                self._browser.close()

    def truth(self, case: Case) -> Truth:
        try:
            return self._answer(case)
        except BrowserError as error:
            _say(f"{case}: {_first_line(error)}; once more in a new page")
        try:
            self.reopen()
            return self._answer(case)
        except BrowserError as error:
            _say(f"{case}: {_first_line(error)}")
            self.reopen()
            return Truth({}, _first_line(error))

    def _answer(self, case: Case) -> Truth:
        asked = {"text": json.dumps(case.workflow()), "settle": SETTLE, "now": NOW}
        return Truth(self._page.evaluate(LOAD_AND_PROMPT, asked))


@contextlib.contextmanager
def editor(url: str) -> Generator[Tab]:
    with sync_playwright() as playwright:
        tab = Tab(playwright, url)
        try:
            yield tab
        finally:
            tab.close()


def _chromium() -> str:
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not executable:
        raise RuntimeError("no Chromium: set CHROMIUM=/path or put `chromium` on the PATH")
    return executable


def _first_line(error: BrowserError) -> str:
    return error.message.splitlines()[0]


def _stem(case: Case) -> str:
    return case.name.replace("/", "@")


def _write(path: Path, content: Any) -> None:
    """Whole or not at all: a run may be stopped at any moment."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False))
    part.replace(path)


def _say(line: str) -> None:
    print(f"parity: {line}", file=sys.stderr, flush=True)
