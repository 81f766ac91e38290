"""Missing models fetched: all of them asked for first, then the room, then side by side."""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from runner import volumes
from runner.errors import Canceled
from runner.inputs.disk import DiskFull
from runner.modelfiles.faults import Unavailable
from runner.modelfiles.finding import Found, Wanted, damage
from runner.modelfiles.hashing import Hashes, unseen
from runner.modelfiles.sources import Access, Source, hub_file, source_of
from runner.modelfiles.transfer import Part, fetch

_FULL = (errno.ENOSPC, errno.EDQUOT)

See = Callable[[Wanted, str, int, int | None], None]  # what happens, bytes there, bytes in all


@dataclass(frozen=True)
class Planned:
    """What pulling will do about one model."""

    found: Found
    target: Path | None = None
    source: Source | None = None
    problem: str | None = None  # why it cannot be had
    replaces: bool = False  # a file that is there, but broken or wrong

    @property
    def state(self) -> str:
        if self.problem:
            return "failed"
        return "present" if self.source is None else "to pull"

    @property
    def left(self) -> int:
        """Bytes still to fetch, as far as the size is known."""
        if self.source is None or self.target is None:
            return 0
        part = part_of(self.target)
        there = part.path.stat().st_size if part.begun(self.source.version) else 0
        return max(0, (self.source.size or 0) - there)


@dataclass(frozen=True)
class Pulled:
    planned: Planned
    state: str  # pulled, present or failed
    path: Path | None = None
    bytes: int | None = None
    sha256: str | None = None
    verified_by: str | None = None  # workflow, hub, or None: only its length and header were
    reason: str | None = None


def plan(
    found: Sequence[Found],
    *,
    into: Path,
    access: Access,
    wrong: Container[Wanted] = (),
    unverified: bool = False,
    parallel: int = 4,
) -> tuple[Planned, ...]:
    """Ask for what is missing, broken or `wrong`; nothing is fetched yet.

    `into` is the models folder for what is missing. `unverified` allows files whose sha256 neither
    their workflow nor the hub says.
    """

    def one(model: Found) -> Planned:
        return _planned(model, into, access, model.model in wrong, unverified)

    with ThreadPoolExecutor(parallel) as pool:
        return tuple(pool.map(one, found))


def require_room(planned: Iterable[Planned], spare: int) -> None:
    """Raises DiskFull unless everything fits and `spare` bytes are left."""
    wanted: dict[int, tuple[Path, int]] = {}
    for one in planned:
        if one.target is not None and one.source is not None:
            there = next(p for p in one.target.absolute().parents if p.exists())
            folder, count = wanted.get(there.stat().st_dev, (there, 0))
            wanted[there.stat().st_dev] = folder, count + one.left
    for folder, count in wanted.values():
        free = shutil.disk_usage(folder).free
        if count and count + spare > free:
            raise DiskFull(
                f"the disk of {folder} has {free / 1e9:.2f} GB free; the models need "
                f"{count / 1e9:.2f} GB, and {spare / 1e9:.2f} GB are to stay free "
                "(CALLSHEET_MIN_FREE_GB); remove files there, or name another disk with --into",
                details={"folder": str(folder), "free": free, "least": count + spare},
            )


def pull(
    planned: Sequence[Planned],
    *,
    access: Access,
    hashes: Hashes,
    see: See = unseen,
    parallel: int = 4,
    canceled: threading.Event | None = None,
) -> tuple[Pulled, ...]:
    """Fetch; a file that fails does not stop the others.

    Each file appears under its name when it is whole and verified. Raises Canceled, DiskFull.
    """
    stop = canceled or threading.Event()

    def one(model: Planned) -> Pulled:
        return _pulled(model, access, hashes, see, stop)

    with ThreadPoolExecutor(parallel) as pool:
        try:
            return tuple(pool.map(one, planned))
        except BaseException:
            stop.set()
            raise


