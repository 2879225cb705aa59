"""The routes of the page that ``serve --dashboard`` adds; see ``runtime.dashboard``."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from runtime.dashboard.of_server import ServerView
from runtime.dashboard.page import HEADERS, JSON, STATE, files


def routes(view: ServerView) -> list[web.RouteDef]:
    """Its files, and the state that it asks for."""
    found = files()

    async def file(request: web.Request) -> web.Response:
        kind, content = found[request.path]
        return web.Response(body=content, headers={**HEADERS, "Content-Type": kind})

    async def state(request: web.Request) -> web.Response:
        told = await asyncio.to_thread(view.state, request.query.get("after", ""))
        return web.Response(body=json.dumps(told).encode(), headers={**HEADERS, "Content-Type": JSON})

    return [web.get(STATE, state), *(web.get(path, file) for path in found)]
