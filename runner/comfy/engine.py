"""An engine: a ComfyUI that takes one job at a time. Here the one that we start and stop ourselves."""

import contextlib
import json
import os
import re
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from runner.comfy import scratch, waiting
from runner.comfy.client import Comfy, Patience, wait_until_ready
from runner.comfy.process import Process, environment, new_log, prune
from runner.comfy.waiting import Check
from runner.errors import EngineUnavailable
from runner.job import Outcome

COMFYUI_VERSION = "0.30.0"
READY_WITHIN = 180.0  # seconds; a cold start reads torch and every node pack from disk
LATELY = 2.0  # seconds; one that was heard within them need not be asked whether it runs
ANSWERS_WITHIN = 10.0  # seconds that one without a job may take to answer
RESTARTS = 3  # tries, with growing pauses, before a restart is given up
RESTART_PAUSE = 1.0  # seconds before the second try; doubles


class Engine(Protocol):
    """A ComfyUI as a job sees it: a conversation, and folders that mirror ComfyUI's own."""

    turn: threading.Lock  # held by the job that renders
    ours: bool  # given up, it is ended, and `ready` starts it anew

    @property
    def comfy(self) -> Comfy: ...
    @property
    def input(self) -> Path: ...
    @property
    def output(self) -> Path: ...
    @property
    def temp(self) -> Path: ...
    @property
    def unstored(self) -> Path:
        """Where outputs are kept that could not be stored."""
        ...

    def ready(self, check: Check = lambda: None) -> Comfy:
        """The conversation with a ComfyUI that answers. Raises EngineUnavailable."""
        ...

    def give_up(self, comfy: Comfy | None = None) -> None:
        """It is gone, hangs or does not let a job go: `ready` has to find another way.

        `comfy` is the conversation that has failed: nothing happens if there is another one already.
        """
        ...

    def last_words(self) -> str:
        """The end of its log, if there is one here."""
        ...

    def shortage(self) -> Mapping[str, str] | None:
        """The figures, if it is known to have ended because main memory was full."""
        ...

    def main_memory(self) -> Mapping[str, str]:
        """Its main memory's `peak` and `capacity`, as far as they are known here."""
        ...

    def send(self, folder: Path, check: Check = lambda: None) -> None:
        """Bring what lies in a folder below `input` to ComfyUI. Raises InputError."""
        ...

    def fetch(self, outcome: Outcome, check: Check = lambda: None) -> None:
        """Bring a job's files into `output`, `temp` and `input`. Raises OutputMissing."""
        ...


@dataclass(frozen=True)
class EngineOptions:
    """How to start ComfyUI; nothing is ever written into `comfyui_dir`."""

    comfyui_dir: Path
    models: Path  # the models folder
    packs: Sequence[Path]  # single node packs to load
    log_dir: Path
    custom_nodes: Sequence[Path] = ()  # folders whose every pack is loaded
    extra_model_paths: Path | None = None
    user: Path | None = None  # the editor's settings and saved workflows; else thrown away
    pycache: Path | None = None  # where Python keeps compiled modules, else beside the sources
    cpu: bool = False
    port: int = 0  # 0: any free one
    ready_within: float = READY_WITHIN  # seconds
    patience: Patience = Patience()  # noqa: RUF009 - frozen

    @property
    def segments(self) -> Path:
        """Where nodes keep what a later attempt can go on from; it outlives the engine."""
        return self.log_dir.parent / "segments"


class LocalEngine:
    """A ComfyUI of our own, started when a job wants it, and again after it has been given up."""

    ours = True

    def __init__(self, options: EngineOptions, work: Path) -> None:
        self.turn = threading.Lock()
        self._options, self._work = options, work
        self._process: Process | None = None
        self._comfy: Comfy | None = None
        self._changing = threading.Lock()
        self._starts = 0

    @property
    def comfy(self) -> Comfy:
        assert self._comfy is not None, "ready() comes first"
        return self._comfy

    @property
    def process(self) -> Process:
        assert self._process is not None, "ready() comes first"
        return self._process

    @property
    def url(self) -> str:
        return self.comfy.url

    @property
    def log(self) -> Path:
        return self.process.log

    @property
    def input(self) -> Path:
        return self._work / "input"

    @property
    def output(self) -> Path:
        return self._work / "output"

    @property
    def temp(self) -> Path:
        return self._work / "temp"

    @property
    def unstored(self) -> Path:
        return self._options.log_dir.parent / "unstored"

    def ready(self, check: Check = lambda: None) -> Comfy:
        """Starts ComfyUI if it does not run.

        Raises EngineUnavailable with the reason and the end of its log. A first start is tried
        once, a restart RESTARTS times, unless the log says what a person has to mend.
        """
        with waiting.watched(check), waiting.held(self._changing):
            if self._runs():
                return self.comfy
            tries = RESTARTS if self._starts else 1
            for attempt in Retrying(
                stop=stop_after_attempt(tries),
                wait=wait_exponential(RESTART_PAUSE),
                sleep=waiting.pause,
                retry=retry_if_exception(lambda e: isinstance(e, _NotStarted) and not e.mendable),
                reraise=True,
            ):
                with attempt:
                    self._start()
            return self.comfy

    def _runs(self) -> bool:
        if self._process is None or self._process.death() is not None:
            return False
        # While it renders, that job sees whether it hangs.
        if self.turn.locked() or self.comfy.heard_within(LATELY):
            return True
        with contextlib.suppress(EngineUnavailable):
            self.comfy.system_stats(within=ANSWERS_WITHIN)
            return True
        return False

    def give_up(self, comfy: Comfy | None = None) -> None:
        with self._changing:
            if comfy in (None, self._comfy):
                self._end(Process.kill)

    def last_words(self) -> str:
        return self._process.tail() if self._process else ""

    def shortage(self) -> Mapping[str, str] | None:
        return self._process.shortage() if self._process else None

    def main_memory(self) -> Mapping[str, str]:
        return self._process.main_memory() if self._process else {}

    def stop(self) -> None:
        with self._changing:
            self._end(Process.stop)

    def send(self, folder: Path, check: Check = lambda: None) -> None:
        """It lies where ComfyUI reads it."""

    def fetch(self, outcome: Outcome, check: Check = lambda: None) -> None:
        """ComfyUI has written it where we read it."""

    def _start(self) -> None:
        self._end(Process.kill)
        self._starts += 1
        port = _free_port(self._options.port)
        process = Process(
            _command(self._options, self._work, port),
            env=_environment(self._options),
            cwd=self._work,
            log=new_log(self._options.log_dir, port),
        )
        self._process = process
        self._comfy = Comfy(
            f"http://127.0.0.1:{port}",
            alive=process.death,
            patience=self._options.patience,
            alone=True,
        )
        prune(self._options.log_dir)
        try:
            wait_until_ready(self._comfy, deadline=self._options.ready_within)
        except EngineUnavailable as error:
            raise self._not_started(process, error) from error
        except BaseException:
            self._end(Process.kill)
            raise

    def _not_started(self, process: Process, error: EngineUnavailable) -> "_NotStarted":
        mendable = process.mendable()
        why = process.death() or (
            f"ComfyUI did not answer within {self._options.ready_within:g} s"
            f"{f': {mendable}' if mendable else ''}; the end of {process.log}:\n{process.tail()}"
        )
        self._end(Process.kill)
        return _NotStarted(why, mendable=bool(mendable), details=error.details)

    def _end(self, how: Callable[[Process], None]) -> None:
        if self._comfy is not None:
            self._comfy.close()
        if self._process is not None:
            how(self._process)


