"""Media files of this machine in a request: found, checked, put where an endpoint can fetch them."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

from runner.errors import RequestError, StorageError
from runner.inputs import Limits, media
from runner.job import Progress, Report
from runner.parameters import MEDIA, ROWS, Parameter
from runner.shape import mapping, sequence
from runner.storage import open_storage, sha256
from runner.storage.bucket import BucketStorage, Found, content_type

_STAGE = "uploading inputs"
_RIGHT = "write s3://bucket/prefix, gs://bucket/prefix or supabase://bucket/prefix"
SIGNED = (
    24 * 3600
)  # seconds for which an address is good: as long as RunPod keeps a job, unless told

# A parameter, or a row of a list and its key: ("speakers", 0, "audio_url").
Place: TypeAlias = tuple[str | int, ...]
Put: TypeAlias = Callable[[Path, str], str]  # a file and its suffix → an address


@dataclass(frozen=True)
class Use:
    """One place of a request that names a file of this machine."""

    place: Place
    path: Path
    kind: str = ""  # image, audio or video; empty: the workflow is not known here
    max_seconds: float | None = None

    @property
    def name(self) -> str:
        first, *rest = self.place
        return f"{first}" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in rest)


def uses(found: Sequence[Parameter], params: Mapping[str, Any]) -> list[Use]:
    """Every file of this machine that a request names: as a Path, or as text where media belongs. Pure."""
    by_name = {p.name: p for p in found}
    listed: list[Use] = []
    for place, value in _leaves(params):
        parameter = by_name.get(str(place[0]))
        kind = _kind(parameter, place)
        path = value if isinstance(value, Path) else _path(value) if kind else None
        if path is not None:
            longest = parameter and kind != "image" and parameter.widgets.get("max_duration")
            listed.append(Use(place, path, kind, longest or None))
    return listed


def trouble(use: Use) -> str | None:
    """What is wrong with a file, and what would be right; None: nothing. Reads it."""
    shown = str(use.path) if use.path.is_absolute() else f"{use.path} (in {Path.cwd()})"
    try:
        if not use.path.is_file():
            return f"{shown} is a folder" if use.path.is_dir() else f"there is no file {shown}"
        if use.kind:
            media.check(use.path, use.kind, max_seconds=use.max_seconds)
        size, most = use.path.stat().st_size, Limits().of(use.kind or "video")
    except media.Unfit as error:
        return f"{use.path.name} {error}"
    except OSError as error:
        return f"{shown} cannot be read: {error.strerror}"
    too_large = f"{use.path.name} has {size / 1e6:,.0f} MB; at most {most / 1e6:,.0f} are taken"
    return too_large if size > most else None


def put_all(found: Sequence[Use], put: Put, report: Report) -> dict[Place, str]:
    """An address for every file; one that is named twice is sent once."""
    sent: dict[Path, str] = {}
    distinct = list(dict.fromkeys(use.path for use in found))
    suffixes = {use.path: _suffix(use) for use in found}
    for number, path in enumerate(distinct):
        report(Progress(0.0, _STAGE, number, len(distinct)))
        sent[path] = put(path, suffixes[path])
    return {use.place: sent[use.path] for use in found}


def inline(path: Path, suffix: str) -> str:
    """A file as a `data:` URL. Raises RequestError if it is larger than workers take."""
    most = Limits().data
    if path.stat().st_size > most:
        raise RequestError(
            f"{path.name} has more than {most / 1e6:g} MB: say where media files may be put "
            f"for the endpoint (--media-to, media_to); {_RIGHT}"
        )
    text = base64.b64encode(path.read_bytes()).decode()
    return f"data:{_type(suffix).partition(';')[0]};base64,{text}"


def uploads(destination: str, seconds: int = SIGNED) -> Put:
    """Puts files into a bucket under their SHA-256, so that none is sent twice.

    Returns signed addresses, good for `seconds` unless the destination has `?sign=`. Raises
    RequestError, StorageError.
    """
    storage = open_storage(destination)
    if not isinstance(storage, BucketStorage):
        raise RequestError(f"media_to: an endpoint reaches no folder of this machine; {_RIGHT}")
    bucket, naming, sign = storage.bucket, storage.naming, storage.sign or seconds

    def put(path: Path, suffix: str) -> str:
        key = naming.key(f"{sha256(path)}{suffix}", {})
        try:
            there = bucket.find(path, key) is Found.SAME
        except StorageError:  # credentials that may only write
            there = False
        if not there:
            bucket.send(path, key, _type(suffix), overwrite=True)
        return bucket.address(key, sign)

    return put


def replaced(value: Any, new: Mapping[Place, Any], at: Place = ()) -> Any:
    """The value with others at some places. Pure."""
    if at in new:
        return new[at]
    if isinstance(value, Mapping):
        return {k: replaced(v, new, (*at, k)) for k, v in mapping(value).items()}  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [replaced(v, new, (*at, i)) for i, v in enumerate(sequence(list(value)))]  # pyright: ignore[reportUnknownArgumentType]
    return value


def _leaves(value: Any, at: Place = ()) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, Mapping):
        for key, inner in mapping(value).items():  # pyright: ignore[reportUnknownArgumentType]
            yield from _leaves(inner, (*at, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(sequence(list(value))):  # pyright: ignore[reportUnknownArgumentType]
            yield from _leaves(inner, (*at, index))
    else:
        yield at, value


def _kind(parameter: Parameter | None, place: Place) -> str:
    """The kind of file that belongs there; empty: none, or it is not known."""
    if parameter is None:
        return ""
    if parameter.kind in MEDIA:
        return parameter.kind if len(place) == 1 else ""
    if parameter.kind in ROWS and len(place) == 3:
        cell = ROWS[parameter.kind].cells.get(str(place[2]))
        return cell.media if cell else ""
    return ""


def _path(source: object) -> Path | None:
    """The path that a text is; None for an address and a `data:` URL."""
    if not isinstance(source, str) or not source or "\0" in source:
        return None
    if source.lower().startswith("file:"):
        return Path(url2pathname(urlsplit(source).path))
    if "://" in source or source.lower().startswith("data:"):
        return None
    try:
        return Path(source).expanduser()
    except RuntimeError:  # no such user
        return Path(source)


def _suffix(use: Use) -> str:
    """By the file's own bytes where the kind is known, else by its name."""
    return (
        media.check(use.path, use.kind, max_seconds=use.max_seconds)
        if use.kind
        else use.path.suffix
    )


def _type(suffix: str) -> str:
    return content_type(Path(f"x{suffix}"))
