"""gs:// and s3:// sources: what the operator's own credentials may read for a caller.

The services' clients only sign; the file is downloaded like every other, with the same limits.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from runner.errors import RequestError, StorageError
from runner.inputs import net
from runner.inputs.net import Request, Unfetched
from runner.storage.faults import Patience

SCHEMES = ("gs", "s3")
_SETTING = "CALLSHEET_ALLOW_BUCKETS"
_BUCKET = r"(?P<scheme>gs|s3)://(?P<bucket>[a-z0-9][a-z0-9._-]{1,221})"
_ENTRY = re.compile(rf"{_BUCKET}/?(?P<key>[^\s?#]*)")
_SOURCE = re.compile(rf"{_BUCKET}/(?P<key>.+)", re.DOTALL)
_LONGEST = 1024  # bytes of a key: Google's and Amazon's limit
_MARGIN = 60  # seconds that a signature lives longer than a download may take


@dataclass(frozen=True)
class Place:
    """An object, or with a key that names a folder all that lies in it."""

    scheme: str
    bucket: str
    key: str  # empty: the whole bucket

    def holds(self, other: "Place") -> bool:
        same = (self.scheme, self.bucket) == (other.scheme, other.bucket)
        return same and (not self.key or f"{other.key}/".startswith(f"{self.key}/"))


@dataclass(frozen=True)
class Buckets:
    """The buckets, and folders in them, that callers may name; no other is read."""

    allowed: tuple[Place, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> "Buckets":
        """From `s3://media-in` and `gs://our-bucket/uploads`. Raises RequestError for what is neither."""
        places: list[Place] = []
        for entry in entries:
            match = _ENTRY.fullmatch(entry)
            if match is None:
                raise RequestError(
                    f"{_SETTING}: {entry!r} is no bucket or folder of one, "
                    "such as s3://media-in or gs://our-bucket/uploads"
                )
            places.append(Place(match["scheme"], match["bucket"], match["key"].rstrip("/")))
        return cls(tuple(places))

    def request(self, source: str, *, seconds: float) -> Request:
        """How to ask for an object, for so many seconds. Raises Unfetched. May ask the network."""
        place = parse(source)
        if not any(allowed.holds(place) for allowed in self.allowed):
            raise Unfetched(
                f"this bucket, or this folder of it, is none that callers may name; "
                f"the operator can allow it in {_SETTING}"
            )
        try:
            url, headers = _SIGNED[place.scheme](place, seconds)
        except ImportError:
            raise Unfetched(
                f"{place.scheme}:// needs a client that is not installed here: "
                "pip install 'callsheet[storage]'"
            ) from None
        except StorageError as error:
            raise Unfetched(error.message, again=error.retryable) from None
        known_as = f"{place.scheme}://{place.bucket}/{place.key} of {url.scheme}://{url.place}"
        return Request(url, headers, service=place.scheme, known_as=known_as)


def parse(source: str) -> Place:
    """Pure. Raises Unfetched for what names no object."""
    scheme, separator, rest = source.partition("://")
    match = _SOURCE.fullmatch(f"{scheme.lower()}{separator}{rest}")
    if match is None:
        raise Unfetched(f"names no object; write {scheme.lower()}://bucket/folder/name")
    key = match["key"]
    # Services take such keys as they are; what stands before them may read them as a path.
    if re.search(r"[\x00-\x1f\x7f\\]", key) or not {"", ".", ".."}.isdisjoint(key.split("/")):
        raise Unfetched("its key holds an empty part, . or .., a backslash or a control character")
    try:
        size = len(key.encode())
    except UnicodeError:  # half a surrogate pair
        raise Unfetched("its key holds what is no character") from None
    if size > _LONGEST:
        raise Unfetched(f"its key has {size:,} bytes; at most {_LONGEST:,} are taken")
    return Place(match["scheme"], match["bucket"], key)


def shown(source: str) -> str:
    """For people: without what looks like a token. Pure."""
    scheme, _, rest = source.partition("://")
    try:
        place = parse(f"{scheme}://{rest.partition('?')[0].partition('#')[0]}")
    except Unfetched:
        return f"{scheme.lower()}://…"
    return f"{place.scheme}://{place.bucket}/{net.shown_path(place.key)}"


def _amazon(place: Place, seconds: float) -> tuple[net.Url, Mapping[str, str]]:
    from runner.storage import s3

    bucket = s3.open_bucket(place.bucket, Patience())
    return net.parse(bucket.address(place.key, int(seconds) + _MARGIN)), {}


def _google(place: Place, _seconds: float) -> tuple[net.Url, Mapping[str, str]]:
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.auth.transport.requests import Request as Transport

    from runner.storage import gcs

    bucket = gcs.open_bucket(place.bucket, Patience())
    url = net.parse(bucket.address(place.key, None))
    headers: dict[str, str] = {}
    # A token and no signed URL: only some identities can sign.
    if bucket.credentials is not None:
        try:
            transport: Any = Transport()
            bucket.credentials.before_request(transport, "GET", url.text, headers)
        except TransportError:
            raise Unfetched("Google's sign-in service is not reached", again=True) from None
        except GoogleAuthError:  # its text may hold the key
            raise Unfetched("Google does not accept the operator's credentials") from None
    return url, headers


_SIGNED: Mapping[str, Callable[[Place, float], tuple[net.Url, Mapping[str, str]]]] = {
    "gs": _google,
    "s3": _amazon,
}
