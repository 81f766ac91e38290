"""What the three clouds have in common: a bucket, keys, an address for each stored file."""

import mimetypes
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from runner.errors import StorageError
from runner.storage.faults import StorageRefused
from runner.storage.naming import Fields, Naming

MOST_READ = 8 << 20  # bytes of a file that is read back: a result, or an output for an answer
# Python's own table has gaps, and systems fill them differently.
_TYPES = {
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".json": "application/json",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
}


class Found(Enum):
    """What a bucket has under a key, compared with a file."""

    NOTHING = "nothing"
    SAME = "same"
    OTHER = "other"


class Bucket(Protocol):
    """One service's client. All methods raise StorageError, after attempts of their own."""

    def probe(self, key: str, seconds: int | None) -> None:
        """Try whether a file could be written under the key, and its address signed.

        Leaves nothing there.
        """
        ...

    def send(self, file: Path, key: str, content_type: str, *, overwrite: bool) -> None:
        """Store a file's bytes, verified by the service's checksum. Not overwriting is atomic."""
        ...

    def find(self, file: Path, key: str) -> Found:
        """Whether these bytes, or others, are there."""
        ...

    def read(self, key: str, most: int) -> bytes | None:
        """The content of a file of at most so many bytes; None if there is none."""
        ...

    def size(self, key: str) -> int | None:
        """Of the file under the key, in bytes; None if there is none."""
        ...

    def address(self, key: str, seconds: int | None) -> str:
        """The public URL, or a signed one that expires after so many seconds."""
        ...


@dataclass(frozen=True)
class BucketStorage:
    """Storage in a bucket. Each file is stored wholly or not at all."""

    bucket: Bucket
    naming: Naming
    overwrite: bool = True  # False: a file that differs stays, and storing is refused
    sign: int | None = None  # seconds for which an address is good; None: public addresses
    address: str = ""  # the destination as it was given

    @property
    def moments(self) -> Fields:
        return self.naming.moments

    def require_writable(self) -> None:
        """Raises StorageError if nothing can be stored there: better known before the render."""
        self.bucket.probe(self.naming.probe(), self.sign)

    def put(self, file: Path, name: str, fields: Fields | None = None) -> str:
        """Store the file, and remove it here; returns its URL."""
        key = self.naming.key(name, fields or {})
        self._send(file, key)
        address = self.bucket.address(key, self.sign)
        file.unlink(missing_ok=True)
        return address

    def read(self, name: str, fields: Fields | None = None) -> bytes | None:
        return self.bucket.read(self.naming.key(name, fields or {}), MOST_READ)

    def find(self, name: str, size: int, fields: Fields | None = None) -> str | None:
        key = self.naming.key(name, fields or {})
        return self.bucket.address(key, self.sign) if self.bucket.size(key) == size else None

    def _send(self, file: Path, key: str) -> None:
        if not self.overwrite:
            found = self._look(file, key)
            if found is Found.SAME:
                return
            if found is Found.OTHER:
                raise StorageRefused(
                    f"{key}: there is another file of that name: allow overwriting, or name it otherwise"
                )
        try:
            self.bucket.send(file, key, content_type(file), overwrite=self.overwrite)
        except StorageRefused:
            # An answer may have been lost: then the second attempt meets the first one's file.
            if self._look(file, key) is not Found.SAME:
                raise

    def _look(self, file: Path, key: str) -> Found | None:
        """None: it cannot be told, as with credentials that may only write."""
        try:
            return self.bucket.find(file, key)
        except StorageError:
            return None


def content_type(file: Path) -> str:
    """By the file's ending."""
    known = _TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0]
    return known or "application/octet-stream"
