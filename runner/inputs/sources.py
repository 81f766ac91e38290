"""From what a caller writes - a URL, a data: URI, a path - to checked files in a folder."""

import base64
import binascii
import contextlib
import re
import stat
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import url2pathname

from runner.inputs import buckets, disk, media, net
from runner.inputs.buckets import Buckets
from runner.inputs.cache import Version
from runner.inputs.net import Downloads, Request, Unfetched

PARALLEL = 4
_POLL = 0.2  # seconds between two looks at the clock
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """The most bytes that are taken."""

    image: int = 64 * _MB
    audio: int = 512 * _MB
    video: int = 4_000 * _MB
    total: int = 8_000 * _MB  # of one job
    data: int = 5 * _MB  # of one data: URI

    def of(self, kind: str) -> int:
        return {"image": self.image, "audio": self.audio, "video": self.video}[kind]


@dataclass(frozen=True)
class Wanted:
    """A file to be had. Equal ones are fetched once."""

    source: str
    kind: str  # image, audio or video
    max_seconds: float | None = None
    # The workflow file's own folder, where the file names the source and not the caller.
    beside: Path | None = None


@dataclass(frozen=True)
class Fetched:
    path: Path


@dataclass(frozen=True)
class Failed:
    reason: str
    again: bool  # whether trying once more may help


@dataclass(frozen=True)
class Moved:
    """How far it is."""

    bytes: int
    expected: int | None  # bytes; None while a file's size is not known
    files: int


def shown(source: str) -> str:
    """A source for people: no query, no userinfo, no token, no data. Pure."""
    match = _SCHEME.match(source)
    scheme = match[1].lower() if match else ""
    if scheme == "data":
        return f"data:{_media_type(source)}… ({len(source):,} characters)"
    if "://" in source and scheme in buckets.SCHEMES:
        return buckets.shown(source)
    if "://" in source or scheme in ("http", "https"):
        return net.shown(source)
    return source.replace("\0", "\\0") if len(source) <= 200 else f"{source[:199]}…"


