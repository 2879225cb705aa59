"""A thin, slow, lossy link inside the sending process: a token bucket, a delay, lost requests."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.common.errors import BenchError
from runtime.streaming.connection import MODEL, ServerAnswer, request
from runtime.streaming.sender import Link

BURST_BYTES = 1500
"""Bytes that an idle link takes at once: one full Ethernet frame."""

_PART = re.compile(r"(\d+(?:\.\d+)?)(kbit|ms|%loss)")


@dataclass(frozen=True)
class Conditions:
    """kbit_s: rate towards the server. ms: delay each way. loss: probability of each message, 0 .. 1."""

    kbit_s: float
    ms: float = 0.0
    loss: float = 0.0

    @classmethod
    def of(cls, text: str) -> Conditions:
        """As in ``250kbit,80ms,1%loss``; only the rate must be there. Raises BenchError for anything else."""
        parts = [_PART.fullmatch(part) for part in text.split(",")]
        found = {match[2]: float(match[1]) for match in parts if match}
        kbit_s, loss = found.get("kbit", 0.0), found.get("%loss", 0.0) / 100
        if None in parts or len(found) < len(parts) or not kbit_s > 0 or not 0 <= loss < 1:
            raise BenchError(f"{text}: a link is described like 250kbit,80ms,1%loss")
        return cls(kbit_s, found.get("ms", 0.0), loss)


class TokenBucket:
    """Bytes at a rate, with a burst after idling. ``clock`` in seconds. Thread-safe."""

    def __init__(self, kbit_s: float, clock: Callable[[], float] = time.perf_counter):
        self._rate, self._clock = kbit_s * 1000 / 8, clock
        self._tokens, self._then, self._lock = float(BURST_BYTES), clock(), threading.Lock()

    def take(self, size: int) -> float:
        """Send so many bytes now; the seconds until the last of them has left."""
        with self._lock:
            now = self._clock()
            self._tokens = min(BURST_BYTES, self._tokens + (now - self._then) * self._rate) - size
            self._then = now
            return max(0.0, -self._tokens / self._rate)


class EmulatedLink:
    """A link through which each request goes whole, or not at all.

    A request is ``wire_bytes`` long; below HTTP nothing is counted. A loss hits the request, which the server
    then never sees, or the answer, which it has given; the sender waits ``timeout`` seconds and gets a
    TimeoutError. bucket: shared by the connections that share the link; None: this one has it for itself.
    """

    def __init__(
        self,
        link: Link,
        conditions: Conditions,
        timeout: float,
        seed: int = 0,
        pause: Callable[[float], None] = time.sleep,
        bucket: TokenBucket | None = None,
    ):
        self._link, self._conditions, self._timeout, self._pause = link, conditions, timeout, pause
        self._bucket, self._dice = bucket or TokenBucket(conditions.kbit_s), random.Random(seed)

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        """Send one packet and wait for its answer, as ``Connection.infer``."""
        self._pause(self._bucket.take(wire_bytes(identity, packet)) + self._conditions.ms / 1000)
        self._lose()
        answer = self._link.infer(identity, packet)
        self._lose()
        self._pause(self._conditions.ms / 1000)
        return answer

    def close(self) -> None:
        """Close the link behind it."""
        self._link.close()

    def _lose(self) -> None:
        if self._dice.random() < self._conditions.loss:
            self._pause(self._timeout)
            raise TimeoutError("lost on the way")


def over(links: Sequence[Link], conditions: Conditions, timeout: float, seed: int = 0) -> list[Link]:
    """Put connections on one emulated link, which they share."""
    bucket = TokenBucket(conditions.kbit_s)
    return [
        EmulatedLink(link, conditions, timeout, seed + number, bucket=bucket)
        for number, link in enumerate(links)
    ]


def wire_bytes(identity: str, packet: bytes) -> int:
    """Bytes of the HTTP request of one packet, as the client sends it to a host of 14 characters."""
    content, headers = request(identity, packet)
    headers = {"Host": "127.0.0.1:8000", "Accept-Encoding": "identity"} | headers
    lines = [f"POST /v2/models/{MODEL}/infer HTTP/1.1", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return sum(len(line) + 2 for line in lines) + 2 + len(content)
