"""The stand-in files on disk: which are there and current, and having the others built."""

import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from runner.errors import EngineError, WorkflowError
from runner.rehearsal.family import StandIn

# Metadata key of every stand-in; custom_nodes/callsheet_rehearsal looks for the same one.
KEY = "callsheet_rehearsal"

_PACKAGE = Path(__file__).resolve().parent
_BUILD_TIMEOUT = 300.0  # seconds; a build takes about 10, most of it importing torch
_MAX_HEADER = 100_000_000  # bytes; the safetensors format's own limit

_log = logging.getLogger(__name__)


def ensure(plan: Sequence[StandIn], *, models_dir: Path, comfyui_dir: Path) -> None:
    """Build those stand-ins of `plan` that are missing under `models_dir` or out of date.

    Safe to call from several processes at once. A file in the way that is not a stand-in is never
    touched: WorkflowError.
    """
    models_dir = models_dir.absolute()
    jobs = [_job(stand_in, comfyui_dir) for stand_in in plan]
    if not _outdated(jobs, models_dir):
        return
    models_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(models_dir / f".{KEY}.lock"):
        if outdated := _outdated(jobs, models_dir):  # another process may have built meanwhile
            started = time.monotonic()
            _build(outdated, models_dir, comfyui_dir)
            _log.info(
                "built %d stand-in files in %.1f s", len(outdated), time.monotonic() - started
            )


def read_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file, tensors unread; empty if it is not one."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header: Any = json.loads(file.read(length)) if length <= _MAX_HEADER else {}
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", header) if isinstance(header, dict) else {}


def _job(stand_in: StandIn, comfyui_dir: Path) -> dict[str, str]:
    fields = asdict(stand_in)
    digest = hashlib.sha256(_comfyui_version(comfyui_dir).encode())
    for source in sorted(_PACKAGE.rglob("*.py")):
        digest.update(source.read_bytes())
    digest.update(json.dumps(fields, sort_keys=True).encode())
    return {**fields, "fingerprint": digest.hexdigest()}


def _comfyui_version(comfyui_dir: Path) -> str:
    try:
        text = (comfyui_dir / "comfyui_version.py").read_text(encoding="utf-8")
    except OSError as error:
        raise EngineError(f"{comfyui_dir} is not a ComfyUI checkout: {error}") from error
    found = re.search(r'__version__\s*=\s*"([^"]+)"', text)
    return found[1] if found else text


def _outdated(jobs: Sequence[dict[str, str]], models_dir: Path) -> list[dict[str, str]]:
    return [job for job in jobs if _fingerprint(_path(job, models_dir)) != job["fingerprint"]]


def _path(job: dict[str, str], models_dir: Path) -> Path:
    return models_dir / job["folder"] / job["name"]


def _fingerprint(path: Path) -> str | None:
    """The fingerprint a stand-in was built with; None if there is no file, or not all of it."""
    if not path.exists() or _cut_in_header(path):
        return None
    header = read_header(path)
    mark = header.get("__metadata__", {}).get(KEY)
    if mark is None:
        raise WorkflowError(
            f"{path} is not a stand-in and will not be overwritten; "
            "rehearsal needs a models folder of its own",
            details={"file": str(path)},
        )
    return str(json.loads(mark).get("fingerprint")) if _is_whole(path, header) else None


def _cut_in_header(path: Path) -> bool:
    """Whether a stand-in ends before its tensors begin; an empty file is nobody's."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # What lists the tensors stands behind the metadata.
        return size == 0 or (size < 8 + length and KEY.encode() in file.read(_MAX_HEADER))


def _is_whole(path: Path, header: dict[str, Any]) -> bool:
    """Whether the file is as long as its header says, to the byte."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    return path.stat().st_size == 8 + length + max(ends, default=0)


def _build(jobs: Sequence[dict[str, str]], models_dir: Path, comfyui_dir: Path) -> None:
    # A process of its own: ComfyUI's modules want sys.path and the command line for themselves.
    command = [
        *(sys.executable, "-m", "runner.rehearsal.build"),
        *("--comfyui-dir", str(comfyui_dir.absolute()), "--models-dir", str(models_dir)),
    ]
    search_path = os.pathsep.join(
        filter(None, (str(_PACKAGE.parent.parent), os.environ.get("PYTHONPATH")))
    )
    try:
        done = subprocess.run(
            command,
            input=json.dumps(jobs),
            # ComfyUI's tree stays as it is: no __pycache__ in it.
            env={**os.environ, "PYTHONPATH": search_path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=_BUILD_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"stand-in weights could not be built: {error}") from error
    if done.returncode:
        reason = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise EngineError(
            f"stand-in weights could not be built (exit {done.returncode}):\n{reason}",
            details={"exit_code": done.returncode},
        )