class _NotStarted(EngineUnavailable):
    def __init__(self, message: str, *, mendable: bool, details: dict[str, object]) -> None:
        super().__init__(message, details=details)
        self.mendable = mendable


@contextlib.contextmanager
def running(options: EngineOptions) -> Generator[LocalEngine]:
    """Start ComfyUI, wait until it answers, stop it and remove its folders at the end.

    Raises EngineUnavailable with the end of its log if it cannot start.
    """
    check_version(options.comfyui_dir)
    try:
        for folder in (options.log_dir, options.models, options.segments):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineUnavailable(f"{error.filename} cannot be made: {error.strerror}") from error
    with scratch.folder() as work:
        _furnish(options, work)
        engine = LocalEngine(options, work)
        try:
            engine.ready()
            yield engine
        finally:
            engine.stop()


def check_version(comfyui_dir: Path) -> str:
    """The version of the ComfyUI checkout; warns if it is not the one this project is tested with.

    Raises EngineUnavailable if there is no ComfyUI.
    """
    try:
        text = (comfyui_dir / "comfyui_version.py").read_text()
    except OSError as error:
        raise EngineUnavailable(
            f"there is no ComfyUI in {comfyui_dir}; `make setup` unpacks it, "
            "or COMFYUI_DIR names a checkout"
        ) from error
    match = re.search(r'__version__ = "([^"]+)"', text)
    version = match[1] if match else "unknown"
    if version != COMFYUI_VERSION:
        warnings.warn(
            f"ComfyUI in {comfyui_dir} is {version}; callsheet is tested with {COMFYUI_VERSION}",
            stacklevel=2,
        )
    return version


def _furnish(options: EngineOptions, work: Path) -> None:
    for folder in ("input", "output", "temp", "user", "custom_nodes"):
        (work / folder).mkdir()
    for pack in options.packs:
        (work / "custom_nodes" / pack.name).symlink_to(pack.resolve())


def _command(options: EngineOptions, work: Path, port: int) -> list[str]:
    configs = [_custom_node_paths(work, options.custom_nodes)] if options.custom_nodes else []
    configs += [options.extra_model_paths] if options.extra_model_paths else []
    return [
        sys.executable, str(options.comfyui_dir / "main.py"),
        "--listen", "127.0.0.1", "--port", str(port),
        "--base-directory", str(work),
        "--models-directory", str(options.models),
        "--user-directory", str(options.user or work / "user"),
        "--database-url", "sqlite:///:memory:",
        "--disable-api-nodes", "--disable-auto-launch",
        # torch's attention: ComfyUI's own choice for the CPU takes half as long again.
        *(["--cpu", "--use-pytorch-cross-attention"] if options.cpu else []),
        *(word for path in configs for word in ("--extra-model-paths-config", str(path))),
    ]  # fmt: skip


def _custom_node_paths(work: Path, folders: Sequence[Path]) -> Path:
    """ComfyUI takes further node folders as YAML, of which JSON is a part."""
    config = work / "custom_node_paths.yaml"
    paths = "\n".join(str(folder) for folder in folders)
    config.write_text(json.dumps({"callsheet": {"custom_nodes": paths}}))
    return config


def _environment(options: EngineOptions) -> dict[str, str]:
    # On few cores torch's threads wait for each other: one is faster for small models.
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")} if options.cpu else {}
    pycache = {"PYTHONPYCACHEPREFIX": str(options.pycache)} if options.pycache else {}
    return environment(os.environ, **threads, **pycache, PYTHONUNBUFFERED="1",
                       CALLSHEET_SEGMENTS=str(options.segments))  # fmt: skip


def _free_port(wanted: int) -> int:
    """The wanted port if nobody has it, or any free one for 0. Raises EngineUnavailable."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise EngineUnavailable(
                f"port {wanted} is taken; another one, or 0 for any, is given with --port"
            ) from error
        return probe.getsockname()[1]
