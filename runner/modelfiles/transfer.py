"""A file's bytes over http(s), gone on with where an earlier attempt has ended, by any process."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from runner.errors import Canceled
from runner.inputs.net import shown
from runner.modelfiles.faults import Unavailable
from runner.modelfiles.sources import Access, Source, answered, require_safe
from runner.shape import mapping

CHUNK = 64 * 1024  # bytes; a connection that breaks loses less than one
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5

See = Callable[[int, int | None], None]  # bytes there, bytes in all if known


@dataclass(frozen=True)
class Part:
    """What has come so far, and beside it which bytes those are."""

    path: Path

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def begun(self, version: str | None) -> Mapping[str, Any]:
        """What is known of the bytes that are there; nothing if they are another version's."""
        try:
            known = mapping(json.loads(self.note.read_text("utf-8")))
        except (OSError, ValueError):
            return {}
        same = version is None or known.get("version") == version
        return known if same and self.path.is_file() else {}

    def begin(self, version: str | None, validator: str | None) -> None:
        note = {"version": version, "validator": validator}
        self.note.write_text(json.dumps(note), "utf-8")

    def remove(self) -> None:
        self.note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def fetch(
    source: Source, part: Part, access: Access, *, see: See, canceled: threading.Event
) -> str:
    """All bytes of a file into its part; returns their sha256.

    Tried again as long as bytes come. Raises Unavailable, Canceled, OSError of the disk.
    """
    tries, there = 0, -1
    while True:
        try:
            return _Attempt(source, part, access, see, canceled).run()
        except Unavailable as error:
            size = part.path.stat().st_size if part.path.exists() else 0
            tries, there = (1, size) if size > there >= 0 else (tries + 1, size)
            if not error.again or tries >= access.patience.tries:
                raise
            pause = max(error.after, access.patience.backoff * 2 ** (tries - 1))
        if canceled.wait(pause):
            raise Canceled("canceled")


@dataclass
class _Attempt:
    source: Source
    part: Part
    access: Access
    see: See
    canceled: threading.Event

    def run(self) -> str:
        known = self.part.begun(self.source.version)
        validator = known.get("validator")
        resumable = bool(known) and bool(self.source.version or validator)
        with self.part.path.open("r+b" if resumable else "w+b") as file:
            digest = hashlib.sha256()
            there = self._read(file, digest)
            if self.source.size is not None and there >= self.source.size:
                if there == self.source.size:
                    return digest.hexdigest()
                there, digest = _restarted(file)
            with self._answer(there, validator) as response:
                if response.status_code == 200 and there:  # it does not go on where we ended
                    there, digest = _restarted(file)
                size = self._size(response, there)
                self.part.begin(self.source.version, _validator(response))
                return self._take(response, file, digest, there, size)

    def _read(self, file: BinaryIO, digest: Any) -> int:
        while piece := file.read(CHUNK):
            self._look()
            digest.update(piece)
        self.see(file.tell(), self.source.size)
        return file.tell()

    def _take(
        self, response: Any, file: BinaryIO, digest: Any, there: int, size: int | None
    ) -> str:
        import requests

        try:
            for piece in response.iter_content(CHUNK):
                self._look()
                there += len(piece)
                if size is not None and there > size:
                    raise Unavailable(f"{self._host(response)} sends more than it has said")
                file.write(piece)
                digest.update(piece)
                self.see(there, size)
        except requests.RequestException as error:
            raise _broken(error, self._host(response)) from None
        file.flush()
        if size is not None and there != size:
            raise Unavailable(f"{self._host(response)} has ended too early", again=True)
        return digest.hexdigest()

    @contextmanager
    def _answer(self, there: int, validator: str | None) -> Generator[Any]:
        import requests

        url, patience = self.source.url, self.access.patience
        for _ in range(_MOST_REDIRECTS + 1):
            self._look()
            own = urlsplit(url)[:2] == urlsplit(self.source.url)[:2]
            headers = {**(self.source.headers if own else {}), "Accept-Encoding": "identity"}
            if there:
                headers["Range"] = f"bytes={there}-"
                # Without a version of the hub's, only the same validator means the same bytes.
                headers |= {"If-Range": validator} if validator and not self.source.version else {}
            try:
                response = requests.get(
                    url,
                    headers=headers,
                    stream=True,
                    allow_redirects=False,
                    auth=_as_it_is,
                    timeout=(patience.connect, patience.silence),
                )
            except requests.RequestException as error:
                raise _broken(error, urlsplit(url).hostname or "") from None
            with response:
                if response.status_code not in _REDIRECTS:
                    yield self._good(response, there)
                    return
                url = urljoin(url, response.headers.get("Location", ""))
                if urlsplit(url)[:2] != urlsplit(self.source.url)[:2]:
                    require_safe(url, self.access.hosts)
        raise Unavailable(f"{self.source.shown} redirects more than {_MOST_REDIRECTS} times")

    def _good(self, response: Any, there: int) -> Any:
        status, host = response.status_code, self._host(response)
        if status == 416:  # what is there is no beginning of the file
            self.part.remove()
            raise Unavailable(f"{host} does not go on with the file", again=True)
        if status not in (200, 206):
            raise answered(host, status, response.headers)
        if status == 206 and not _starts_at(response, there):
            self.part.remove()
            raise Unavailable(f"{host} sends another part than was asked for", again=True)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            raise Unavailable(
                f"{host} sends a web page instead of a file: the address is that of a page, or the "
                "host asks for a login"
            )
        return response

    def _size(self, response: Any, there: int) -> int | None:
        length = response.headers.get("Content-Length", "")
        if not length.isdigit():
            return self.source.size
        size = there + int(length)
        if self.source.size is not None and size != self.source.size:
            raise Unavailable(
                f"{self._host(response)} sends {size:,} bytes; the file has {self.source.size:,}"
            )
        return size

    def _host(self, response: Any) -> str:
        return urlsplit(shown(response.url)).netloc or self.source.shown

    def _look(self) -> None:
        if self.canceled.is_set():
            raise Canceled("canceled")


def _restarted(file: BinaryIO) -> tuple[int, Any]:
    file.seek(0)
    file.truncate()
    return 0, hashlib.sha256()


def _as_it_is(request: Any) -> Any:
    """As `auth`, it keeps requests from adding what a netrc file says."""
    return request


def _validator(response: Any) -> str | None:
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _starts_at(response: Any, there: int) -> bool:
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return bool(match) and int(match[1]) == there


def _broken(error: Exception, host: str) -> Unavailable:
    """A connection's end in few words: the error itself quotes the address."""
    import requests

    if isinstance(error, requests.Timeout):
        return Unavailable(f"{host} does not answer in time", again=True)
    if isinstance(error, requests.exceptions.SSLError):
        return Unavailable(f"{host}: its certificate is not accepted")
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return Unavailable(f"{host} has ended too early", again=True)
    return Unavailable(f"{host} cannot be reached, or has cut the connection", again=True)
