"""Captures and encodes the next frame while others are in flight."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from runtime.errors import ImageError
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming.buffer import Buffer
from runtime.streaming.dashboard import DeviceView
from runtime.streaming.link_budget import BudgetRange, LinkBudget
from runtime.streaming.remote.answers import Ended, Refused
from runtime.streaming.sender import Delivery, Ending, Sender
from runtime.streaming.source import Shot
from runtime.streaming.spool import Encoded, Spool
from runtime.streaming.status import Totals
from runtime.streaming.window import InFlightWindow, RoundTrip, send_all

FULL_SECONDS = 1.0
"""Pause before a full spool is tried again."""

JOIN_SECONDS, SOURCE_SECONDS = 10.0, 1.0
"""Longest wait for the frame that is being encoded, and for a source that returns none, at the end."""


class StreamPipeline:
    """One thread that captures and encodes, and one thread for each sender. Use it once.

    With several senders, outcomes come in the order of the answers, not of capture.

    Args:
        frames: shots to send, in order.
        head: nobody else may use it meanwhile.
        senders: nobody else may use them; their number is the most frames in flight.
        buffer: with the policy ``shrink`` the head's budget follows the link.
        log: gets a line for each frame.
        spool: keeps frames until they are answered; frames that an earlier client left are sent first.
        on_trouble: called in words when the spool cannot be written.
        view: gets each frame when it is encoded, and again when its outcome is known.
        ending: events that senders and source share with the pipeline.
        drain: seconds for which captured frames are still sent after ``stop``.

    Attributes:
        totals: counts so far.
        stuck: after ``run``, whether the source still holds the thread that captures.
    """

    def __init__(
        self,
        frames: Iterator[Shot],
        head: Head,
        senders: Sequence[Sender],
        buffer: Buffer[Encoded],
        log: JsonLog,
        spool: Spool | None = None,
        on_trouble: Callable[[str], None] = lambda _: None,
        view: DeviceView | None = None,
        ending: Ending | None = None,
        drain: float = 0.0,
    ):
        self.totals, self.stuck = Totals(), False
        self._frames, self._head, self._senders, self._buffer, self._log = frames, head, senders, buffer, log
        self._spool, self._on_trouble, self._view = spool, on_trouble, view
        self._ending, self._drain = ending or Ending(), drain
        self._link = LinkBudget(BudgetRange.of(head)) if buffer.policy == "shrink" else None
        self._window = InFlightWindow(len(senders))
        self._lock = threading.Lock()  # of totals, log, link and outcomes, which all threads write
        self._stops: SimpleQueue[bool] = SimpleQueue()  # True: stop, False: the run is over
        self._in_source, self._over = True, False
        self._session = secrets.token_hex(8)
        self._failure: BaseException | None = None

    def moved(self) -> None:
        """Frames go to another server from now on: learn the way to it anew."""
        self._window.forget()

    def stop(self) -> None:
        """Capture no more frames, and end when the others are sent, or after ``drain`` seconds.

        A second call ends at once. Safe in a signal handler, at any time.
        """
        self._stops.put(True)

    def run(self, on_progress: Callable[[Totals], None] = lambda _: None) -> None:
        """Send every frame, and call ``on_progress`` after each. Raises what source, head or sender raise.

        All threads have ended afterwards, but for a source that does not return (``stuck``).
        """
        left = self._spool.left() if self._spool else iter(())
        producer = threading.Thread(target=self._produce, name="encode", daemon=True)
        watcher = threading.Thread(target=self._watch, name="stop", daemon=True)

        def take_left() -> Encoded | None:
            return None if self._ending.now.is_set() else self._count(next(left, None))

        def send(sender: Sender, frame: Encoded) -> RoundTrip | None:
            trip = self._send(sender, frame)
            with self._lock:
                on_progress(self.totals)
            return trip

        watcher.start()
        try:
            send_all(self._senders, self._window, take_left, send, self._end_now)
            if not self._ending.soon.is_set():
                producer.start()
            send_all(self._senders, self._window, self._buffer.get, send, self._end_now)
        finally:
            self._end_now()
            self._stops.put(False)
            watcher.join()
            if producer.ident is not None:
                producer.join(SOURCE_SECONDS if self._in_source else JOIN_SECONDS)
                self.stuck = producer.is_alive()
            with self._lock:
                self._over = True
        if self._failure is not None:
            raise self._failure

    def _watch(self) -> None:
        """End in two steps: signal handlers can do no more than put something into a queue."""
        if not self._stops.get():
            return
        with self._lock:
            self._ending.soon.set()
            if self._in_source:
                self._buffer.close()
        with contextlib.suppress(Empty):
            if not self._stops.get(timeout=self._drain):
                return
        self._end_now()

    def _end_now(self) -> None:
        self._ending.soon.set()
        self._ending.now.set()
        for sender in self._senders:
            sender.ended.set()
        self._buffer.close()

    def _count(self, left: Encoded | None) -> Encoded | None:
        self.totals.left += left is not None
        return left

    def _produce(self) -> None:
        try:
            for number, shot in enumerate(self._frames):
                with self._lock:
                    if self._ending.soon.is_set():
                        break
                    self._in_source = False
                self._handle(number, shot)
                with self._lock:
                    self._in_source = True
        except BaseException as error:
            self._failure = error
        finally:
            self._in_source = False
            self._buffer.close()

    def _handle(self, number: int, shot: Shot) -> None:
        frame = self._encode(number, shot)
        kept = frame and self._keep(frame)
        given_up = kept and self._buffer.put(kept)
        if given_up is None:
            return
        if given_up is kept:  # the buffer is closed: the client ends
            self._abandon(given_up)
        else:
            self._give_up(given_up)

    def _encode(self, number: int, shot: Shot) -> Encoded | None:
        """Encode one frame; None where the image cannot be read."""
        captured = time.perf_counter()
        self.totals.captured += 1
        if self._link is not None:
            with self._lock:
                self._link.captured(captured)
            self._head.limit(self._link.bytes)
        try:
            image = shot.read()
            packet = self._head.encode(image)
        except ImageError as error:
            self.totals.unreadable += 1
            with self._lock:
                self._log("unreadable", frame=shot.name, error=str(error))
            return None
        assert self._head.report is not None
        decision = self._head.report.decision
        self.totals.defended += decision.defended
        frame = Encoded(shot.name, f"{self._session}-{number}", packet.to_bytes(), decision.rung, captured)
        if self._view is not None:
            self._view.encoded(frame, image, self._head.report)
        return frame

    def _keep(self, frame: Encoded) -> Encoded | None:
        """Write the frame to the spool, if there is one; None where it is full and the source cannot wait."""
        while self._spool is not None:
            try:
                return self._spool.add(frame)
            except OSError as error:
                self._on_trouble(f"spool: {error.strerror}")
                if self._buffer.policy != "block":
                    self._give_up(frame, error=f"spool: {error.strerror}")
                    return None
            if self._ending.now.wait(FULL_SECONDS):
                self._abandon(frame)
                return None
        return frame

    def _abandon(self, frame: Encoded) -> None:
        """The client ends before the frame has an outcome: the spool keeps it for the next client."""
        with self._lock:
            if frame.file is not None:
                self.totals.kept += 1
            else:
                self.totals.unanswered += 1
                self._log("unanswered", frame=frame.name, id=frame.identity)

    def _give_up(self, frame: Encoded, **why: str) -> None:
        with self._lock:
            self.totals.dropped += 1
            self._settle(frame, "dropped", **why)

    def _send(self, sender: Sender, frame: Encoded) -> RoundTrip | None:
        """Send a frame until it has an outcome; its round trip where the first attempt was answered."""
        begin = time.perf_counter()
        try:
            delivery = sender.send(frame.identity, frame.packet)
        except Ended:
            self._abandon(frame)
            return None
        except Refused as error:
            with self._lock:
                self.totals.refused += 1
                about = {"bytes": len(frame.packet), "rung": frame.rung}
                self._settle(frame, "refused", **about, error=str(error))
            return None
        now = time.perf_counter()
        with self._lock:
            if self._link is not None and delivery.attempts == 1:
                self._link.sent(len(frame.packet), (now - begin) / self._window.size)
            self._answered(frame, delivery, now)
        return RoundTrip(len(frame.packet), now - begin) if delivery.attempts == 1 else None

    def _answered(self, frame: Encoded, delivery: Delivery, now: float) -> None:
        self.totals.answered += 1
        self.totals.repeated += delivery.attempts - 1
        self.totals.bytes += len(frame.packet)
        self.totals.seconds = now - frame.captured
        found = {name.removeprefix("top_"): _rounded(v) for name, v in delivery.answer.tensors.items()}
        self._settle(
            frame, "answered", bytes=len(frame.packet), rung=frame.rung, attempts=delivery.attempts,
            ms=round(1e3 * self.totals.seconds, 3), **found,
        )  # fmt: skip

    def _settle(self, frame: Encoded, event: str, **fields: Any) -> None:
        """Write a frame's outcome to log, view and spool; the spool records it before it deletes the frame.

        The caller holds the lock. An answer after the end is left to the next client.
        """
        about = {"frame": frame.name, "id": frame.identity, **fields}
        self._log(event, **about)
        if self._view is not None:
            self._view.settled(frame, event, fields)
        if self._spool is not None and frame.file is not None and not self._over:
            try:
                self._spool.settle(frame, {"event": event, **about})
            except OSError as error:
                self.totals.unrecorded += 1
                self._on_trouble(f"spool: outcome not recorded: {error.strerror}")


def _rounded(values: list[Any]) -> list[Any]:
    """Numbers of an answer as the log has them: to a millionth."""
    return [_rounded(v) if isinstance(v, list) else round(v, 6) for v in values]
