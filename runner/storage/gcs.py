"""Storage in Google Cloud Storage: the only module that uses google-cloud-storage.

Credentials: `GOOGLE_APPLICATION_CREDENTIALS_JSON` (the key itself), `GOOGLE_APPLICATION_CREDENTIALS`
(a file), else the machine's own identity. `STORAGE_EMULATOR_HOST` names another service.
"""

import base64
import json
import os
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import google.auth
import google.auth.transport.requests
import google_crc32c
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.credentials import Signing
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import storage  # pyright: ignore[reportMissingTypeStubs]
from google.cloud.storage.exceptions import DataCorruption  # pyright: ignore[reportMissingTypeStubs]
from google.cloud.storage.retry import DEFAULT_RETRY  # pyright: ignore[reportMissingTypeStubs]
from google.oauth2 import service_account

from runner.storage.bucket import Found
from runner.storage.faults import Door, Patience

_T = TypeVar("_T")
_CHUNK = 4 << 20  # bytes; the client holds them twice; a smaller file is sent in one request
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)


@dataclass(frozen=True)
class GcsBucket:
    bucket: Any  # google.cloud.storage.Bucket
    credentials: Any  # google.auth's; None: an emulator, which asks for none
    door: Door
    patience: Patience = field(default_factory=Patience)
    chunk: int = _CHUNK

    def probe(self, key: str, seconds: int | None) -> None:
        # A session in which nothing is sent shows the right to write, and makes no object.
        def begin() -> None:
            self.bucket.blob(key).create_resumable_upload_session(timeout=self._timeout, retry=None)

        self._ask(begin)
        if seconds is not None:
            self.address(key, seconds)

    def send(self, file: Path, key: str, content_type: str, *, overwrite: bool) -> None:
        chunks = DEFAULT_RETRY.with_delay(self.patience.wait, self.patience.longest_wait)

        size = file.stat().st_size
        whole = size <= self.chunk

        def upload() -> None:
            with file.open("rb") as stream:
                self.bucket.blob(key, chunk_size=self.chunk).upload_from_file(
                    stream,
                    size=size if whole else None,  # with a size, the client holds 8 MB and more
                    content_type=content_type,
                    if_generation_match=None if overwrite else 0,
                    checksum="crc32c",
                    timeout=self._timeout,
                    retry=None if whole else chunks.with_timeout(self.patience.recovery),
                )

        self._ask(upload)

    def find(self, file: Path, key: str) -> Found:
        blob = self._ask(
            lambda: self.bucket.get_blob(key, timeout=self._timeout, retry=None),
        )
        if blob is None:
            return Found.NOTHING
        same = blob.size == file.stat().st_size and blob.crc32c == _crc32c(file)
        return Found.SAME if same else Found.OTHER

    def read(self, key: str, most: int) -> bytes | None:
        blob = self._ask(lambda: self.bucket.get_blob(key, timeout=self._timeout, retry=None))
        if blob is None:
            return None
        if int(blob.size) > most:
            raise self.door.too_large(key, blob.size, most)
        return self._ask(lambda: blob.download_as_bytes(timeout=self._timeout, retry=None))

    def size(self, key: str) -> int | None:
        blob = self._ask(lambda: self.bucket.get_blob(key, timeout=self._timeout, retry=None))
        return None if blob is None else int(blob.size)

    def address(self, key: str, seconds: int | None) -> str:
        blob = self.bucket.blob(key)
        if seconds is None:
            return str(blob.public_url)
        return self._ask(lambda: self._signed(blob, seconds))

    def _signed(self, blob: Any, seconds: int) -> str:
        how: dict[str, Any] = {"version": "v4", "expiration": timedelta(seconds=seconds)}
        if self.credentials is None:
            raise self.door.refused("a signed URL needs a service account's key")
        if not isinstance(self.credentials, Signing):
            # The machine's identity has no key of its own: Google signs for it (IAM signBlob).
            self.credentials.refresh(google.auth.transport.requests.Request())
            account = getattr(self.credentials, "service_account_email", None)
            if not account:
                raise self.door.refused("a signed URL needs a service account, not a user's login")
            how |= {"service_account_email": account, "access_token": self.credentials.token}
        return str(blob.generate_signed_url(credentials=self.credentials, **how))

    @property
    def _timeout(self) -> tuple[float, float]:
        return (self.patience.connect, self.patience.silence)

    def _ask(self, action: Callable[[], _T]) -> _T:
        return self.patience.insist(action, lambda: _worded(self.door))


def open_bucket(name: str, patience: Patience) -> GcsBucket:
    """Raises StorageError if there are no credentials; asks nothing of the service."""
    door = Door(f"gs://{name}")
    with _worded(door):
        credentials, project = _credentials(door)
        client: Any = storage.Client(project=project or "none", credentials=credentials)
        bucket = GcsBucket(client.bucket(name), credentials, door, patience)
        weakref.finalize(bucket, client.close)  # its connections end with it
        return bucket


def _credentials(door: Door) -> tuple[Any, str | None]:
    if text := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS_JSON"):
        try:
            accounts: Any = service_account.Credentials
            found = accounts.from_service_account_info(json.loads(text), scopes=_SCOPES)
            return found, found.project_id
        except (ValueError, AttributeError, GoogleAuthError):  # its text may be the key
            raise door.refused("GOOGLE_APPLICATION_CREDENTIALS_JSON is no service account's key") from None  # fmt: skip
    emulated = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulated and not os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return None, None
    login: Any = google.auth
    return login.default(scopes=_SCOPES)


@contextmanager
def _worded(door: Door) -> Generator[None]:
    try:
        yield
    except DataCorruption as error:
        raise door.failed("a wrong checksum: what arrived is not what was sent") from error
    except GoogleAPICallError as error:
        words = _words(error)
        # A wrong checksum; a chunk whose answer was lost, so that the client has sent it again.
        again = "match calculated" in words or "Content-Range" in words
        raise door.answered(int(error.code or 500), words, again=again) from door.cause(error)
    except (TransportError, RetryError) as error:
        raise door.failed(f"not reached ({error})") from door.cause(error)
    except GoogleAuthError as error:
        raise door.refused(f"no credentials that are accepted ({error})") from door.cause(error)
    except OSError as error:  # requests' failures among them
        raise door.failed(f"not reached ({error})") from door.cause(error)


def _crc32c(file: Path) -> str:
    checksum: Any = google_crc32c.Checksum()
    with file.open("rb") as stream:
        while block := stream.read(1 << 18):
            checksum.update(block)
    return base64.b64encode(checksum.digest()).decode()


def _words(error: Any) -> str:
    """The service's own words: the client puts the address around them, and in it a session's id."""
    try:
        return str(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return str(error)
