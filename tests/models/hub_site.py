"""A hub on loopback: answers as huggingface.co does, its CDN under another host name, with faults."""

import contextlib
import functools
import hashlib
import json
import re
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_s3cr3tS3CR3Ts3cr3tS3CR3T"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def tensors(size: int = 3_000_000, seed: str = "a") -> bytes:
    """A safetensors file of about so many bytes."""
    body = hashlib.shake_128(seed.encode()).digest(size)
    header = {"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


@functools.lru_cache(maxsize=16)
def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Fault:
    """What one of the next requests for bytes (GET), or for facts (HEAD), gets instead."""

    kind: str  # status, cut, html, swapped, slow, no-range, long, short, wrong-range
    value: float = 0
    method: str = "GET"
    times: int = 1


@dataclass
class Asked:
    method: str
    host: str
    path: str
    headers: dict[str, str]


@dataclass
class Hub:
    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])  # by `org/repo/path`
    gated: set[str] = field(default_factory=set[str])
    plain: set[str] = field(default_factory=set[str])  # in Git itself: no sha256 is published
    faults: list[Fault] = field(default_factory=list[Fault])
    asked: list[Asked] = field(default_factory=list[Asked])
    closing: threading.Event = field(default_factory=threading.Event)
    sent: int = 0  # bytes of files

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def elsewhere(self) -> str:
        """The same server under a name that is another host for a client."""
        return f"http://localhost:{self.port}"

    def put(self, name: str, content: bytes) -> str:
        """Returns the address as workflows name it."""
        self.files[name] = content
        org, repo, path = name.split("/", 2)
        return f"https://huggingface.co/{org}/{repo}/resolve/main/{path}"

    def gets(self, part: str = "/cdn/") -> list[Asked]:
        return [a for a in self.asked if a.method == "GET" and part in a.path]


@contextmanager
def running() -> Generator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        site = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.close_connection = True
        host = (self.headers["Host"] or "").partition(":")[0]
        self.site.asked.append(Asked(self.command, host, self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if path.startswith("/cdn/"):
                self._file(path.removeprefix("/cdn/"))
            elif path.startswith("/raw/"):
                self._file(path.removeprefix("/raw/"))
            else:
                self._resolve(path)

    def _fault(self) -> Fault | None:
        for fault in self.site.faults:
            if fault.method == self.command and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _resolve(self, path: str) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        assert match, path
        repo, revision, file = match.groups()
        fault = self._fault() if self.command == "HEAD" else None
        if fault:
            headers = {"Retry-After": "0"} if fault.value == 429 else {}
            return self._say(int(fault.value), **headers)
        token = self.headers["Authorization"] == f"Bearer {TOKEN}"
        if repo in self.site.gated and not token:
            status = 403 if self.headers["Authorization"] else 401
            return self._say(status, X_Error_Code="GatedRepo", X_Error_Message="restricted")
        if not any(name.startswith(f"{repo}/") for name in self.site.files):
            return self._say(401 if not token else 404, X_Error_Code="RepoNotFound")
        if revision not in ("main", COMMIT):
            return self._say(404, X_Error_Code="RevisionNotFound")
        content = self.site.files.get(f"{repo}/{file}")
        if content is None:
            return self._say(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        facts = {"X_Repo_Commit": COMMIT}
        if f"{repo}/{file}" in self.site.plain:
            facts["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
            if self.command == "GET":
                return self._file(f"{repo}/{file}")
            return self._say(200, length=len(content), **facts)
        facts |= {
            "X_Linked_Etag": f'"{sha256(content)}"',
            "X_Linked_Size": str(len(content)),
            "Location": f"{self.site.elsewhere}/cdn/{repo}/{file}?sig=h1dden",
        }
        return self._say(302, **facts)

    def _say(self, status: int, *, length: int = 0, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _file(self, name: str) -> None:
        content = self.site.files[name]
        fault = self._fault() or Fault("none")
        if fault.kind == "status":
            headers = {"Retry-After": "0"} if fault.value == 429 else {}
            return self._say(int(fault.value), **headers)
        if fault.kind == "html":
            page = b"<!doctype html><title>Log in</title>"
            self._say(200, length=len(page), Content_Type="text/html; charset=utf-8")
            self.wfile.write(page)
            return None
        if fault.kind == "swapped":
            content = bytes(reversed(content))
        match = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(match[1]) if match and fault.kind != "no-range" else 0
        etag = f'"{sha256(content)[:32]}"'
        if start and self.headers["If-Range"] not in (None, etag):
            start = 0
        if start >= len(content) and start:
            return self._say(416, Content_Range=f"bytes */{len(content)}")
        said = {"long": 7, "short": -7}.get(fault.kind, 0) + len(content) - start
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(said))
        self.send_header("ETag", etag)
        if start:
            begin = start + (5 if fault.kind == "wrong-range" else 0)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = int(start + fault.value) if fault.kind == "cut" else len(content)
        self._send(content[start:end], fault.value if fault.kind == "slow" else 0)
        return None

    def _send(self, content: bytes, pause: float) -> None:
        for at in range(0, len(content), 64 * 1024):
            piece = content[at : at + 64 * 1024]
            self.wfile.write(piece)
            self.site.sent += len(piece)
            if pause and self.site.closing.wait(pause):
                return
