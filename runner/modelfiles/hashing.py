"""Whether model files are what they should be: their sha256, remembered while a file stays the same."""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from runner.errors import Canceled
from runner.modelfiles.faults import Unavailable
from runner.modelfiles.finding import Found
from runner.modelfiles.sources import Access, Source, source_of
from runner.shape import mapping

_CHUNK = 8 * 1024 * 1024  # bytes

See = Callable[[Found, int, int | None], None]  # bytes read, bytes in all


def unseen(*_: object) -> None:
    """Nobody looks on."""


@dataclass(frozen=True)
class Verdict:
    found: Found
    state: str  # right, wrong, unknown (nothing to compare with), broken, missing or refused
    sha256: str | None = None  # of the file
    expected: str | None = None
    known_by: str | None = None  # who says what is expected: workflow or hub
    reason: str | None = None


@dataclass(frozen=True)
class Hashes:
    """sha256 by path, size and time of change; one small file each, so that many may write."""

    folder: Path

    def of(self, file: Path, see: Callable[[int], None], canceled: threading.Event) -> str:
        """Raises OSError, Canceled."""
        before = _stamp(file)
        known = self._known(file)
        if known.get("stamp") == before:
            see(file.stat().st_size)
            return str(known.get("sha256"))
        digest, done = hashlib.sha256(), 0
        with file.open("rb") as stream:
            while piece := stream.read(_CHUNK):
                if canceled.is_set():
                    raise Canceled("canceled")
                digest.update(piece)
                done += len(piece)
                see(done)
        if _stamp(file) == before:
            self.keep(file, digest.hexdigest())
        return digest.hexdigest()

    def keep(self, file: Path, sha256: str) -> None:
        """A cache: nothing is lost where it cannot be written."""
        note = self._note(file)
        part = note.with_name(f"{note.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            said = {"path": str(file), "stamp": _stamp(file), "sha256": sha256}
            part.write_text(json.dumps(said), "utf-8")
            part.replace(note)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()

    def _known(self, file: Path) -> "dict[str, object]":
        try:
            return dict(mapping(json.loads(self._note(file).read_text("utf-8"))))
        except (OSError, ValueError):
            return {}

    def _note(self, file: Path) -> Path:
        name = hashlib.sha256(str(file.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / f"{name[:32]}.json"


def verify(
    found: Sequence[Found],
    *,
    access: Access | None,
    hashes: Hashes,
    see: See = unseen,
    parallel: int = 4,
    canceled: threading.Event | None = None,
) -> tuple[Verdict, ...]:
    """Each file's hash against the workflow's, else the hub's; without `access` nobody is asked.

    Raises Canceled.
    """
    stop = canceled or threading.Event()

    def one(model: Found) -> Verdict:
        return _verdict(model, access, hashes, see, stop)

    with ThreadPoolExecutor(parallel) as pool:
        try:
            return tuple(pool.map(one, found))
        except BaseException:
            stop.set()
            raise


def _verdict(
    found: Found, access: Access | None, hashes: Hashes, see: See, canceled: threading.Event
) -> Verdict:
    if found.path is None or found.problem:
        return Verdict(found, found.state, reason=found.problem or found.hint)
    size = found.path.stat().st_size
    source, reason = _expected(found, access)
    if source.size is not None and source.size != size:
        said = f"it has {size:,} bytes; the {source.known_by or 'hub'}'s has {source.size:,}"
        return Verdict(found, "wrong", None, source.sha256, source.known_by, said)
    try:
        digest = hashes.of(found.path, lambda done: see(found, done, size), canceled)
    except OSError as error:
        return Verdict(found, "broken", reason=f"it cannot be read: {error.strerror}")
    if source.sha256 is None:
        return Verdict(found, "unknown", digest, reason=reason)
    right = digest == source.sha256
    said = None if right else f"its sha256 is {digest[:12]}…, {source.sha256[:12]}… is expected"
    return Verdict(
        found, "right" if right else "wrong", digest, source.sha256, source.known_by, said
    )


def _expected(found: Found, access: Access | None) -> tuple[Source, str | None]:
    model = found.model
    if model.sha256:
        return Source("", "", sha256=model.sha256, known_by="workflow"), None
    if access is None:
        return Source("", ""), "its workflow names no sha256, and the hub was not asked"
    try:
        source = source_of(model, access)
    except Unavailable as error:
        return Source("", ""), error.reason
    return source, None if source.sha256 else "nobody publishes its sha256"


def _stamp(file: Path) -> list[int]:
    known = file.stat()
    return [known.st_size, known.st_mtime_ns, known.st_ino]
