"""Downloads kept for later jobs, used again only when their server says that nothing has changed.

One file holds an entry: its name tells the address (hashed), the content (hashed) and the ETag.
Files appear by renaming, so that any number of processes may use one folder without locks.
"""

import base64
import contextlib
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_STRONG = re.compile(r'"[\x21\x23-\x7e]{1,90}"')  # RFC 9110, 8.8.3; longer ones fit no file name
_BLOCK = 1 << 18  # bytes
_PART = ".part"
_STALE = 3600.0  # seconds after which a file that nobody has finished is a dead process's


@dataclass(frozen=True)
class Version:
    """What stays the same as long as a file at an address does."""

    address: str  # whole, with its query: it may be a secret that only some callers know
    etag: str

    def __post_init__(self) -> None:
        if not _STRONG.fullmatch(self.etag):
            raise ValueError("no strong ETag")


def version(address: str, etag: str | None) -> Version | None:
    """None where the ETag is missing, weak or longer than a file name can hold. Pure."""
    return Version(address, etag) if etag and _STRONG.fullmatch(etag) else None


@dataclass(frozen=True)
class Entry:
    """A cached file that is open: it can be read even if it is removed meanwhile."""

    path: Path
    file: BinaryIO
    etag: str
    digest: str

    def read(self, take: Callable[[bytes, int | None], None]) -> bool:
        """Hand its bytes to `take`; False, and the entry removed, if they are not what was kept."""
        size, seen = os.fstat(self.file.fileno()).st_size, _hash()
        while block := self.file.read(_BLOCK):
            seen.update(block)
            take(block, size)
        if seen.hexdigest() != self.digest:
            self.path.unlink(missing_ok=True)
            return False
        with contextlib.suppress(OSError):
            os.utime(self.path)  # the order in which entries are removed
        return True


@dataclass(frozen=True)
class Cache:
    """Files by address, at most `budget` bytes; the least recently used go first."""

    folder: Path
    budget: int  # bytes; 0 keeps nothing
    spare: int = 0  # bytes of the disk that stay free

    @contextlib.contextmanager
    def entry(self, address: str) -> Generator[Entry | None]:
        """The file that was kept for an address, open; None if there is none."""
        paths = self._of(address) if self.budget else []
        found = next(filter(None, map(_opened, paths)), None)
        try:
            yield found
        finally:
            if found is not None:
                found.file.close()

    def keep(self, file: Path, version: Version) -> None:
        """Copy a file into the cache, if it fits. What cannot be kept is no failure."""
        if not self.budget:
            return
        part = self.folder / f"{uuid.uuid4().hex}{_PART}"
        with contextlib.suppress(OSError):
            try:
                self._copy(file, part, version)
            finally:
                part.unlink(missing_ok=True)

    def drop(self, address: str) -> None:
        for path in self._of(address) if self.budget else ():
            path.unlink(missing_ok=True)

    def _copy(self, file: Path, part: Path, version: Version) -> None:
        size = file.stat().st_size
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if size > self.budget or shutil.disk_usage(self.folder).free - size < self.spare:
            return
        self._trim(self.budget - size)
        digest = _hash()
        with file.open("rb") as source, part.open("xb") as target:
            while block := source.read(_BLOCK):
                digest.update(block)
                target.write(block)
        tag = base64.urlsafe_b64encode(version.etag.encode()).decode()
        final = self.folder / f"{_key(version.address)}.{digest.hexdigest()}.{tag}"
        part.rename(final)
        for path in self._of(version.address):
            if path != final:
                path.unlink(missing_ok=True)
        self._trim(self.budget)  # others may have kept something meanwhile

    def _of(self, address: str) -> list[Path]:
        """The newest first: two processes may have kept one each."""
        found = [(path, _stat(path)) for path in self.folder.glob(f"{_key(address)}.*.*")]
        there = [(stat.st_mtime, path) for path, stat in found if stat is not None]
        return [path for _, path in sorted(there, reverse=True)]

    def _trim(self, most: int) -> None:
        """Remove the least recently used until `most` bytes are left."""
        files = [(path, stat) for path in self.folder.iterdir() if (stat := _stat(path))]
        for path, stat in files:
            if path.suffix == _PART and stat.st_mtime < time.time() - _STALE:
                path.unlink(missing_ok=True)
        entries = sorted(
            (stat.st_mtime_ns, stat.st_size, path) for path, stat in files if path.suffix != _PART
        )
        total = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total <= most:
                return
            path.unlink(missing_ok=True)
            total -= size


def _opened(path: Path) -> Entry | None:
    _, digest, tag = path.name.split(".")
    try:
        etag = base64.urlsafe_b64decode(tag).decode()
        return Entry(path, path.open("rb"), etag, digest)
    except (OSError, ValueError):  # another process has removed it
        return None


def _key(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()


def _hash() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=16)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:  # another process has removed it
        return None
