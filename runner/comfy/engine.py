"""The ComfyUI process that the runner starts, with folders of its own, and stops."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.comfy.client import Comfy, wait_until_ready
from runner.errors import EngineUnavailable

COMFYUI_VERSION = "0.30.0"
READY_WITHIN = 180.0  # seconds; a cold start reads torch and every node pack from disk
STOP_WITHIN = 10.0  # seconds between the polite and the hard end
LOG_TAIL = 15  # lines


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


@dataclass(frozen=True)
class Engine:
    """A running ComfyUI."""

    comfy: Comfy
    url: str
    output: Path
    temp: Path
    input: Path
    log: Path
    unstored: Path  # where outputs are kept that could not be stored
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def running(options: EngineOptions) -> Generator[Engine]:
    """Start ComfyUI, wait until it answers, stop it and remove its folders at the end.

    Raises EngineUnavailable with the end of its log if it cannot start.
    """
    check_version(options.comfyui_dir)
    try:
        work = Path(tempfile.mkdtemp(prefix="callsheet-"))
        options.log_dir.mkdir(parents=True, exist_ok=True)
        options.models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineUnavailable(f"{error.filename} cannot be made: {error.strerror}") from error
    try:
        with _started(options, work) as engine:
            yield engine
    finally:
        shutil.rmtree(work, ignore_errors=True)


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


@contextlib.contextmanager
def _started(options: EngineOptions, work: Path) -> Generator[Engine]:
    port = _free_port(options.port)
    log = options.log_dir / f"comfyui-{time.strftime('%Y%m%d-%H%M%S')}-{port}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            _command(options, work, port),
            stdout=sink,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=_environment(options),
            cwd=work,
            # Ctrl-C in the terminal is ours: we cancel the job before ComfyUI may end.
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    comfy = Comfy(url, alive=lambda: _death(process, log))
    try:
        wait_until_ready(comfy, deadline=READY_WITHIN)
        unstored = options.log_dir.parent / "unstored"
        yield Engine(
            comfy, url, work / "output", work / "temp", work / "input", log, unstored, process
        )
    finally:
        comfy.__exit__()
        _stop(process)


def _command(options: EngineOptions, work: Path, port: int) -> list[str]:
    for folder in ("input", "output", "temp", "user", "custom_nodes"):
        (work / folder).mkdir(exist_ok=True)
    for pack in options.packs:
        (work / "custom_nodes" / pack.name).symlink_to(pack.resolve())
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
    return {**os.environ, **threads, **pycache, "PYTHONUNBUFFERED": "1"}


def _death(process: subprocess.Popen[bytes], log: Path) -> str | None:
    if process.poll() is None:
        return None
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL:])
    return f"ComfyUI ended with exit code {process.returncode}; the end of {log}:\n{tail}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The process and all that it has started: they are a session of their own."""
    _signal(process, signal.SIGTERM)
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


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
