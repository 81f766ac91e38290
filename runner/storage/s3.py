"""Storage in Amazon S3 and what speaks its protocol (MinIO, R2, …): the only module that uses boto3.

Credentials, region and endpoint are found as by every AWS tool: environment, shared files, the
machine's role; `AWS_ENDPOINT_URL` names another service.
"""

import base64
import hashlib
import os
import re
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import boto3.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from runner.errors import StorageError
from runner.storage.bucket import Found
from runner.storage.faults import Door, Patience, found
from runner.storage.stretch import Stretch, md5

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_T = TypeVar("_T")
_PART = 8 << 20  # bytes
_PARTS = 10_000  # at most, by the protocol
_PARALLEL = 3  # each holds about 3 MB
_AGAIN = {"BadDigest", "RequestTimeout", "IncompleteBody", "XAmzContentSHA256Mismatch"}  # all 400
_KEYED = {"aws:kms", "aws:kms:dsse"}  # encryption with which an ETag is no MD5


@dataclass(frozen=True)
class S3Bucket:
    name: str
    client: "S3Client"
    door: Door
    patience: Patience = field(default_factory=Patience)
    part: int = _PART

    def probe(self, key: str, seconds: int | None) -> None:
        # An upload that is begun and dropped shows the right to write, and no object.
        begun = self._ask(lambda: self.client.create_multipart_upload(Bucket=self.name, Key=key))
        self._drop(key, begun["UploadId"])
        if seconds is not None:
            self.address(key, seconds)

    def send(self, file: Path, key: str, content_type: str, *, overwrite: bool) -> None:
        parts = _parts(file, self.part)
        only: dict[str, Any] = {} if overwrite else {"IfNoneMatch": "*"}
        if len(parts) == 1:
            self._send_whole(parts[0], key, {"ContentType": content_type, **only})
        else:
            self._send_parts(parts, key, content_type, only)

    def find(self, file: Path, key: str) -> Found:
        there = self._head(key)
        if there is None:
            return Found.NOTHING
        same = there["ContentLength"] == file.stat().st_size and _etag(there) == _expected(
            _parts(file, self.part)
        )
        return Found.SAME if same else Found.OTHER

    def read(self, key: str, most: int) -> bytes | None:
        size = self.size(key)
        if size is None:
            return None
        if size > most:
            raise self.door.too_large(key, size, most)

        def read() -> bytes:
            with self.client.get_object(Bucket=self.name, Key=key)["Body"] as body:
                return body.read()

        return self._ask(read)

    def size(self, key: str) -> int | None:
        there = self._head(key)
        return None if there is None else int(there["ContentLength"])

    def _head(self, key: str) -> Any:
        """None if there is no object; without the right to list, a bucket says 403 then."""
        return found(lambda: self._ask(lambda: self.client.head_object(Bucket=self.name, Key=key)))

    def address(self, key: str, seconds: int | None) -> str:
        with self._worded():
            signed = self.client.generate_presigned_url(
                "get_object", Params={"Bucket": self.name, "Key": key}, ExpiresIn=seconds or 60
            )
        return signed if seconds is not None else signed.partition("?")[0]

    def _send_whole(self, part: "_Part", key: str, more: dict[str, Any]) -> None:
        def put() -> None:
            with part.open() as body:
                answer = self.client.put_object(
                    Bucket=self.name, Key=key, Body=body, ContentMD5=part.md5, **more
                )
            try:
                self._verify(answer, part)
            except StorageError:
                more.pop("IfNoneMatch", None)  # over what we have just sent
                raise

        self._ask(put)

    def _send_parts(
        self, parts: "list[_Part]", key: str, content_type: str, only: dict[str, Any]
    ) -> None:
        begun = self._ask(
            lambda: self.client.create_multipart_upload(
                Bucket=self.name, Key=key, ContentType=content_type
            )
        )
        upload = begun["UploadId"]
        try:
            with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="s3") as pool:
                futures = [pool.submit(self._send_part, part, key, upload) for part in parts]
                try:
                    done = [future.result() for future in futures]
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            self._ask(
                lambda: self.client.complete_multipart_upload(
                    Bucket=self.name,
                    Key=key,
                    UploadId=upload,
                    MultipartUpload={"Parts": cast("Any", done)},
                    **only,
                )
            )
        except BaseException:
            self._drop(key, upload)
            raise

    def _send_part(self, part: "_Part", key: str, upload: str) -> dict[str, Any]:
        def put() -> str:
            with part.open() as body:
                answer = self.client.upload_part(
                    Bucket=self.name,
                    Key=key,
                    UploadId=upload,
                    PartNumber=part.number,
                    Body=body,
                    ContentMD5=part.md5,
                )
            self._verify(answer, part)
            return answer["ETag"]

        return {"ETag": self._ask(put), "PartNumber": part.number}

    def _verify(self, answer: Any, part: "_Part") -> None:
        """What arrived is what was sent. The service compares Content-MD5; not all of them do."""
        etag = _etag(answer)
        if re.fullmatch("[0-9a-f]{32}", etag) and etag != part.digest.hex():
            raise self.door.failed("a wrong checksum: what arrived is not what was sent")

    def _drop(self, key: str, upload: str) -> None:
        with suppress(StorageError), self._worded():
            self.client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)

    def _ask(self, action: Callable[[], _T]) -> _T:
        return self.patience.insist(action, self._worded)

    @contextmanager
    def _worded(self) -> Generator[None]:
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise self.door.refused(
                "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile"
            ) from error
        except ClientError as error:
            raise self._answered(error) from self.door.cause(error)
        except (HTTPClientError, OSError) as error:
            raise self.door.failed(f"not reached ({error})") from self.door.cause(error)
        except BotoCoreError as error:
            raise self.door.refused(str(error)) from self.door.cause(error)

    def _answered(self, error: ClientError) -> StorageError:
        said: Any = error.response
        code = str(said.get("Error", {}).get("Code", ""))
        status = int(said.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        words = f"{code}: {said.get('Error', {}).get('Message', '')}"
        return self.door.answered(status, words, again=code in _AGAIN)


def open_bucket(name: str, patience: Patience) -> S3Bucket:
    """Raises StorageError if the environment's settings are broken; asks nothing of the service."""
    door = Door(f"s3://{name}")
    elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        signature_version="s3v4",
        connect_timeout=patience.connect,
        read_timeout=patience.silence,
        retries={"total_max_attempts": 1},  # ours are enough
        max_pool_connections=_PARALLEL,
        # Content-MD5 is sent instead: every service knows it, and it needs no word beforehand.
        request_checksum_calculation="when_required",
        s3={"addressing_style": "path" if elsewhere else "auto"},
    )
    try:
        session = boto3.session.Session()
        account: Any = session.get_credentials()
        secrets = (account.access_key, account.secret_key, account.token) if account else ()
        region = session.region_name or "us-east-1"
        client: Any = session.client("s3", region_name=region, config=config)
    except (BotoCoreError, ProfileNotFound, ValueError) as error:
        raise door.refused(str(error)) from error
    bucket = S3Bucket(name, client, Door(door.place, tuple(s for s in secrets if s)), patience)
    weakref.finalize(bucket, client.close)  # its connections end with it
    return bucket


