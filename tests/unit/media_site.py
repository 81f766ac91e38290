"""A web server on loopback that misbehaves on request, and small media files."""

import contextlib
import io
import ssl
import struct
import threading
import wave
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
from PIL import Image

SECRET = "S3CRET"
HOST = "files.test"  # a name that only the tests' own resolver knows
Answer = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """One request, and ways to answer it."""

    protocol_version = "HTTP/1.1"
    site: "Site"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.site.seen[path] += 1
        self.site.hosts.append(self.headers["Host"])
        self.close_connection = True
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.site.pages[path](self)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.start(status, **{"Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def start(self, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def drip(self, byte: bytes = b"x", pause: float = 0.05) -> None:
        while not self.site.closing.wait(pause):
            self.wfile.write(byte)
            self.wfile.flush()


class Site:
    """Serves `pages`, by path."""

    def __init__(self, *, certificate: Path | None = None) -> None:
        self.pages: dict[str, Answer] = {}
        self.seen: Counter[str] = Counter()
        self.hosts: list[str] = []
        self.asked_names: list[str | None] = []  # by TLS
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Asked,), {"site": self}))
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.scheme = "http"
        if certificate is not None:
            self.scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            context.sni_callback = lambda _s, name, _c: self.asked_names.append(name)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self) -> "Site":
        self.thread.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def put(self, path: str, page: bytes | Answer) -> str:
        """Serve a page; returns its URL, which holds a secret."""
        self.pages[path] = (lambda asked: asked.answer(page)) if isinstance(page, bytes) else page
        return self.url(path)

    def url(self, path: str, host: str = HOST) -> str:
        return f"{self.scheme}://{host}:{self.port}{path}?token={SECRET}"


def picture(
    format: str = "PNG", size: tuple[int, int] = (24, 16), *, mode: str = "RGB", **options: Any
) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(file, format, **options)
    return file.getvalue()


def animation(format: str = "GIF") -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (24, 16), (index * 90, 0, 0)) for index in range(3)]
    frames[0].save(file, format, save_all=True, append_images=frames[1:], duration=100)
    return file.getvalue()


def sound(seconds: float = 0.5) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\1\0" * int(8000 * seconds))
    return file.getvalue()


def film(format: str = "mp4", codec: str = "h264", *, silent: bool = True) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=8)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        track = None if silent else container.add_stream("aac", rate=8000)
        for index in range(4):
            frame = np.full((32, 32, 3), index * 40, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
        if track is not None:
            tone = av.AudioFrame.from_ndarray(
                np.zeros((1, 4000), dtype=np.float32), format="fltp", layout="mono"
            )
            tone.sample_rate = 8000
            container.mux([*track.encode(tone), *track.encode()])
    return file.getvalue()


def on_its_side(format: str, *, fault: str) -> bytes:
    """A picture of 16 x 24 pixels once it is turned, of a camera that writes what it should not."""
    exif = Image.Exif()
    exif[0x0112], exif[0x0101] = 6, 16  # Orientation; ImageLength
    change = {
        # A LONG, one of it, becomes an ASCII: PIL reads that and cannot write it anew.
        "type": (struct.pack(">HHI", 0x0101, 4, 1), struct.pack(">HHI", 0x0101, 2, 1)),
        "head": (b"MM\0*\0\0\0\x08", b"MX\0*\0\0\0\x08"),  # no byte order
    }
    return picture(format, exif=exif).replace(*change[fault])


def endless_flac(seconds: float) -> bytes:
    """Silence whose header does not tell its length, as of a sound that was streamed."""
    data = bytearray(encoded_sound("flac", "flac", seconds))
    described = int.from_bytes(data[18:26], "big")  # rate, channels, bits; 36 bits of samples
    data[18:26] = (described & ~((1 << 36) - 1)).to_bytes(8, "big")
    return bytes(data)


def encoded_sound(format: str, codec: str, seconds: float = 0.5) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=48000)
        samples = np.zeros((1, round(seconds * 48000)), dtype=np.int16)
        tone = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        tone.sample_rate = 48000
        resampler = av.AudioResampler(stream.format, stream.layout, 48000)
        fifo = av.AudioFifo()
        for frame in [*resampler.resample(tone), *resampler.resample(None)]:
            frame.pts = None
            fifo.write(frame)
        size = stream.codec_context.frame_size or 1024
        while (frame := fifo.read(size, partial=True)) is not None:
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()
