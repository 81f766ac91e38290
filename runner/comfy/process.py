"""One ComfyUI process: what it inherits, its start, its end, and why it ended."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.comfy import fullness

STOP_WITHIN = 10.0  # seconds between the polite and the hard end
LOG_TAIL = 15  # lines
LOG_READ = 256 * 1024  # bytes from its end
LOGS_KEPT = 20  # newest log files

# What ComfyUI and its node packs get of our environment. Anything else may be a secret.
INHERITED = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE",
    "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH",
    "VIRTUAL_ENV", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy",
    "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "TRANSFORMERS_OFFLINE",
    "CALLSHEET_SEGMENTS_DAYS", "CALLSHEET_SEGMENTS_GB",
})  # fmt: skip
INHERITED_PREFIXES = (
    "LC_", "CUDA", "CUDNN", "CUBLAS", "NVIDIA_", "NCCL_", "HIP_", "HSA_", "ROCM_", "ROCR_",
    "MIOPEN_", "AMD_", "TORCH", "PYTORCH_", "TRITON_", "OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_",
)  # fmt: skip

# Causes of a failed start that people can mend: what the log says, what to tell them.
_CAUSES = (
    (r"(?:address already in use|\[Errno (?:98|48|10048)\])",
     "its port is taken by another program; another one, or 0 for any, is given with --port"),
    (r"(?:Found no NVIDIA driver|No CUDA GPUs are available|not compiled with CUDA enabled|"
     r"CUDA driver version is insufficient|Unexpected error from cudaGetDeviceCount)",
     "CUDA is not there: a driver or a GPU is missing; CALLSHEET_CPU=1 runs without"),
    (r"no kernel image is available",
     "this build of torch has no code for this GPU; install one for its compute capability"),
    (r"(?:ModuleNotFoundError: )?No module named '?([\w.]+)'?",
     "the Python package {0} is missing in its environment; install it"),
    (r"(?:ImportError|OSError): (lib[\w.+-]+): cannot open shared object",
     "the system library {0} is missing; install it"),
)  # fmt: skip


class Process:
    """ComfyUI as a process in a session of its own, its output in a log file.

    It is started and awaited by one thread that lives as long as it does: so it ends with us even
    if we are killed (see child.py), and its death is known at once.
    """

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        self.log = log
        self._started, self._ended = threading.Event(), threading.Event()
        self._popen: subprocess.Popen[bytes] | None = None
        self._kernel = fullness.Kernel.of()
        self._kills = self._kernel.kills()
        self._peak: str | None = None  # of its main memory, once it has ended
        self._given_up = False
        self._error: OSError | None = None
        self._thread = threading.Thread(
            target=self._live, args=(list(command), dict(env), cwd), name="comfyui", daemon=True
        )
        self._thread.start()
        try:
            self._started.wait()
        except KeyboardInterrupt:
            self._started.wait()
            self.kill()
            raise
        if self._error is not None:
            raise self._error

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it has ended, at the latest after `timeout` seconds."""
        return self._ended.wait(timeout)

    def death(self) -> str | None:
        """Why it is gone, with the end of its log; None while it lives."""
        if not self._ended.is_set():
            return None
        assert self._popen is not None
        said = self.tail()
        cause = _cause(said)
        full = self.shortage()
        how = _how(self._popen.returncode)
        how += f": main memory was full{fullness.told(full)}" if full else ""
        return f"ComfyUI {how}{f': {cause}' if cause else ''}; the end of {self.log}:\n{said}"

    def shortage(self) -> dict[str, str] | None:
        """The figures if it has ended by itself because main memory was full."""
        if not self._ended.is_set() or self._given_up:
            return None
        assert self._popen is not None
        code = self._popen.returncode
        killed = code == -signal.SIGKILL and self._kernel.kills() > self._kills
        found = fullness.in_log(self._last_job()) if code not in (0, -signal.SIGKILL) else {}
        return {"memory": "main", **self.main_memory(), **found} if killed or found else None

    def main_memory(self) -> dict[str, str]:
        """Its peak and what there is, as far as the system tells."""
        assert self._popen is not None
        peak = self._peak if self._ended.is_set() else fullness.peak(self.pid)
        figures = {"peak": peak, "capacity": self._kernel.capacity()}
        return {name: figure for name, figure in figures.items() if figure}

    def mendable(self) -> str | None:
        """What a person has to mend before it can run, if its log says so."""
        return _cause(self.tail())

    def tail(self) -> str:
        return "\n".join(self._said().splitlines()[-LOG_TAIL:])

    def _last_job(self) -> str:
        """What its log says since it took the last job; threads' stacks may stand at the end."""
        return self._said().rpartition("got prompt\n")[2]

    def _said(self) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LOG_READ))
            return log.read().decode(errors="replace")
        return ""

    def stop(self) -> None:
        """End it and all that it has started: first politely, then for certain."""
        self._given_up = self._given_up or not self._ended.is_set()
        self._signal(signal.SIGTERM)
        if not self.wait(STOP_WITHIN):
            self.kill()

    def kill(self) -> None:
        """End it at once, even if it is stopped or hangs in a driver's call."""
        self._given_up = self._given_up or not self._ended.is_set()
        self._signal(signal.SIGKILL)
        self.wait()
        self._thread.join()

    def _live(self, command: list[str], env: dict[str, str], cwd: Path) -> None:
        try:
            with self.log.open("wb") as sink:
                self._popen = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py")),
                     str(os.getpid()), *command],
                    stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                    env=env, cwd=cwd,
                    # Ctrl-C in the terminal is ours: we cancel the job before ComfyUI may end.
                    start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            self._error = error
        self._started.set()
        if self._popen is not None:
            self._peak = _await(self._popen)
            self._signal(signal.SIGKILL)  # what it has started and left behind
        self._ended.set()

    def _signal(self, number: signal.Signals) -> None:
        if self._popen is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, number)


def environment(own: Mapping[str, str], **more: str) -> dict[str, str]:
    """What of an environment ComfyUI inherits, and what is added to it. Pure."""
    kept = {
        name: value
        for name, value in own.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    return {**kept, **more}


def prune(folder: Path, *, kept: int = LOGS_KEPT) -> None:
    """Remove all but the newest logs."""
    logs = sorted(folder.glob("comfyui-*.log"), key=lambda log: log.stat().st_mtime_ns)
    for log in logs[:-kept]:
        log.unlink(missing_ok=True)


def new_log(folder: Path, port: int) -> Path:
    return (
        folder / f"comfyui-{time.strftime('%Y%m%d-%H%M%S')}-{port}-{time.monotonic_ns() % 1000}.log"
    )


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"was killed by {name}"


def _await(popen: "subprocess.Popen[bytes]") -> str | None:
    """Wait for its end; the most main memory that it has held."""
    try:
        _, status, usage = os.wait4(popen.pid, 0)
    except ChildProcessError:  # somebody else has waited for it
        popen.wait()
        return None
    popen.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return fullness.amount(usage.ru_maxrss * unit)


def _cause(said: str) -> str | None:
    for pattern, words in _CAUSES:
        match = re.search(pattern, said, re.IGNORECASE)
        if match:
            return words.format(*match.groups())
    return None
