"""Between the runner and ComfyUI: passes HTTP and websocket on, and breaks what a test tells it to.

A rule sees every websocket message on its way to the runner and says what becomes of it; an HTTP
rule sees every request.
"""

import asyncio
import io
import json
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

# What becomes of a message: it passes, comes twice, is lost, comes after the next one; the
# connection is cut before it, in the middle of it, after it.
ACTS = ("pass", "double", "lose", "swap", "cut before", "cut during", "cut after")
Rule = Callable[[str, Any], str]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


async def passed(_: web.Request) -> None:
    """Let ComfyUI answer."""


@dataclass
class Proxy:
    """`url` is ComfyUI's; as a context it gives its own."""

    url: str
    rule: Rule = lambda kind, data: "pass"
    http: Answer = passed  # answers instead of ComfyUI, or gives None
    down: bool = False  # refuses everything
    cuts: int = 0
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> str:
        self._loop = asyncio.new_event_loop()
        self._sockets: set[web.WebSocketResponse] = set()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,))
        self._thread.start()
        assert started.wait(10)
        return f"http://127.0.0.1:{self._port}"

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/ws", self._ws)
        app.router.add_route("*", "/{path:.*}", self._forward)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self._port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        self._client = aiohttp.ClientSession(loop=self._loop, auto_decompress=False)
        started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._client.close())
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if self.down:
            _abort(request)
            return web.Response(status=502)
        own = await self.http(request)
        if own is not None:
            return own
        headers = {
            k: v
            for k, v in request.headers.items()
            if k.lower() not in ("host", "transfer-encoding")
        }
        try:
            async with self._client.request(
                request.method,
                self.url + request.path_qs,
                data=io.BytesIO(await request.read()),
                headers=headers,
            ) as answer:
                body = await answer.read()
        except aiohttp.ClientError:
            _abort(request)
            return web.Response(status=502)
        kept = {
            k: v
            for k, v in answer.headers.items()
            if k.lower() in ("content-type", "content-encoding")
        }
        return web.Response(status=answer.status, body=body, headers=kept)

    async def _ws(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            _abort(request)
            return web.Response(status=502)
        ours = web.WebSocketResponse()
        await ours.prepare(request)
        try:
            async with self._client.ws_connect(
                self.url + request.path_qs, max_msg_size=0
            ) as theirs:
                back = asyncio.ensure_future(_pass_back(ours, theirs))
                await self._pass_on(request, theirs, ours)
                back.cancel()
        except (aiohttp.ClientError, ConnectionError):
            _abort(request)
        return ours

    async def _pass_on(
        self,
        request: web.Request,
        theirs: aiohttp.ClientWebSocketResponse,
        ours: web.WebSocketResponse,
    ) -> None:
        kept: list[aiohttp.WSMessage] = []
        async for message in theirs:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            said = (
                json.loads(message.data) if message.type == WSMsgType.TEXT else {"type": "binary"}
            )
            kind = said["type"]
            if kind == "executing" and said["data"].get("node") is None:
                kind = "last"
            act = self.rule(kind, said.get("data"))
            if act.startswith("cut"):
                self.cuts += 1
            if act == "swap":
                kept.append(message)
                continue
            if act == "cut during":
                _write_half(request, message)
            elif act not in ("lose", "cut before"):
                for _ in range(2 if act == "double" else 1):
                    await _send(ours, message)
                while kept:
                    await _send(ours, kept.pop())
            if act.startswith("cut"):
                await asyncio.sleep(0)
                _abort(request)
                return


async def _send(socket: web.WebSocketResponse, message: aiohttp.WSMessage) -> None:
    send = socket.send_str if message.type == WSMsgType.TEXT else socket.send_bytes
    await send(message.data)


async def _pass_back(ours: web.WebSocketResponse, theirs: aiohttp.ClientWebSocketResponse) -> None:
    async for message in ours:
        if message.type == WSMsgType.TEXT:
            await theirs.send_str(message.data)
    await theirs.close()


def _write_half(request: web.Request, message: aiohttp.WSMessage) -> None:
    """The header of a frame and half of what it announces (RFC 6455, 5.2)."""
    data = message.data.encode() if isinstance(message.data, str) else message.data
    opcode = 0x81 if message.type == WSMsgType.TEXT else 0x82
    length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
    assert request.transport is not None
    request.transport.write(bytes([opcode]) + length + data[: len(data) // 2])


def _abort(request: web.Request) -> None:
    """As a network does: without a farewell."""
    if request.transport is not None:
        request.transport.abort()
