"""Finished frames on disk, so that a killed job goes on where it stopped. The only module that writes them.

<root>/<fingerprint>/segment-000.mp4 …   frames of each window, in order
<root>/<fingerprint>/overlap-000.pt …    the two newest: what the next window continues, exact
<root>/<fingerprint>.lock                held while somebody works in the folder
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from . import film

PART = ".part"  # a file that is being written
DAY = 86400.0  # seconds
GIGABYTE = 1e9  # bytes


@dataclass(frozen=True)
class Leftover:
    """A folder that some job left."""

    name: str
    changed: float  # seconds since 1970, of its newest file
    size: int  # bytes


def to_remove(
    leftovers: Sequence[Leftover], *, now: float, days: float, gigabytes: float
) -> list[str]:
    """Pure: those that are too old, and the oldest of those that are too much together."""
    removed, kept = [], 0
    for each in sorted(leftovers, key=lambda each: each.changed, reverse=True):
        kept += each.size
        if now - each.changed > days * DAY or kept > gigabytes * GIGABYTE:
            removed.append(each.name)
            kept -= each.size
    return removed


@dataclass(frozen=True)
class Segments:
    """A folder that is ours alone."""

    folder: Path
    fps: int

    def segment(self, index: int) -> Path:
        return self.folder / f"segment-{index:03}.mp4"

    def overlap(self, index: int) -> Path:
        return self.folder / f"overlap-{index:03}.pt"

    def sums(self, index: int) -> Path:
        return self.folder / f"window-{index:03}.json"

    def resume(self, counts: Sequence[int]) -> tuple[int, torch.Tensor | None]:
        """(windows that need not be sampled again, the frames that the next one continues).

        `counts` are the frames that each window's segment must have. From the first segment that
        is missing or broken, all are made again.
        """
        whole = 0
        while whole < len(counts) and self._is_whole(whole, frames=counts[whole]):
            whole += 1
        if whole == len(counts):
            return whole, None
        for done in range(whole, 0, -1):
            overlap = self.overlap(done - 1)
            if self._is_as_written(done - 1, overlap):
                return done, torch.load(overlap, map_location="cpu", weights_only=True)
        return 0, None

    def _is_whole(self, index: int, *, frames: int) -> bool:
        segment = self.segment(index)
        return self._is_as_written(index, segment) and film.count_frames(segment) == frames

    def _is_as_written(self, index: int, path: Path) -> bool:
        try:
            return json.loads(self.sums(index).read_text())[path.name] == _sum(path)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def keep(self, index: int, frames: torch.Tensor, overlap: torch.Tensor | None) -> None:
        """Makes a window done: its frames, and the overlap that the next one continues."""
        written = [self.segment(index)]
        _write(written[0], lambda path: film.write_clip(path, frames, fps=self.fps))
        if overlap is not None:
            written.append(self.overlap(index))
            _write(written[1], lambda path: torch.save(overlap.cpu(), path))
        sums = json.dumps({path.name: _sum(path) for path in written})
        _write(self.sums(index), lambda path: path.write_text(sums))
        if index >= 2:
            self.overlap(index - 2).unlink(missing_ok=True)

    def join(self, count: int, target: Path, waveform: torch.Tensor | None, rate: int) -> None:
        clips = [self.segment(index) for index in range(count)]
        film.join(clips, target, fps=self.fps, waveform=waveform, rate=rate)

    def discard(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        _lock_file(self.folder).unlink(missing_ok=True)


@contextlib.contextmanager
def held(root: Path, name: str, *, fps: int) -> Iterator[Segments]:
    """The folder of this name; where another engine works in it, one beside it.

    Raises OSError with the root's name if it cannot be written.
    """
    root.mkdir(parents=True, exist_ok=True)
    number = 1
    while (lock := _locked(root / (name if number == 1 else f"{name}-{number}"))) is None:
        number += 1
    folder, lock_file = lock
    try:
        folder.mkdir(exist_ok=True)
        yield Segments(folder, fps)
    finally:
        lock_file.release()


def clean(root: Path, *, days: float, gigabytes: float) -> list[str]:
    """Removes what `to_remove` names, but for folders that somebody works in; their names."""
    found = [leftover(folder) for folder in root.iterdir() if folder.is_dir()]
    chosen = to_remove(found, now=time.time(), days=days, gigabytes=gigabytes)
    return [name for name in chosen if _remove(root / name)]


def leftover(folder: Path) -> Leftover:
    """Files may go while we look: another engine cleans, too."""
    stats = [folder.stat()]
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            stats.append(path.stat())
    size = sum(stat.st_size for stat in stats[1:])
    return Leftover(folder.name, max(stat.st_mtime for stat in stats), size)


def _remove(folder: Path) -> bool:
    lock = _locked(folder)
    if lock is None:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    _lock_file(folder).unlink(missing_ok=True)
    lock[1].release()
    return True


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _locked(folder: Path) -> tuple[Path, FileLock] | None:
    """None if somebody else has it. The system frees the lock of a process that dies."""
    lock = FileLock(_lock_file(folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return folder, lock


def _write(target: Path, write: Callable[[Path], object]) -> None:
    """Never half a file under its name, not even when the power fails."""
    part = target.with_name(target.name + PART)
    write(part)
    _sync(part)
    part.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
