"""Capture and encode the next frame while one is being sent."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runtime.errors import ImageError
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming.buffer import Buffer
from runtime.streaming.connection import Refused
from runtime.streaming.sender import Sender
from runtime.streaming.source import Shot
from runtime.streaming.status import Totals


@dataclass(frozen=True)
class Encoded:
    """A frame that is ready to be sent. captured: ``time.perf_counter()`` when it was taken."""

    name: str
    identity: str
    packet: bytes
    rung: str
    captured: float


class Pipeline:
    """Two threads: one captures and encodes, the caller's sends. Use once.

    Args:
        frames: what to send, in order.
        head: not to be used elsewhere meanwhile.
        sender: of this pipeline alone.
        log: gets a line for each frame.

    Attributes:
        totals: so far.
    """

    def __init__(
        self, frames: Iterator[Shot], head: Head, sender: Sender, buffer: Buffer[Encoded], log: JsonLog
    ):
        self.totals = Totals()
        self._frames, self._head, self._sender, self._buffer, self._log = frames, head, sender, buffer, log
        self._session = secrets.token_hex(8)
        self._failure: BaseException | None = None

    def run(self, on_progress: Callable[[Totals], None] = lambda _: None) -> None:
        """Send every frame; ``on_progress`` is called after each. Raises what source, head, sender raise."""
        producer = threading.Thread(target=self._produce, name="encode", daemon=True)
        producer.start()
        try:
            while (frame := self._buffer.get()) is not None:
                self._send(frame)
                on_progress(self.totals)
        finally:
            self._buffer.close()
        producer.join()
        if self._failure is not None:
            raise self._failure

    def _produce(self) -> None:
        try:
            for number, shot in enumerate(self._frames):
                dropped = self._encode(number, shot)
                if dropped is not None:
                    self.totals.dropped += 1
                    self._log("dropped", frame=dropped.name, id=dropped.identity)
        except BaseException as error:
            self._failure = error
        finally:
            self._buffer.close()

    def _encode(self, number: int, shot: Shot) -> Encoded | None:
        """Put one frame into the buffer; the one that was given up for it."""
        captured = time.perf_counter()
        self.totals.captured += 1
        try:
            packet = self._head.encode(shot.read())
        except ImageError as error:
            self.totals.unreadable += 1
            self._log("unreadable", frame=shot.name, error=str(error))
            return None
        assert self._head.report is not None
        decision = self._head.report.decision
        self.totals.defended += decision.defended
        identity = f"{self._session}-{number}"
        return self._buffer.put(Encoded(shot.name, identity, packet.to_bytes(), decision.rung, captured))

    def _send(self, frame: Encoded) -> None:
        about = {"frame": frame.name, "id": frame.identity, "bytes": len(frame.packet), "rung": frame.rung}
        try:
            answer, attempts = self._sender.send(frame.identity, frame.packet)
        except Refused as error:
            self.totals.refused += 1
            self._log("refused", **about, error=str(error))
            return
        self.totals.answered += 1
        self.totals.repeated += attempts - 1
        self.totals.bytes += len(frame.packet)
        self.totals.seconds = time.perf_counter() - frame.captured
        self._log(
            "answered", **about, attempts=attempts, ms=round(1e3 * self.totals.seconds, 3),
            classes=answer.classes, probabilities=[round(p, 6) for p in answer.probabilities],
        )  # fmt: skip