def fetch_all(
    wanted: Sequence[Wanted],
    folder: Path,
    *,
    downloads: Downloads,
    local: bool,
    limits: Limits,
    allowed: Buckets = Buckets(),  # noqa: B008 - frozen
    seen: Callable[[Moved], None] = lambda _: None,
) -> dict[Wanted, Fetched | Failed]:
    """Have every file, side by side. `seen` is called in this thread, a few times a second.

    Raises DiskFull, and RunnerError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise disk.unwritable(error, folder.parent) from error
    wanted = list(dict.fromkeys(wanted))
    tally = _Tally(limits.total, len(wanted))
    work = _Work(folder, downloads, local, limits, allowed, tally)
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="input") as pool:
        futures = {pool.submit(work.have, i, item): item for i, item in enumerate(wanted)}
        try:
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=_POLL, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()  # a full disk ends the others, too
                downloads.cut_overdue()
                seen(tally.moved(files=len(futures) - len(pending)))
        except BaseException:
            downloads.cancel()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {item: future.result() for future, item in futures.items()}


@dataclass
class _Tally:
    """Bytes of all files together. Used by several threads."""

    most: int
    files: int
    got: int = 0
    sizes: dict[int, int | None] = field(default_factory=dict[int, int | None])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        with self._lock:
            self.got += count
            if self.got > self.most:
                raise Unfetched(f"all inputs together have more than {_size(self.most)}")

    def moved(self, *, files: int) -> Moved:
        with self._lock:
            sizes = list(self.sizes.values())
            known = [size for size in sizes if size is not None]
            complete = len(known) == self.files
            return Moved(self.got, sum(known) if complete else None, files)


@dataclass
class _Sink:
    """A file that is being written, within its limits."""

    index: int
    folder: Path
    file: FileIO
    most: int
    tally: _Tally
    canceled: threading.Event
    got: int = 0

    def restart(self) -> None:
        self.tally.add(-self.got)
        self.got = 0
        self.file.seek(0)
        self.file.truncate()

    def take(self, piece: bytes, size: int | None) -> None:
        self.tally.sizes[self.index] = size
        if size is not None and size > self.most:
            raise Unfetched(f"has {_size(size)}; at most {_size(self.most)} are taken")
        self.got += len(piece)
        if self.got > self.most:
            raise Unfetched(f"has more than {_size(self.most)}, which is the most that is taken")
        self.tally.add(len(piece))
        if self.canceled.is_set():
            raise Unfetched("canceled")
        left = memoryview(piece)
        try:
            while left:  # near its end a disk takes a part
                left = left[self.file.write(left) :]
        except OSError as error:
            raise disk.unwritable(error, self.folder) from error


@dataclass(frozen=True)
class _Work:
    folder: Path
    downloads: Downloads
    local: bool
    limits: Limits
    allowed: Buckets
    tally: _Tally

    def have(self, index: int, wanted: Wanted) -> Fetched | Failed:
        name = shown(wanted.source)
        part = self.folder / f"{index}.part"
        try:
            found = self._write(index, wanted, part)
            suffix = media.check(part, wanted.kind, max_seconds=wanted.max_seconds)
            if found is not None and self.downloads.cache is not None:
                self.downloads.cache.keep(part, found)
        except Unfetched as error:
            part.unlink(missing_ok=True)
            return Failed(f"{name}: {error.reason}", error.again)
        except media.Unfit as error:
            part.unlink(missing_ok=True)
            return Failed(f"{name} {error}", again=False)
        return Fetched(part.rename(self.folder / f"{index}{suffix}"))

    def _write(self, index: int, wanted: Wanted, part: Path) -> Version | None:
        try:
            # Unbuffered: a full disk shows when a piece is written, and not when the file is closed.
            file = part.open("xb", buffering=0)
        except OSError as error:
            raise disk.unwritable(error, self.folder) from error
        with contextlib.closing(file):
            most, canceled = self.limits.of(wanted.kind), self.downloads.canceled
            sink = _Sink(index, self.folder, file, most, self.tally, canceled)
            return self._read(wanted, sink)

    def _read(self, wanted: Wanted, sink: _Sink) -> Version | None:
        """Returns what a download may be kept under."""
        source = wanted.source
        match = _SCHEME.match(source)
        scheme = match[1].lower() if match else ""
        if scheme == "data":
            data = _data(source, self.limits.data)
            sink.take(data, len(data))
        elif scheme in ("http", "https"):
            return self._download(lambda: Request(net.parse(source)), sink)
        elif "://" in source and scheme in buckets.SCHEMES:
            seconds = self.downloads.patience.total
            return self._download(lambda: self.allowed.request(source, seconds=seconds), sink)
        elif "://" in source and scheme != "file":
            raise Unfetched(f"{scheme}: is not taken; give an http or https URL")
        elif wanted.beside is not None:
            _copy(_own(source, wanted.beside), sink)
        elif self.local:
            _copy(_local(source), sink)
        else:
            raise Unfetched("is no URL; give an http or https URL, or a data: URI")
        return None

    def _download(self, request: Callable[[], Request], sink: _Sink) -> Version | None:
        return self.downloads.fetch(request, restart=sink.restart, take=sink.take)


def _data(uri: str, most: int) -> bytes:
    """The bytes of a `data:` URI. Pure. Raises Unfetched."""
    if len(uri) > most * 3 + 200:  # percent-encoding takes three characters for a byte
        raise Unfetched(f"has more than {_size(most)}; give a URL for a larger file")
    head, comma, body = uri.partition(",")
    if not comma:
        raise Unfetched("is no data: URI; write data:image/png;base64,…")
    data = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        try:
            data = base64.b64decode(re.sub(rb"\s", b"", data), validate=True)
        except binascii.Error:
            raise Unfetched("is no valid base64; write data:image/png;base64,…") from None
    if len(data) > most:
        raise Unfetched(f"has {_size(len(data))}; at most {_size(most)}; give a URL instead")
    return data


def _media_type(uri: str) -> str:
    match = re.match(r"data:([a-z0-9.+-]{1,30}/[a-z0-9.+-]{1,50})", uri, re.IGNORECASE)
    return match[1].lower() if match else ""


def _local(source: str) -> Path:
    """The path that a caller on this machine means. Raises Unfetched."""
    if "\0" in source:
        raise Unfetched("a path holds no NUL character")
    if source.lower().startswith("file:"):
        try:
            parts = urlsplit(source)
        except ValueError:
            raise Unfetched("is no valid URL; write file:///folder/name") from None
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise Unfetched("names another machine; write file:///folder/name")
        source = url2pathname(parts.path)
    if "\0" in source:
        raise Unfetched("a path holds no NUL character")
    with contextlib.suppress(RuntimeError):  # no such user
        return Path(source).expanduser()
    return Path(source)


def _own(name: str, folder: Path) -> Path:
    """A file that the workflow itself names: beside it, and nowhere else."""
    if "\0" not in name:
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            return path
    raise Unfetched("the workflow's own file is not here; give one")


def _copy(path: Path, sink: _Sink) -> None:
    try:
        # Looked at before it is opened: opening a pipe would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unfetched("is no file")
        with path.open("rb") as file:
            size = path.stat().st_size
            while piece := file.read(net.CHUNK):
                sink.take(piece, size)
    except OSError as error:
        raise Unfetched(error.strerror or "cannot be read") from None


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / _MB:,.2f} MB" if count < 10 * _MB else f"{count / _MB:,.0f} MB"
