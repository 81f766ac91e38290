"""Storage in a folder of this machine."""

import contextlib
import errno
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StorageError
from runner.storage.faults import StorageRefused
from runner.storage.naming import Fields


@dataclass(frozen=True)
class LocalStorage:
    folder: Path
    overwrite: bool = True  # False: a file that is there stays, and storing is refused

    @property
    def moments(self) -> Fields:
        return {}

    def require_writable(self) -> None:
        """Raises StorageError if nothing can be stored here: better known before the render."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise StorageError(f"{self.folder} cannot be written: {error.strerror}") from error

    def put(self, file: Path, name: str, fields: Fields | None = None) -> str:  # noqa: ARG002
        """Move the file: renamed within a file system, streamed to another. Never half a file.

        A folder has no template: `fields` are not used.
        """
        target = self.folder.resolve() / name
        if not self.overwrite and target.exists():
            raise StorageRefused(
                f"{target}: the file is there already, and is not to be overwritten"
            )
        part = target.with_name(f".{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(file, target, part)
        except OSError as error:
            with contextlib.suppress(OSError):  # below what is no folder there is nothing
                part.unlink()
            raise StorageError(f"{target} cannot be written: {error.strerror}") from error
        return str(target)

    def read(self, name: str, fields: Fields | None = None) -> bytes | None:  # noqa: ARG002
        file = self.folder / name
        try:
            return file.read_bytes() if file.is_file() else None
        except OSError as error:
            raise StorageError(f"{file} cannot be read: {error.strerror}") from error

    def find(self, name: str, size: int, fields: Fields | None = None) -> str | None:  # noqa: ARG002
        file = self.folder.resolve() / name
        return str(file) if file.is_file() and file.stat().st_size == size else None


def _move(file: Path, target: Path, part: Path) -> None:
    try:
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # two mounts of one file system are two as well
            raise
        shutil.copy(file, part)
        part.replace(target)
        file.unlink()
