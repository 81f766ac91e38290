"""Storage in Supabase: the only module that uses its client, storage3.

`SUPABASE_URL` and `SUPABASE_SERVICE_ROLE_KEY` (or `…_FILE`, a mounted file) say where and who.
"""

import hashlib
import os
import re
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import storage3
from storage3.exceptions import StorageApiError
from storage3.utils import StorageException

from runner.storage import tus
from runner.storage.bucket import Found
from runner.storage.faults import Door, Patience, found
from runner.storage.stretch import Stretch, md5

_T = TypeVar("_T")
_WHOLE = 6 << 20  # bytes; above, Supabase recommends resumable uploads
_KEEP = "3600"  # seconds that caches may keep a file: Supabase's default


@dataclass(frozen=True)
class SupabaseBucket:
    name: str
    service: str  # its URL, with a slash at the end
    client: storage3.SyncStorageClient
    uploads: tus.Uploads
    door: Door
    patience: Patience = field(default_factory=Patience)

    def probe(self, key: str, seconds: int | None) -> None:  # noqa: ARG002 - it always signs
        # Asking for an upload's signature tries the right to write, and makes no object.
        self._ask(lambda: self._files().create_signed_upload_url(key))

    def send(self, file: Path, key: str, content_type: str, *, overwrite: bool) -> None:
        self._send(file, key, content_type, overwrite=overwrite)
        if not self._is_there(file, key):
            self._send(file, key, content_type, overwrite=True)  # over what we have just sent
            if not self._is_there(file, key):
                raise self.door.failed("a wrong checksum: what arrived is not what was sent")

    def _send(self, file: Path, key: str, content_type: str, *, overwrite: bool) -> None:
        def whole() -> None:
            self._files().upload(
                key,
                file,
                {
                    "content-type": content_type,
                    "cache-control": _KEEP,
                    "upsert": "true" if overwrite else "false",
                },
            )

        if file.stat().st_size <= _WHOLE:
            self._ask(whole)
            return
        meta = {"bucketName": self.name, "objectName": key}
        meta |= {"contentType": content_type, "cacheControl": _KEEP}
        self.uploads.send(file, meta, overwrite=overwrite, ask=self._ask)

    def find(self, file: Path, key: str) -> Found:
        there = self._info(key)
        if there is None:
            return Found.NOTHING
        return Found.SAME if self._same(there, file, key) else Found.OTHER

    def read(self, key: str, most: int) -> bytes | None:
        size = self.size(key)
        if size is None:
            return None
        if size > most:
            raise self.door.too_large(key, size, most)
        return self._ask(lambda: bytes(self._files().download(key)))

    def size(self, key: str) -> int | None:
        there = self._info(key)
        return None if there is None else int(there["size"])

    def _info(self, key: str) -> Any:
        """None if there is no such file."""
        return found(lambda: self._ask(lambda: self._files().info(key)))

    def address(self, key: str, seconds: int | None) -> str:
        if seconds is None:
            return self._ask(lambda: self._files().get_public_url(key))
        return self._ask(lambda: self._files().create_signed_url(key, seconds)["signedURL"])

    def _is_there(self, file: Path, key: str) -> bool:
        return self._same(self._ask(lambda: self._files().info(key)), file, key)

    def _same(self, there: Any, file: Path, key: str) -> bool:
        """Size and ETag; where the ETag tells nothing, the stored file is read back."""
        if there.get("size") != file.stat().st_size:
            return False
        etag = str(there.get("etag", "")).strip('"')
        if etag in (_md5(file), _md5_of_chunks(file)):
            return True
        # A single MD5 tells for certain; an upload in parts may be of other parts, or encrypted.
        return not re.fullmatch("[0-9a-f]{32}", etag) and self._read_back(key) == _md5(file)

    def _read_back(self, key: str) -> str:
        def read() -> str:
            digest = hashlib.md5(usedforsecurity=False)
            url = f"{self.service}object/{self.name}/{quote(key)}"
            with self.uploads.http.stream("GET", url) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise tus.Answered(answer.status_code, answer.text[:1000])
                for block in answer.iter_bytes():
                    digest.update(block)
            return digest.hexdigest()

        return self._ask(read)

    def _files(self) -> Any:
        return self.client.from_(self.name)

    def _ask(self, action: Callable[[], _T]) -> _T:
        return self.patience.insist(action, self._worded)

    @contextmanager
    def _worded(self) -> Generator[None]:
        try:
            yield
        except StorageApiError as error:
            status = int(error.status) if str(error.status).isdigit() else 500
            words = f"{error.code}: {error.message}"
            raise self.door.answered(status, words) from self.door.cause(error)
        except tus.Answered as error:
            raise self.door.answered(error.status, error.words) from self.door.cause(error)
        except (httpx.HTTPError, OSError) as error:
            words = str(error) or type(error).__name__
            raise self.door.failed(f"not reached ({words})") from self.door.cause(error)
        except (
            StorageException,
            ValueError,
            KeyError,
        ) as error:  # an answer that is none of Supabase's
            raise self.door.failed(f"a strange answer ({error})") from self.door.cause(error)


def open_bucket(name: str, patience: Patience) -> SupabaseBucket:
    """Raises StorageError if the environment does not say where and who; asks nothing."""
    door = Door(f"supabase://{name}")
    base = os.environ.get("SUPABASE_URL", "").strip().rstrip("/")
    if not re.match(r"https?://[^/]", base):
        raise door.refused("set SUPABASE_URL to the project's address, https://….supabase.co")
    key = _key(door)
    headers = {"apikey": key, "Authorization": f"Bearer {key}"}
    timeout = httpx.Timeout(patience.silence, connect=patience.connect)
    http = httpx.Client(headers=headers, timeout=timeout, follow_redirects=True)
    service = f"{base}/storage/v1/"
    client = storage3.SyncStorageClient(service, headers, http_client=http)
    uploads = tus.Uploads(f"{service}upload/resumable", http)
    bucket = SupabaseBucket(name, service, client, uploads, Door(door.place, (key,)), patience)
    weakref.finalize(bucket, http.close)  # its connections end with it
    return bucket


def _key(door: Door) -> str:
    file = os.environ.get("SUPABASE_SERVICE_ROLE_KEY_FILE")
    try:
        key = Path(file).read_text() if file else os.environ.get("SUPABASE_SERVICE_ROLE_KEY", "")
    except OSError as error:
        raise door.refused(f"{file} cannot be read: {error.strerror}") from error
    if not key.strip():
        raise door.refused(
            "set SUPABASE_SERVICE_ROLE_KEY, or SUPABASE_SERVICE_ROLE_KEY_FILE to a file with it"
        )
    return key.strip()


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return md5(Stretch(stream, 0, file.stat().st_size)).hex()


def _md5_of_chunks(file: Path) -> str:
    """The ETag of an upload whose parts are the chunks that we send."""
    starts = range(0, file.stat().st_size, tus.CHUNK)
    with file.open("rb") as stream:
        digests = [md5(Stretch(stream, start, tus.CHUNK)) for start in starts]
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(digests)}"
