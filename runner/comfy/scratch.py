"""Folders for the length of a process: removed at its end, or by the next one if it was killed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from runner.errors import EngineUnavailable

PREFIX = "callsheet-"
OWNER = ".owner"  # a file in each folder, locked by the process that has it


@contextlib.contextmanager
def folder() -> Generator[Path]:
    """A folder of our own in the system's folder for temporary files.

    Raises EngineUnavailable if it cannot be made.
    """
    sweep()
    try:
        made = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = _own(made)
    except OSError as error:
        raise EngineUnavailable(f"{error.filename} cannot be made: {error.strerror}") from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def sweep() -> None:
    """Remove the folders of processes that have ended without removing them."""
    for owner in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError):  # it is alive, or another user's
            if owner.stat().st_uid != os.getuid():
                continue
            handle = os.open(owner, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(owner.parent, ignore_errors=True)
            finally:
                os.close(handle)


def _own(made: Path) -> int:
    """The locked handle; it is never inherited, so the lock ends with this process."""
    start = made / f"{OWNER}.start"  # not yet seen by those who sweep
    handle = os.open(start, os.O_RDWR | os.O_CREAT, 0o600)
    with contextlib.suppress(OSError):  # a file system without locks: nobody can lock it, either
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        start.rename(made / OWNER)
    return handle
