"""Loaded by `callsheet edit`: what the editor's Callsheet menu asks for, answered by the runner itself.

The two routes take the open workflow's JSON and read nothing that the browser names. ComfyUI's own
middleware refuses callers from other sites.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from server import PromptServer

from runner import workflow
from runner.entrypoints import menu
from runner.errors import RunnerError

NODE_CLASS_MAPPINGS: dict[str, Any] = {}
WEB_DIRECTORY = "./web"
# Beside this pack's link; `callsheet edit` makes it for its session.
RELEASED = Path(__file__).parent.parent / "callsheet_workflows" / "released"

routes = PromptServer.instance.routes


@routes.post("/callsheet/check")
async def check(request: web.Request) -> web.Response:
    definitions = await _definitions(request)
    return await _answer(request, lambda document: menu.findings(document, definitions))


@routes.post("/callsheet/request")
async def copy(request: web.Request) -> web.Response:
    return await _answer(request, lambda document: menu.request(document, [RELEASED]))


async def _answer(
    request: web.Request, about: Callable[[workflow.Document], dict[str, Any]]
) -> web.Response:
    try:
        document = workflow.parse(await request.read(), source="the open workflow")
        # In a thread: the editor goes on hearing from a job that runs meanwhile.
        return web.json_response(await asyncio.to_thread(about, document))
    except RunnerError as error:
        return web.json_response({"error": error.message}, status=422)


async def _definitions(request: web.Request) -> dict[str, Any]:
    """The node definitions as this ComfyUI serves them."""
    [ask] = [r.handler for r in routes if isinstance(r, web.RouteDef) and r.path == "/object_info"]
    return json.loads((await ask(request)).body)
