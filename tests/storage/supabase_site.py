"""Supabase's storage service on loopback: the protocol and the error bodies of its own server.

Written after supabase/storage: errors come with HTTP 400 and the true status in the body; a
resumable upload (TUS) answers with the true status and plain words.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_KEY = re.compile(r"[\w/!.*'() &$@=;:+,?-]+", re.ASCII)
CHUNK = 6 << 20


@dataclass
class Stored:
    content: bytes
    content_type: str
    upsert: bool


@dataclass
class Upload:
    size: int
    meta: dict[str, str]
    upsert: bool
    content: bytearray = field(default_factory=bytearray)


@dataclass
class Site:
    url: str
    key: str
    buckets: set[str]
    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    limit: int = 50 << 20
    encrypted: bool = False  # so that an ETag tells nothing


class Problem(Exception):
    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error, self.message = status, error, message


@contextlib.contextmanager
def supabase_site(key: str, buckets: set[str]) -> Generator[Site]:
    site = Site("", key, buckets)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def any_method(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path).removeprefix("/storage/v1")
            resumable = path.startswith("/upload/resumable")
            try:
                self._authorize()
                (self._resumable if resumable else self._object)(path, body)
            except Problem as problem:
                if resumable:
                    self._send(problem.status, problem.message.encode(), {})
                else:
                    said = {
                        "statusCode": str(problem.status),
                        "error": problem.error,
                        "message": problem.message,
                    }
                    self._send(400, json.dumps(said).encode(), {"Content-Type": "application/json"})

        do_GET = do_POST = do_PUT = do_HEAD = do_PATCH = any_method

        def _authorize(self) -> None:
            if self.headers.get("Authorization") != f"Bearer {site.key}":
                raise Problem(403, "Unauthorized", "Invalid Compact JWS")

        def _object(self, path: str, body: bytes) -> None:
            kinds = "upload/sign|sign|info|public"
            match = re.fullmatch(rf"/object/(?:({kinds})/)?([^/]+)/(.+)", path)
            assert match, path
            kind, bucket, key = match.groups()
            self._require(bucket, key)
            place = f"{bucket}/{key}"
            if kind == "upload/sign":
                self._json({"url": f"/object/upload/sign/{place}?token={uuid.uuid4().hex}"})
            elif kind is None and self.command == "GET":
                self._send(200, site.objects[place].content, {})
            elif kind is None:
                content, content_type = self._file(body)
                upsert = self.headers.get("x-upsert") == "true"
                if len(content) > site.limit:
                    raise Problem(413, "Payload too large", "The object exceeded the maximum allowed size")  # fmt: skip
                self._store(place, Stored(content, content_type, upsert))
                self._json({"Id": str(uuid.uuid4()), "Key": place})
            elif place not in site.objects:
                raise Problem(404, "not_found", "Object not found")
            elif kind == "sign":
                seconds = json.loads(body)["expiresIn"]
                self._json({"signedURL": f"/object/sign/{place}?token=expires-{seconds}"})
            else:
                self._info(site.objects[place])

        def _info(self, stored: Stored) -> None:
            # An upload in parts has no MD5 for an ETag.
            content = stored.content
            parts = [hashlib.md5(content[i : i + CHUNK]) for i in range(0, len(content), CHUNK)]
            whole = hashlib.md5(b"".join(p.digest() for p in parts)).hexdigest()
            etag = (
                f'"{whole}-{len(parts)}"'
                if len(parts) > 1
                else f'"{hashlib.md5(content).hexdigest()}"'
            )
            if site.encrypted:
                etag = f'"{hashlib.md5(whole.encode()).hexdigest()}-{len(parts)}"'
            self._json({
                "id": str(uuid.uuid4()), "size": len(stored.content), "etag": etag,
                "content_type": stored.content_type,
            })  # fmt: skip

        def _resumable(self, path: str, body: bytes) -> None:
            if self.headers.get("Tus-Resumable") != "1.0.0":
                raise Problem(412, "", "Tus-Resumable Required\n")
            if self.command == "POST":
                self._create()
                return
            name = path.rpartition("/")[2]
            upload = site.uploads.get(name)
            if upload is None:
                raise Problem(404, "", "The file for this url was not found\n")
            if self.command == "PATCH":
                self._append(name, upload, body)
            else:
                self._send(200, b"", {"Upload-Offset": str(len(upload.content))})

        def _create(self) -> None:
            pairs = (pair.split(" ") for pair in self.headers["Upload-Metadata"].split(","))
            meta = {key: base64.b64decode(value).decode() for key, value in pairs}
            self._require(meta["bucketName"], meta["objectName"])
            upload = Upload(int(self.headers["Upload-Length"]), meta, self.headers.get("x-upsert") == "true")  # fmt: skip
            if upload.size > site.limit:
                raise Problem(413, "", "Maximum size exceeded\n")
            place = f"{meta['bucketName']}/{meta['objectName']}"
            if place in site.objects and not upload.upsert:
                raise Problem(409, "", "The resource already exists")
            name = uuid.uuid4().hex
            site.uploads[name] = upload
            # The service names its inner address, as behind a gateway that rewrites.
            inner = f"http://storage.internal:5000/upload/resumable/{name}"
            self._send(201, b"", {"Location": inner})

        def _append(self, name: str, upload: Upload, body: bytes) -> None:
            if int(self.headers["Upload-Offset"]) != len(upload.content):
                raise Problem(409, "", "Upload-Offset conflict\n")
            last = len(upload.content) + len(body) == upload.size
            if len(body) != CHUNK and not last:
                raise Problem(400, "", "chunks have 6 MB")
            upload.content += body
            if last:
                place = f"{upload.meta['bucketName']}/{upload.meta['objectName']}"
                content_type = upload.meta["contentType"]
                self._store(place, Stored(bytes(upload.content), content_type, upload.upsert))
            self._send(204, b"", {"Upload-Offset": str(len(upload.content))})

        def _require(self, bucket: str, key: str) -> None:
            if bucket not in site.buckets:
                raise Problem(404, "Bucket not found", "Bucket not found")
            if not _KEY.fullmatch(key):
                raise Problem(400, "InvalidKey", f"Invalid key: {key}")

        def _store(self, place: str, stored: Stored) -> None:
            if place in site.objects and not stored.upsert:
                raise Problem(409, "Duplicate", "The resource already exists")
            site.objects[place] = stored

        def _file(self, body: bytes) -> tuple[bytes, str]:
            boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
            for part in body.split(b"--" + boundary):
                head, _, content = part.partition(b"\r\n\r\n")
                if b'name="file"' in head:
                    found = re.search(rb"(?i)content-type: *(.+)", head)
                    assert found
                    return content.removesuffix(b"\r\n"), found[1].strip().decode()
            raise Problem(400, "", "no file")

        def _json(self, said: dict[str, object]) -> None:
            self._send(200, json.dumps(said).encode(), {"Content-Type": "application/json"})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