@dataclass(frozen=True)
class _Part:
    """A stretch of a file; read from the disk each time that it is sent."""

    file: Path
    number: int  # from 1
    start: int  # byte
    size: int  # bytes
    digest: bytes  # MD5

    @property
    def md5(self) -> str:
        return base64.b64encode(self.digest).decode()

    @contextmanager
    def open(self) -> Generator[BinaryIO]:
        with self.file.open("rb") as file:
            yield cast("BinaryIO", Stretch(file, self.start, self.size))


def _parts(file: Path, part: int) -> list[_Part]:
    """The file in parts, each with its checksum. Reads the file once."""
    total = file.stat().st_size
    size = max(part, -(-total // _PARTS))
    starts = range(0, total, size) or range(1)
    with file.open("rb") as stream:
        return [
            _Part(file, number, start, min(size, total - start), md5(Stretch(stream, start, size)))
            for number, start in enumerate(starts, 1)
        ]


def _expected(parts: list[_Part]) -> str:
    if len(parts) == 1:
        return parts[0].digest.hex()
    whole = hashlib.md5(b"".join(part.digest for part in parts), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(parts)}"


def _etag(answer: Any) -> str:
    """The ETag where it tells the content; empty where it does not."""
    keyed = answer.get("ServerSideEncryption") in _KEYED or answer.get("SSECustomerAlgorithm")
    return "" if keyed else str(answer.get("ETag", "")).strip('"')
