"""The routes of the page that ``serve --dashboard`` adds; see ``runtime.dashboard``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.codec.packet import Flags
from runtime.dashboard.history import History, Shown, named
from runtime.dashboard.page import HEADERS, JSON, STATE, files
from runtime.dashboard.pictures import Once, Picture, bits_picture, grey, picture
from runtime.engines import EngineOptions
from runtime.latent import Latent
from runtime.serving.protocol import ANY_BUNDLE, Answer, Request, tensors
from runtime.tail import PacketReader

LIKELIEST = Request(ANY_BUNDLE, "", b"", outputs=("top_classes", "top_probabilities"))


def decision(answer: Answer) -> str:
    """What the packet reports."""
    done = {
        "defended": Flags.DENOISED in answer.flags,
        f"coarseness {answer.coarseness}": answer.coarseness > 0,
        "rate controlled": Flags.RATE_CONTROLLED in answer.flags,
    }
    return ", ".join(name for name, whether in done.items() if whether) or "plain"


class ServerView:
    """Called with each frame that was decoded; see ``runtime.serving.service.Service.watchers``."""

    def __init__(self, bundles: list[Bundle]):
        self._history = History("tail server", bundles)
        self._labels = {bundle.manifest.name: bundle.labels() for bundle in bundles}
        self._maps = {bundle.manifest.name: _Maps(bundle) for bundle in bundles}
        self._pictures = Once(self._draw)
        self._last: tuple[Request, Answer] | None = None

    def __call__(self, request: Request, answer: Answer) -> None:
        """Remember a frame. The rest waits until somebody looks."""
        classes, shares = tensors(answer, LIKELIEST).values()
        self._history.add(
            Shown(
                request.identity, answer.bundle, len(request.packet), Flags.DENOISED in answer.flags,
                decision(answer), {stage: 1e3 * s for stage, s in answer.seconds.items()},
                named(self._labels[answer.bundle], classes.tolist(), shares.tolist()),
            )
        )  # fmt: skip
        self._last = request, answer

    def state(self, cursor: str) -> dict[str, Any]:
        """What the page is told, with pictures where a frame is new to it; from any thread."""
        last, state = self._last, self._history.state(cursor)
        if last is None or not state["frames"]:
            return state | {"pictures": None}
        return state | {"pictures": self._pictures(last), "pictured": last[0].identity}

    def _draw(self, last: tuple[Request, Answer]) -> list[Picture]:
        request, answer = last
        return self._maps[answer.bundle](request.packet)


class _Maps:
    """Where the bits of a bundle's packets are. Opened at the first packet."""

    def __init__(self, bundle: Bundle):
        self._bundle = bundle
        self._reader: PacketReader | None = None

    def __call__(self, packet: bytes) -> list[Picture]:
        if self._reader is None:
            self._reader = PacketReader(self._bundle, EngineOptions(threads=1))
            self._energy: NDArray[np.float32] = self._bundle.arrays("prior")["energy"].astype(np.float32)
        streams = self._reader.read(packet).streams
        latent = Latent(streams, self._energy, self._bundle.manifest.latent)
        likelihood = latent.likelihood_map
        note = f"mean {likelihood.mean():.2f}: light is what the prior expected"
        return [picture("likelihood", note, grey(likelihood)), bits_picture(latent)]


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
