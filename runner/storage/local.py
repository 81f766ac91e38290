"""Storage in a folder of this machine."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StorageError


@dataclass(frozen=True)
class LocalStorage:
    folder: Path

    def put(self, file: Path, name: str) -> str:
        """Move the file: renamed within a file system, streamed to another. Never half a file."""
        target = self.folder.resolve() / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            shutil.move(file, part)
            part.replace(target)
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror}") from error
        return str(target)
