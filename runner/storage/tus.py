"""Resumable uploads by the TUS protocol (tus.io, 1.0.0), as Supabase speaks it."""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

import httpx

from runner.storage.stretch import Stretch

_T = TypeVar("_T")
CHUNK = 6 << 20  # bytes; Supabase takes no other size but for the last
_VERSION = {"Tus-Resumable": "1.0.0"}


class Answered(Exception):
    """An HTTP answer that is no success."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"{status}: {words}")
        self.status, self.words = status, words


class Ask(Protocol):
    """Calls an action, again if that helps."""

    def __call__(self, action: Callable[[], _T], /) -> _T: ...


@dataclass(frozen=True)
class Uploads:
    """Where uploads are begun; `http` carries the credentials."""

    endpoint: str
    http: httpx.Client

    def send(self, file: Path, meta: Mapping[str, str], *, overwrite: bool, ask: Ask) -> None:
        """Send the file in chunks; after a failure, from where the service has got to."""
        size = file.stat().st_size
        upload = ask(lambda: self._begin(size, meta, overwrite=overwrite))
        offset, broken = 0, False

        def advance() -> int:
            nonlocal broken
            start = self._reached(upload) if broken else offset
            broken = True
            reached = self._send_chunk(file, upload, start) if start < size else start
            broken = False
            return reached

        while offset < size:
            offset = ask(advance)

    def _begin(self, size: int, meta: Mapping[str, str], *, overwrite: bool) -> str:
        coded = {key: base64.b64encode(value.encode()).decode() for key, value in meta.items()}
        answer = self.http.post(
            self.endpoint,
            headers={
                **_VERSION,
                "Upload-Length": str(size),
                "Upload-Metadata": ",".join(f"{key} {value}" for key, value in coded.items()),
                "x-upsert": "true" if overwrite else "false",
            },
        )
        _require(answer, 201)
        # Its name alone: behind a gateway the service gives its inner address.
        name = answer.headers["Location"].rpartition("/")[2]
        return f"{self.endpoint}/{name}"

    def _reached(self, upload: str) -> int:
        answer = self.http.head(upload, headers=_VERSION)
        _require(answer, 200)
        return int(answer.headers["Upload-Offset"])

    def _send_chunk(self, file: Path, upload: str, offset: int) -> int:
        size = min(CHUNK, file.stat().st_size - offset)
        headers = {
            **_VERSION,
            "Upload-Offset": str(offset),
            "Content-Length": str(size),
            "Content-Type": "application/offset+octet-stream",
        }
        with file.open("rb") as stream:
            chunk = cast("Iterable[bytes]", Stretch(stream, offset, size))
            answer = self.http.patch(upload, content=chunk, headers=headers)
        if answer.status_code == 409:  # it stands elsewhere: ask where
            raise Answered(423, "the upload stands at another byte")
        _require(answer, 204)
        return int(answer.headers["Upload-Offset"])


def _require(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise Answered(answer.status_code, answer.text[:1000] or answer.reason_phrase)
