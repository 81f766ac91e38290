"""Where outputs go: one small protocol, one module per kind of place."""

import hashlib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl

from runner.errors import RequestError
from runner.storage import naming
from runner.storage.bucket import Bucket, BucketStorage
from runner.storage.faults import Patience
from runner.storage.local import LocalStorage
from runner.storage.naming import Fields

_MODULES = {"gs": "gcs", "s3": "s3", "supabase": "supabase"}
_PACKAGES = {"gs": "google-cloud-storage", "s3": "boto3", "supabase": "storage3"}
_RIGHT = "write a folder, gs://bucket/prefix, s3://bucket/prefix or supabase://bucket/prefix"
_LONGEST = 7 * 24 * 3600  # seconds that Amazon and Google sign for


class Storage(Protocol):
    @property
    def moments(self) -> Fields:
        """What of the outputs' names is another at another time: `find` needs it among its fields."""
        ...

    def require_writable(self) -> None:
        """Raises StorageError if nothing can be stored there."""
        ...

    def put(self, file: Path, name: str, fields: Fields | None = None) -> str:
        """Store a file under a name; returns its path or URL.

        `fields` fill a destination's template: `job_id`, and for an output `output`, its name, and
        `index`, its place from 0. The file may be moved. Raises StorageError; then the file is
        still where it was.
        """
        ...

    def read(self, name: str, fields: Fields | None = None) -> bytes | None:
        """A small file that `put` has stored; None if there is none. Raises StorageError."""
        ...

    def find(self, name: str, size: int, fields: Fields | None = None) -> str | None:
        """The path or URL of a file of that size which `put` has stored; None if it is not there.

        Raises StorageError.
        """
        ...


@dataclass(frozen=True)
class Destination:
    """What `open_storage` was given: the same storage can be opened again."""

    to: str
    fields: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    overwrite: bool = True
    sign: int | None = None  # seconds


def destination_of(storage: Storage) -> Destination | None:
    """How to open a storage again, in another process; None if it is none of ours."""
    storage = getattr(storage, "behind", storage)  # of one that only passes outputs on
    if isinstance(storage, LocalStorage):
        return Destination(str(storage.folder.resolve()), overwrite=storage.overwrite)
    return _opened_as(storage) if isinstance(storage, BucketStorage) else None


def open_storage(
    destination: str,
    *,
    fields: Fields | None = None,
    overwrite: bool = True,
    sign: int | None = None,
    patience: Patience | None = None,
) -> Storage:
    """The storage that `--to` names: a folder, or `gs|s3|supabase://bucket/path?overwrite=no&sign=3600`.

    The path may have fields: those of `naming.OWN`, and `fields`, the caller's own, which win.
    `overwrite` False refuses where another file has the name; `sign` are the seconds for which the
    addresses are good, None for public addresses; the destination's own settings win. Raises
    RequestError, StorageError for settings of this machine; asks nothing of the service.
    """
    scheme, separator, rest = destination.partition("://")
    if not separator:
        return LocalStorage(Path(destination), overwrite)
    if scheme not in _MODULES:
        raise RequestError(f"{scheme}://…: outputs cannot be stored there; {_RIGHT}")
    address, _, query = rest.partition("?")
    bucket, _, path = address.partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}", bucket):
        # It may hold a password: it is not repeated.
        raise RequestError(f"{scheme}://…: there is no bucket's name in it; {_RIGHT}")
    options = _options(query)
    names = naming.parse(path, fields or {})
    return BucketStorage(
        _bucket(scheme, bucket, patience or Patience()),
        names,
        _yes(options["overwrite"]) if "overwrite" in options else overwrite,
        _seconds(options["sign"]) if "sign" in options else sign,
        destination,
    )


def _opened_as(storage: BucketStorage) -> Destination:
    given = storage.naming.given
    return Destination(storage.address, dict(given), storage.overwrite, storage.sign)


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _bucket(scheme: str, bucket: str, patience: Patience) -> Bucket:
    try:
        module = importlib.import_module(f"runner.storage.{_MODULES[scheme]}")
    except ImportError as error:
        raise RequestError(
            f"{scheme}:// needs {_PACKAGES[scheme]}: pip install 'callsheet[storage]'"
        ) from error
    return module.open_bucket(bucket, patience)


def _options(query: str) -> Mapping[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = options.keys() - {"overwrite", "sign"}
    if unknown:
        listed = ", ".join(sorted(unknown))
        raise RequestError(f"{listed}: a destination can say overwrite=no and sign=SECONDS")
    return options


def _yes(text: str) -> bool:
    if text not in ("yes", "no"):
        raise RequestError(f"overwrite={text}: write yes or no")
    return text == "yes"


def _seconds(text: str) -> int:
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or not 1 <= int(text) <= _LONGEST:
        raise RequestError(f"sign={text}: write seconds, from 1 to {_LONGEST} (7 days)")
    return int(text)
