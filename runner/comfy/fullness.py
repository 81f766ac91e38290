"""Whether main or GPU memory was full: from an exception, the end of a log, the kernel's counters."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# What exceptions say when memory is full. As ComfyUI's own is_oom, but for main memory, too.
_MAIN_FULL = re.compile(
    r"DefaultCPUAllocator|bad_alloc|Cannot allocate memory|Unable to allocate|not enough memory|"
    r"CUDA error: out of memory.*host|pinned memory|^MemoryError\b", re.IGNORECASE | re.MULTILINE)  # fmt: skip
_GPU_FULL = re.compile(
    r"out of memory|Allocation on device|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE
)
_AMOUNT = r"([\d.]+ (?:[KMGT]?i?B|bytes))"
_FIGURES = {
    "wanted": rf"[Tt]ried to allocate {_AMOUNT}|Unable to allocate {_AMOUNT}",
    "capacity": rf"total capacity of {_AMOUNT}",
    "peak": rf"this process has {_AMOUNT} memory in use",
}
_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_UNLIMITED = 1 << 60  # bytes; cgroup v1 says "no limit" with a number of that size


def in_exception(exception: str, text: str) -> dict[str, str]:
    """Which memory was full and the figures that it names; empty for another failure. Pure.

    `exception` is its type, with or without the module.
    """
    kind = exception.rsplit(".", 1)[-1]
    if kind in ("MemoryError", "_ArrayMemoryError", "bad_alloc") or _MAIN_FULL.search(text):
        memory = "main"
    elif "OutOfMemory" in kind or _GPU_FULL.search(text):
        memory = "GPU"
    else:
        return {}
    return {"memory": memory, **_figures(text)}


def in_log(tail: str) -> dict[str, str]:
    """The same of a process that has ended, by the end of its log: main memory only. Pure."""
    return {"memory": "main", **_figures(tail)} if _MAIN_FULL.search(tail) else {}


@dataclass(frozen=True)
class Kernel:
    """What the kernel tells of this machine's, or this container's, main memory."""

    counters: Sequence[Path]  # files with a line `oom_kill N`; the first that is there counts
    limits: Sequence[Path]  # files with bytes; the first that holds a limit counts

    @classmethod
    def of(cls, root: Path = Path("/")) -> "Kernel":
        """Control groups of version 2 and 1, as they are seen in a container and outside; Linux."""
        try:
            own = (root / "proc/self/cgroup").read_text()
        except OSError:
            own = ""
        groups = dict(line.split(":", 2)[1:] for line in own.splitlines() if line.count(":") >= 2)
        base = root / "sys/fs/cgroup"
        two = [base / groups.get("", "").lstrip("/"), base]
        one = [base / "memory" / groups.get("memory", "").lstrip("/"), base / "memory"]
        return cls(
            [*(folder / "memory.events" for folder in two),
             *(folder / "memory.oom_control" for folder in one),
             root / "proc/vmstat"],  # of the whole machine
            [*(folder / "memory.max" for folder in two),
             *(folder / "memory.limit_in_bytes" for folder in one)],
        )  # fmt: skip

    def kills(self) -> int:
        """How many processes it has killed because memory was full."""
        for counter in self.counters:
            if found := _KILLS.search(_text(counter)):
                return int(found[1])
        return 0

    def capacity(self) -> str | None:
        """The container's limit, or the whole memory."""
        for limit in self.limits:
            text = _text(limit).strip()
            if text.isdigit() and int(text) < _UNLIMITED:
                return amount(int(text))
        try:
            return amount(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (OSError, ValueError):
            return None


def peak(pid: int) -> str | None:
    """The most main memory that a living process has held, where the system tells."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", _text(Path(f"/proc/{pid}/status")), re.MULTILINE)
    return amount(int(found[1]) * 1024) if found else None


def amount(size: int) -> str:
    """Bytes as torch writes them."""
    return f"{size / 1024**3:.2f} GiB" if size >= 1024**3 else f"{size / 1024**2:.2f} MiB"


def told(figures: Mapping[str, str]) -> str:
    """The figures as a sentence's end: ` (peak 27.90 GiB of 32.00 GiB)`. Pure."""
    of = f" of {figures['capacity']}" if "capacity" in figures else ""
    return f" (peak {figures['peak']}{of})" if "peak" in figures else ""


def _figures(text: str) -> dict[str, str]:
    matches = {name: re.search(pattern, text) for name, pattern in _FIGURES.items()}
    return {name: next(g for g in m.groups() if g) for name, m in matches.items() if m}


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
