"""A proxy on loopback that can go wrong between a client and a storage service."""

import contextlib
import http.client
import socket
import struct
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What happens to the next requests of a method instead of what should."""

    method: str
    kind: str  # answer | reset | lost | stall | corrupt
    times: int = 1
    within: str = ""  # a part of the path and query
    status: int = 0
    body: str = ""
    content_type: str = "application/json"


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    size: int


@dataclass
class Proxy:
    url: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and fault.within in path:
                    fault.times -= 1
                    return fault
        return None

    def count(self, method: str, within: str = "") -> int:
        return sum(s.method == method and within in s.path for s in self.seen)


@contextlib.contextmanager
def proxy(upstream: str) -> Generator[Proxy]:
    target = urlsplit(upstream)
    own = Proxy("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def log_message(self, format: str, *args: object) -> None:
            pass

        def any_method(self) -> None:
            fault = own.take(self.command, self.path)
            if fault and fault.kind == "reset":
                self.rfile.read(min(self._length(), 1000))
                self._reset()
                return
            body = self._body()
            own.seen.append(Seen(self.command, self.path, dict(self.headers.items()), len(body)))
            if fault and fault.kind == "answer":
                self._send(
                    fault.status, [("Content-Type", fault.content_type)], fault.body.encode()
                )
                return
            if fault and fault.kind == "stall":
                own.closing.wait(10)
                self._reset()
                return
            if fault and fault.kind == "corrupt":
                middle = len(body) // 2
                body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
            status, headers, answer = self._forward(body)
            if fault and fault.kind == "lost":
                self._reset()
                return
            self._send(status, headers, answer)

        do_GET = do_PUT = do_POST = do_HEAD = do_PATCH = do_DELETE = any_method

        def _length(self) -> int:
            return int(self.headers.get("Content-Length") or 0)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(self._length())
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(target.hostname, target.port, timeout=20)
            skipped = ("connection", "transfer-encoding", "content-length", "expect")
            headers = {k: v for k, v in self.headers.items() if k.lower() not in skipped}
            headers["Content-Length"] = str(len(body))
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            length = str(len(body))
            for key, value in headers:
                if key.lower() == "content-length":
                    length = value if self.command == "HEAD" else length
                elif key.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(key, value)
            if status != 204:
                self.send_header("Content-Length", length)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _reset(self) -> None:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.shutdown(socket.SHUT_RD)
            self.close_connection = True
            self.connection.close()

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # clients that went away

    with Server(("127.0.0.1", 0), Handler) as server:
        own.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield own
        finally:
            own.closing.set()
            server.shutdown()
            thread.join()
