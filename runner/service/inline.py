"""Outputs whose bytes travel in the answer: small ones, and only where the caller asks for it."""

import base64
from pathlib import Path

from runner.errors import StorageError
from runner.storage import Storage
from runner.storage.naming import Fields

MOST = 5_000_000  # bytes of all outputs of a job; RunPod takes answers of 10 MB and base64 adds a third


class Inlined:
    """A storage that keeps the bytes of what it stores; `texts` is base64 by location."""

    def __init__(self, storage: Storage | None, result: str, most: int = MOST) -> None:
        self.texts: dict[str, str] = {}
        self.behind, self._result, self._left = storage, result, most
        self._most = most

    @property
    def moments(self) -> Fields:
        return {} if self.behind is None else self.behind.moments

    def require_writable(self) -> None:
        if self.behind is not None:
            self.behind.require_writable()

    def put(self, file: Path, name: str, fields: Fields | None = None) -> str:
        """As the storage behind it, if there is one; else an output has to fit into the answer."""
        size = file.stat().st_size
        fits = size <= self._left and name != self._result
        if self.behind is None and not fits and name != self._result:
            raise StorageError(
                f"the outputs have more than {self._most:,} bytes, which is the most that an answer "
                "holds, and there is no storage here: the operator sets CALLSHEET_TO"
            )
        data = file.read_bytes() if fits else b""
        location = name if self.behind is None else self.behind.put(file, name, fields)
        if fits:
            self._keep(location, data)
        return location

    def read(self, name: str, fields: Fields | None = None) -> bytes | None:
        return None if self.behind is None else self.behind.read(name, fields)

    def find(self, name: str, size: int, fields: Fields | None = None) -> str | None:
        """As the storage behind it; what a job has stored before comes in the answer as well."""
        location = self.behind.find(name, size, fields) if self.behind else None
        data = self.read(name, fields) if location and size <= self._left else None
        if location and data is not None:
            self._keep(location, data)
        return location

    def _keep(self, location: str, data: bytes) -> None:
        self._left -= len(data)
        self.texts[location] = base64.b64encode(data).decode()
