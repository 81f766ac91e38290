"""A server that speaks ComfyUI's protocol on loopback and misbehaves as it is told.

Only for what cannot be provoked in the real one: lost connections and lost messages at a chosen
moment. Everything else is tested against the real server.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web


@dataclass
class FakeComfy:
    """`script` is awaited once a prompt is queued; it sends messages and ends the job, or does not."""

    script: Callable[["FakeComfy", str], Any]
    answer: dict[str, Any] = field(default_factory=dict)  # to POST /prompt
    status: int = 200
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    connections: int = 0
    history: dict[str, Any] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    canceled: list[str] = field(default_factory=list)

    def __enter__(self) -> str:
        self._loop = asyncio.new_event_loop()
        started: threading.Event = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,))
        self._thread.start()
        assert started.wait(10)
        return f"http://127.0.0.1:{self._port}"

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def send(self, kind: str, **data: Any) -> None:
        for socket in self.sockets:
            await socket.send_json({"type": kind, "data": data})

    async def drop(self) -> None:
        """Cut every connection, as a network does: without a closing handshake."""
        sockets, self.sockets = self.sockets, []
        for socket in sockets:
            transport = socket._req.transport  # type: ignore[union-attr]
            assert transport is not None
            transport.abort()

    async def close(self) -> None:
        """Close every connection in good order, as a server that shuts down does."""
        sockets, self.sockets = self.sockets, []
        for socket in sockets:
            await socket.close()

    def end(self, prompt_id: str, *, error: tuple[str, dict[str, Any]] | None = None) -> None:
        self.history[prompt_id] = {
            "prompt": [0, prompt_id, {"7": {"_meta": {"title": "Sample"}}}],
            "outputs": {
                "9": {"images": [{"filename": "v.mp4", "subfolder": "s", "type": "output"}]}
            },
            "status": {
                "status_str": "error" if error else "success",
                "messages": [list(error)] if error else [],
            },
        }

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_get("/ws", self._ws)
        app.router.add_post("/prompt", self._prompt)
        app.router.add_get("/api/jobs/{id}", self._job)
        app.router.add_post("/api/jobs/{id}/cancel", self._cancel)
        app.router.add_get("/history/{id}", self._history)
        app.router.add_post("/history", self._forget)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self._port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        started.set()
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connections += 1
        self.sockets.append(socket)
        await socket.send_json({"type": "status", "data": {}})
        async for message in socket:
            if message.type == WSMsgType.ERROR:
                break
        return socket

    async def _prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompt_id = body["prompt_id"]
        if self.status == 200 and not self.answer.get("node_errors"):
            self.known.add(prompt_id)
            self._task = asyncio.ensure_future(self.script(self, prompt_id))
        return web.json_response({"prompt_id": prompt_id, **self.answer}, status=self.status)

    async def _job(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        if prompt_id in self.history:
            return web.json_response({"status": "completed"})
        if prompt_id in self.known:
            return web.json_response({"status": "in_progress"})
        return web.json_response({"error": "Job not found"}, status=404)

    async def _cancel(self, request: web.Request) -> web.Response:
        self.canceled.append(request.match_info["id"])
        return web.json_response({"cancelled": True})

    async def _history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        return web.json_response({k: v for k, v in self.history.items() if k == prompt_id})

    async def _forget(self, request: web.Request) -> web.Response:
        for prompt_id in (await request.json())["delete"]:
            self.history.pop(prompt_id, None)
            self.known.discard(prompt_id)
        return web.Response()
