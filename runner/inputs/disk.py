"""Room on the disks that a job writes to."""

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path

from runner.errors import DiskFull, RunnerError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_GB = 1_000_000_000


def require_room(folders: Iterable[Path], least: int) -> None:
    """Raises DiskFull if a folder's disk has less than `least` bytes free; 0 asks nothing.

    A folder that does not exist is looked at where it would be made.
    """
    for folder in folders if least else ():
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free
        if free < least:
            raise DiskFull(
                f"the disk of {there} has {_gb(free)} free, and a job starts with {_gb(least)} or "
                "more; remove files there, or set CALLSHEET_MIN_FREE_GB",
                details={"folder": str(there), "free": free, "least": least},
            )


def unwritable(error: OSError, folder: Path) -> RunnerError:
    """What to raise when an input cannot be written."""
    if is_full(error):
        return DiskFull(
            f"the disk of {folder} is full: an input does not fit; remove files there",
            details={"folder": str(folder)},
        )
    return RunnerError(f"an input cannot be written to the input folder: {error.strerror}")


def is_full(error: OSError) -> bool:
    """Whether it is for want of room on a disk."""
    return error.errno in _FULL


def _gb(count: int) -> str:
    return f"{count / _GB:.2f} GB"
