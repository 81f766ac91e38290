"""A ComfyUI that runs elsewhere: its folders are mirrored here, file by file, over HTTP."""

import contextlib
import threading
from collections.abc import Generator, Mapping
from pathlib import Path

from runner.comfy import scratch, waiting
from runner.comfy.client import Comfy, Patience, wait_until_ready
from runner.comfy.waiting import Check
from runner.errors import EngineUnavailable, RequestError
from runner.job import Outcome, Saved

READY_WITHIN = 10.0  # seconds for one that ought to run already
BACK_WITHIN = 30.0  # seconds for one that has been lost: somebody else starts it again


class RemoteEngine:
    """What it has been sent and has made stays in ComfyUI's folders: it has no way to remove it."""

    ours = False

    def __init__(self, url: str, staging: Path, unstored: Path, patience: Patience) -> None:
        self.turn = threading.Lock()
        self.unstored = unstored
        self.input, self.output, self.temp = (staging / n for n in ("input", "output", "temp"))
        for folder in (self.input, self.output, self.temp):
            folder.mkdir()
        self._url, self._patience = url, patience
        self.comfy = Comfy(url, patience=patience)
        self._lost = False

    def ready(self, check: Check = lambda: None) -> Comfy:
        deadline = BACK_WITHIN if self._lost else READY_WITHIN
        try:
            with waiting.watched(check):
                wait_until_ready(self.comfy, deadline=deadline)
        except EngineUnavailable as error:
            raise EngineUnavailable(f"{error.message}; it is not ours to start") from error
        self._lost = False
        return self.comfy

    def give_up(self, comfy: Comfy | None = None) -> None:
        if comfy in (None, self.comfy):
            self.comfy.close()
            self.comfy = Comfy(self._url, patience=self._patience)
            self._lost = True

    def last_words(self) -> str:
        return ""

    def shortage(self) -> None:
        return None

    def main_memory(self) -> Mapping[str, str]:
        return {}

    def send(self, folder: Path, check: Check = lambda: None) -> None:
        with waiting.watched(check):
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                self.comfy.upload(file, file.parent.relative_to(self.input).as_posix())

    def fetch(self, outcome: Outcome, check: Check = lambda: None) -> None:
        with waiting.watched(check):
            for saved in outcome.files:
                self._fetch(saved)

    def _fetch(self, saved: Saved) -> None:
        root = {"output": self.output, "temp": self.temp, "input": self.input}.get(saved.type)
        # What lies outside is refused by name when the outputs are collected.
        target = root and (root / saved.subfolder / saved.filename).resolve()
        if root and target and target.is_relative_to(root.resolve()) and not target.exists():
            self.comfy.download(saved, target)


@contextlib.contextmanager
def attached(
    url: str, *, unstored: Path, patience: Patience | None = None
) -> Generator[RemoteEngine]:
    """A ComfyUI that answers at `url`. Raises EngineUnavailable; RequestError for no address."""
    if not url.startswith(("http://", "https://")):
        raise RequestError(f"{url}: ComfyUI's address looks like http://127.0.0.1:8188")
    with scratch.folder() as staging:
        engine = RemoteEngine(url, staging, unstored, patience or Patience())
        try:
            engine.ready()
            yield engine
        finally:
            engine.comfy.close()
