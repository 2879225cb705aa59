"""Memory of a server over very many requests, most of them hostile."""

from __future__ import annotations

import random
import socket
from collections import Counter
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

import psutil

from bench.serve.load import post, together
from bench.serve.process import ServerProcess
from runtime.bundle import Bundle
from runtime.codec.packet import MAX_OVERHEAD, Flags, Packet
from runtime.serving.options import Options
from runtime.streaming.connection import MODEL, Address, request


@dataclass(frozen=True)
class RequestKind:
    """A kind of request. status: that it must get, None: no answer. share: of twenty requests."""

    name: str
    status: int | None
    share: int = 1


NEW_FRAME = RequestKind("new frame", 200)
MIX = (
    NEW_FRAME,
    RequestKind("repeated", 200, 4),
    RequestKind("truncated", 400, 3),
    RequestKind("flipped bit", 400, 3),
    RequestKind("random bytes", 400, 3),
    RequestKind("sealed nonsense", 400, 2),
    RequestKind("oversized", 413),
    RequestKind("not JSON", 400),
    RequestKind("unknown model", 404),
    RequestKind("hung up", None),
)

LENGTH_FIELD = range(12, 16)
"""Where a packet says how long it is (docs/format.md): a bit flipped there may be 413 instead of 400."""

CLIENTS = 8
SAMPLES = 100


class Visitor:
    """A client that sends requests of all kinds over one connection after the other."""

    def __init__(self, address: Address, bundle: Bundle, packets: list[bytes], number: int):
        self._address, self._bundle, self._packets, self._name = address, bundle, packets, f"visitor-{number}"
        self._dice, self._frames = random.Random(number), 0
        self._link = HTTPConnection(address.host, address.port, address.timeout)
        self._last = ("", packets[0])
        self.unexpected: Counter[str] = Counter()

    def visit(self, kind: RequestKind) -> None:
        """Send one request of a kind; an answer other than its ``status`` is counted."""
        status = self._ask(kind.name)
        if status != kind.status:
            self.unexpected[f"{kind.name}: {status}"] += 1

    def new_frame(self) -> None:
        """A frame that the server has to decode and remember."""
        self.visit(NEW_FRAME)

    def _ask(self, kind: str) -> int | None:
        dice, packet = self._dice, self._dice.choice(self._packets)
        if kind == "new frame":
            self._frames += 1
            self._last = f"{self._name}-{self._frames}", packet
        if kind in ("new frame", "repeated"):
            return self._send(*request(*self._last))
        if kind == "truncated":
            return self._send(*request("x", packet[: dice.randrange(len(packet))]))
        if kind == "flipped bit":
            place = dice.choice([n for n in range(len(packet)) if n not in LENGTH_FIELD])
            flipped = packet[:place] + bytes([packet[place] ^ 1 << dice.randrange(8)]) + packet[place + 1 :]
            return self._send(*request("x", flipped))
        if kind == "random bytes":
            return self._send(*request("x", dice.randbytes(dice.randrange(1, 5000))))
        if kind == "sealed nonsense":
            payload = dice.randbytes(dice.randrange(1, len(packet) - MAX_OVERHEAD)) + b"\1"
            return self._send(*request("x", Packet(self._bundle.id, Flags.NONE, payload).to_bytes()))
        if kind == "oversized":
            return self._send(b"", {"Content-Length": str(10**9)})
        if kind == "not JSON":
            return self._send(dice.randbytes(500), {})
        if kind == "unknown model":
            return self._send(*request("x", packet), model="no-such-model")
        whole = post(*request("x", packet))
        with socket.create_connection((self._address.host, self._address.port)) as connection:
            connection.sendall(whole[: dice.randrange(len(whole))])
        return None

    def _send(self, content: bytes, headers: dict[str, str], model: str = MODEL) -> int:
        try:
            self._link.request("POST", f"/v2/models/{model}/infer", content, headers)
            answer = self._link.getresponse()
            answer.read()
        except (HTTPException, OSError):
            self._link.close()
            raise
        return answer.status

    def close(self) -> None:
        """Hang up."""
        self._link.close()


def measure(server: ServerProcess, bundle: Bundle, packets: list[bytes], requests: int) -> dict[str, Any]:
    """The row of ``memory``: resident bytes after the warm-up, and then a hundred times.

    The warm-up sends as many new frames as the server remembers answers, then a twentieth of the mix. What
    has to grow has grown by then; what grows further is a leak.
    growth: the largest size after the warm-up over the size at its end, less 1.
    """
    visitors = [Visitor(server.address, bundle, packets, number) for number in range(CLIENTS)]
    process, kinds = psutil.Process(server.pid), [kind for kind in MIX for _ in range(kind.share)]
    remembered = min(Options.remember, requests)
    together(visitors, remembered, lambda visitor, _: visitor.new_frame())
    together(visitors, requests // 20, lambda visitor, number: visitor.visit(kinds[number % len(kinds)]))
    begin, samples = process.memory_info().rss, []
    order = random.Random(0)
    for _ in range(SAMPLES):
        drawn = order.choices(kinds, k=max(1, requests // SAMPLES))
        together(visitors, len(drawn), lambda visitor, number, drawn=drawn: visitor.visit(drawn[number]))  # type: ignore[misc]
        samples.append(process.memory_info().rss)
    unexpected = sum((visitor.unexpected for visitor in visitors), Counter[str]())
    for visitor in visitors:
        visitor.close()
    return {
        "section": "memory", "requests": SAMPLES * max(1, requests // SAMPLES), "warm_up_frames": remembered,
        "of_twenty": {kind.name: kind.share for kind in MIX}, "unexpected": dict(unexpected),
        "rss_mb_warm": begin / 1e6, "rss_mb": [round(rss / 1e6, 2) for rss in samples],
        "growth": max(samples) / begin - 1,
    }  # fmt: skip
