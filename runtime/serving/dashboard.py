"""The server's page: what a server knows of a frame, and the routes of ``serve --dashboard``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from runtime.bundle import Bundle
from runtime.codec.packet import Flags
from runtime.dashboard.history import History, Shown, named
from runtime.dashboard.page import HEADERS, JSON, ROOT, STATE, files
from runtime.dashboard.pictures import Once, Picture, bits_picture, grey, picture
from runtime.engines import EngineOptions
from runtime.latent import Latent
from runtime.serving.protocol import Answer, Request
from runtime.tail import PacketReader


def rung(answer: Answer) -> str:
    """The rung of the guard's ladder, as far as a packet tells: plain, defended or fitted.

    A packet says neither which head looked at the frame nor why its steps are coarser. Without the denoiser
    the budget is the usual reason, hence fitted; after it they are taken as a part of the defence.
    """
    if Flags.DENOISED in answer.flags:
        return "defended"
    return "fitted" if answer.coarseness > 0 or Flags.RATE_CONTROLLED in answer.flags else "plain"


def decision(answer: Answer) -> str:
    """What the guard did to the frame, in words, as its packet reports it."""
    done = {
        f"coarseness {answer.coarseness}": answer.coarseness > 0,
        "rate controlled": Flags.RATE_CONTROLLED in answer.flags,
    }
    return ", ".join([rung(answer), *(name for name, whether in done.items() if whether)])


class ServerView:
    """The frames of a server for its page; a watcher of ``runtime.serving.service.Service``."""

    def __init__(self, bundles: list[Bundle]):
        self._history = History("tail server", bundles)
        self._labels = {bundle.manifest.name: bundle.labels() for bundle in bundles}
        self._maps = {bundle.manifest.name: _Maps(bundle) for bundle in bundles}
        self._pictures = Once(self._draw)
        self._last: tuple[Request, Answer] | None = None

    def __call__(self, request: Request, answer: Answer) -> None:
        """Remember a decoded frame. Its pictures are made when a page asks."""
        found = answer.task.ranking(answer.task.answer(answer.raw, answer.task.brief))
        self._history.add(
            Shown(
                request.identity, answer.bundle, len(request.packet), rung(answer),
                Flags.DENOISED in answer.flags, decision(answer),
                {stage: 1e3 * seconds for stage, seconds in answer.seconds.items()},
                named(self._labels[answer.bundle], found),
            )
        )  # fmt: skip
        self._last = request, answer

    def state(self, cursor: str) -> dict[str, Any]:
        """JSON for the page, with pictures where there are new frames. Any thread may call it."""
        last, state = self._last, self._history.state(cursor)
        if last is None or not state["frames"]:
            return state | {"pictures": None}
        return state | {"pictures": self._pictures(last), "pictured": last[0].identity}

    def _draw(self, last: tuple[Request, Answer]) -> list[Picture]:
        request, answer = last
        return self._maps[answer.bundle](request.packet)


class _Maps:
    """Pictures of a bundle's packets. The reader opens at the start, as those of the workers do."""

    def __init__(self, bundle: Bundle):
        self._bundle = bundle
        self._reader = PacketReader(bundle, EngineOptions(threads=1))
        self._energy = bundle.energy()

    def __call__(self, packet: bytes) -> list[Picture]:
        streams = self._reader.read(packet).streams
        latent = Latent(streams, self._energy, self._bundle.manifest.latent)
        likelihood = latent.likelihood_map
        note = f"mean {likelihood.mean():.2f}; light: what the prior expected"
        return [picture("likelihood", note, grey(likelihood)), bits_picture(latent)]


def routes(view: ServerView) -> list[web.RouteDef]:
    """The routes of the page's files and of its state; ``/`` redirects to the page."""
    found = files()

    async def lead(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={**HEADERS, "Location": ROOT})

    async def file(request: web.Request) -> web.Response:
        kind, content = found[request.path]
        return web.Response(body=content, headers={**HEADERS, "Content-Type": kind})

    async def state(request: web.Request) -> web.Response:
        told = await asyncio.to_thread(view.state, request.query.get("after", ""))
        return web.Response(body=json.dumps(told).encode(), headers={**HEADERS, "Content-Type": JSON})

    return [web.get("/", lead), web.get(STATE, state), *(web.get(path, file) for path in found)]
