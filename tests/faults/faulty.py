"""What the fault tests share: graphs that misbehave, renders, and the record of what was seen."""

import contextlib
import dataclasses
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from runner.comfy.client import Message, Patience
from runner.comfy.engine import Engine
from runner.comfy.supervisor import Order, render
from runner.errors import RunnerError
from runner.job import Deadlines, Job, Outcome
from runner.request import Ready, check
from runner.workflow import Workflow

HASTY = Patience(tick=0.05, quiet=0.5, listen=1.0, glance=0.7, answer=1.5, insist=2.5, silence=2.5)
BUSY = 5.0  # seconds that a busy machine may add to what takes a known time


_LONGEST: dict[str, float] = {}  # seconds, of this session


@dataclasses.dataclass
class Fault:
    """One fault as the caller sees it; what is seen is recorded under its name."""

    name: str
    file: Path
    seen: str = ""
    seconds: float = 0.0

    def watch(self, do: Callable[[], Any]) -> Any:
        """What `do` gives or raises, with its time."""
        start = time.monotonic()
        try:
            outcome = do()
            self.seen = self.seen or "succeeded"
        except RunnerError as error:
            outcome, self.seen = error, error.code
        self.record(self.seen, time.monotonic() - start)
        return outcome

    def record(self, seen: str, seconds: float) -> None:
        self.seen, self.seconds = seen, seconds
        longest = max(seconds, _LONGEST.get(self.name, 0.0))  # of all that share the name
        _LONGEST[self.name] = longest
        # A file for each process: they run side by side, and none waits for another.
        own = self.file.with_name(f"{self.file.stem}-{os.getpid()}{self.file.suffix}")
        found = json.loads(own.read_text()) if own.exists() else {}
        ways = {seen, *found.get(self.name, {}).get("seen", [])}
        found[self.name] = {"seen": sorted(ways), "seconds": round(longest, 1)}
        own.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")


def act(what: str, seconds: float = 0.0, mark: Path | None = None) -> dict[str, dict[str, Any]]:
    """A graph of two nodes: one that misbehaves, one that saves a picture."""
    return {
        "1": {"class_type": "FaultsAct", "_meta": {"title": "Act"},
              "inputs": {"act": what, "seconds": seconds, "mark": str(mark or "")}},
        "2": {"class_type": "SaveImage", "_meta": {"title": "Picture"},
              "inputs": {"images": ["1", 0], "filename_prefix": uuid.uuid4().hex}},
    }  # fmt: skip


def rendered(
    engine: Engine,
    prompt: dict[str, dict[str, Any]],
    *,
    deadlines: Deadlines = Deadlines(total=120, queue=60, stalled=60),  # noqa: B008
    canceled: threading.Event | None = None,
    job: str = "",
    see: Callable[[Message, float], None] = lambda message, now: None,
) -> Outcome:
    order = Order(Job(job or uuid.uuid4().hex, "w"), prompt, {})
    return render(
        order, engine, deadlines=deadlines, see=see, canceled=canceled or threading.Event()
    )


def until(true: Callable[[], object], within: float = 30.0) -> None:
    """Wait for what has to come true within so many seconds."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, f"not within {within:g} s"
        time.sleep(0.01)


@contextlib.contextmanager
def as_soon_as(true: Callable[[], object], do: Callable[[], object]) -> Generator[None]:
    """Do something while something else runs: at the moment when a condition comes true."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if true():
                do()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


class Cancel(threading.Event):
    """A caller's cancel that knows when it was given."""

    given = 0.0  # time.monotonic()

    def set(self) -> None:
        self.given = time.monotonic()
        super().set()

    def ago(self) -> float:
        """Seconds since it was given."""
        return time.monotonic() - self.given


def when(kind: str, do: Callable[[], object]) -> Callable[[Message, float], None]:
    """A `see` that does something once, at the first message of a kind."""
    done: list[bool] = []

    def see(message: Message, now: float) -> None:
        if message.type == kind and not done:
            done.append(True)
            do()

    return see


def graph(*acts: str, seconds: float = 0.0, mark: Path | None = None) -> Workflow:
    """The same two nodes as a workflow file; of several acts, a parameter `memory` chooses one."""
    ladder = {
        "id": 3, "type": "CallsheetChoice", "title": "Memory", "mode": 0, "inputs": [],
        "outputs": [{"name": "value", "type": "COMBO,STRING", "links": [2]},
                    {"name": "index", "type": "INT", "links": []}],
        "widgets_values": [acts[0], "memory", "", False, "\n".join(acts)],
    }  # fmt: skip
    chosen = [{"name": "act", "type": "STRING", "link": 2, "widget": {"name": "act"}}]
    act_node = {
        "id": 1, "type": "FaultsAct", "title": "Act", "mode": 0,
        "inputs": chosen if len(acts) > 1 else [],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
        "widgets_values": [acts[0], seconds, str(mark or "")],
    }  # fmt: skip
    save = {
        "id": 2, "type": "SaveImage", "title": "Picture", "mode": 0, "outputs": [],
        "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
        "widgets_values": ["x"],
    }  # fmt: skip
    links: list[Any] = [[1, 1, 0, 2, 0, "IMAGE"]]
    links += [[2, 3, 0, 1, 0, "STRING"]] if len(acts) > 1 else []
    nodes = [act_node, save, *([ladder] if len(acts) > 1 else [])]
    document = {"version": 0.4, "nodes": nodes, "links": links,
                "extra": {"linearData": {"inputs": [], "outputs": [2]}}}  # fmt: skip
    return Workflow(document, None, "faults", "1.0.0")


def asked(workflow: Workflow, job: str = "", **params: Any) -> Ready:
    return check(Job(job or uuid.uuid4().hex, "faults", params), workflow)