def part_of(target: Path) -> Part:
    return Part(target.with_name(f".{target.name}.part"))


def _planned(found: Found, into: Path, access: Access, is_wrong: bool, unverified: bool) -> Planned:
    if found.state == "refused":
        return Planned(found, problem=found.problem)
    if found.state == "found" and not is_wrong:
        return Planned(found, found.path)
    model = found.model
    target = found.path or volumes.target(into, model.directory, model.name)
    try:
        source = source_of(model, access)
        if not (source.sha256 or unverified or hub_file(model.url or "")):
            raise Unavailable(
                f"{source.shown}: nobody says its sha256; put `hash` and `hash_type` into its "
                "node's properties.models, or allow it with --unverified"
            )
    except Unavailable as error:
        return Planned(found, target, problem=error.reason)
    return Planned(found, target, source, replaces=found.path is not None)


def _pulled(
    planned: Planned, access: Access, hashes: Hashes, see: See, canceled: threading.Event
) -> Pulled:
    source, target, model = planned.source, planned.target, planned.found.model
    if planned.problem:
        return Pulled(planned, "failed", reason=planned.problem)
    if source is None or target is None:
        size = target.stat().st_size if target else None
        return Pulled(planned, "present", target, size)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f".{target.name}.lock"))
        _acquire(lock, lambda: see(model, "waiting", 0, source.size), canceled)
        try:
            return _alone(planned, target, source, access, hashes, see, canceled)
        finally:
            if target.is_file():  # whoever waits for the lock finds the file
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
    except Unavailable as error:
        return Pulled(planned, "failed", reason=error.reason)
    except OSError as error:
        if error.errno in _FULL:
            canceled.set()
            raise DiskFull(
                f"the disk of {target.parent} is full; what has come of {target.name} is kept, and "
                "pulling again goes on from there",
                details={"folder": str(target.parent)},
            ) from error
        return Pulled(planned, "failed", reason=f"{target} cannot be written: {error.strerror}")


def _alone(
    planned: Planned,
    target: Path,
    source: Source,
    access: Access,
    hashes: Hashes,
    see: See,
    canceled: threading.Event,
) -> Pulled:
    """With the lock held."""
    model, part = planned.found.model, part_of(target)
    if target.is_file() and not planned.replaces:  # another process has been quicker
        return Pulled(planned, "present", target, target.stat().st_size)
    for fresh in (False, True):
        continued = part.path.exists() and bool(part.begun(source.version))
        if fresh:
            part.remove()
        digest = fetch(
            source,
            part,
            access,
            see=lambda there, size: see(model, "pulling", there, size),
            canceled=canceled,
        )
        problem = _unlike(part.path, target.name, digest, source)
        if not (problem and continued):  # bytes of two versions may have been put together
            break
    if problem:
        part.remove()
        raise Unavailable(problem)
    with part.path.open("rb") as file:
        os.fsync(file.fileno())
    part.path.replace(target)
    part.remove()
    hashes.keep(target, digest)
    size = target.stat().st_size
    see(model, "pulled", size, size)
    return Pulled(planned, "pulled", target, size, digest, source.known_by)


def _unlike(file: Path, name: str, digest: str, source: Source) -> str | None:
    """Why a fetched file is not what was asked for."""
    if source.sha256 is None:
        return damage(file, name)
    if digest == source.sha256:
        return None
    said = f"{source.shown}: the file's sha256 is {digest[:12]}…, the {source.known_by} says "
    why = damage(file, name)
    return f"{said}{source.sha256[:12]}…{f'; {why}' if why else ''}; nothing was kept of it"


def _acquire(lock: FileLock, tell: Callable[[], None], canceled: threading.Event) -> None:
    while True:
        try:
            lock.acquire(timeout=0.2)
        except Timeout:
            tell()
            if canceled.is_set():
                raise Canceled("canceled") from None
        else:
            return
