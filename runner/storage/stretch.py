"""Parts of files, read from the disk while they are sent: nothing is held in memory."""

import hashlib
import io
from typing import BinaryIO

_BLOCK = 1 << 18  # bytes


class Stretch(io.RawIOBase):
    """A part of an open file as a file of its own."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size = file, start, size
        self._file.seek(start)

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._size}[whence]
        return self._file.seek(self._start + origin + offset) - self._start

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self.tell())
        return self._file.read(left if size is None or size < 0 else min(size, left))


def md5(stretch: Stretch) -> bytes:
    """The checksum of what the stretch holds, or of less where the file ends before it."""
    digest = hashlib.md5(usedforsecurity=False)
    while block := stretch.read(_BLOCK):
        digest.update(block)
    return digest.digest()
