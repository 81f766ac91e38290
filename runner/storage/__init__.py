"""Where outputs go: one small protocol, one module per kind of place."""

import hashlib
from pathlib import Path
from typing import Protocol

from runner.errors import RequestError
from runner.storage.local import LocalStorage


class Storage(Protocol):
    def require_writable(self) -> None:
        """Raises StorageError if nothing can be stored there."""
        ...

    def put(self, file: Path, name: str) -> str:
        """Store a file under a name, replacing what is there; returns its path or URL.

        The file may be moved. Raises StorageError; then the file is still where it was.
        """
        ...


def open_storage(destination: str) -> Storage:
    """The storage that `--to` names. Raises RequestError if there is none of that kind."""
    if "://" in destination:
        raise RequestError(f"{destination}: outputs can be stored in a folder of this machine")
    return LocalStorage(Path(destination))


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
