"""The in-flight window: as many unanswered frames at a time as the link takes without a queue in it.

Over a link with a long delay, one frame at a time leaves the link idle until its answer comes. Over a thin
link a second frame would only wait behind the first, where no fresher frame can replace it. Round trips tell
which link it is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

MOST = 4
"""Most frames in flight, by default."""

REMEMBERED = 512
"""Round trips in memory; the shortest count as trips without a queue. With few of them, a link that is one
per cent too slow looks like a longer one: its queue grows as slowly as the shortest trip is forgotten."""

FEW, MANY = 0.5, 0.75
"""Frames that wait in the link: below the first the window grows, above the second it shrinks."""

PATIENCE = 16
"""Round trips without a queue before the window grows, once it has shrunk."""

JOIN_SECONDS = 2.0
"""Longest wait for threads that send, once one of them has failed: a name server may hold one for longer."""

Item = TypeVar("Item")
Sender = TypeVar("Sender")


@dataclass(frozen=True)
class RoundTrip:
    """A frame that was sent once and answered: bytes of its packet, seconds from sending to the answer."""

    bytes: int
    seconds: float


class InFlightWindow:
    """How many frames may be in flight, from 1 to ``most``. Thread-safe.

    A frame that does not wait takes no longer than a frame of the same size or larger. With w frames in
    flight, w (1 - shortest / round trip) of them wait; the shortest trip is that of all frames no smaller.
    The window keeps this number below ``MANY``, as TCP Vegas does for packets of one size.

    Attributes:
        size: frames that may be in flight now.
    """

    def __init__(self, most: int = MOST):
        self.size = 1
        self._most, self._inside, self._patience = most, 0, 1
        self._changed = threading.Condition()
        self._trips: deque[RoundTrip] = deque(maxlen=REMEMBERED)
        # Frames that waited in the link, trip by trip since the last change of size.
        self._waiting: deque[float] = deque(maxlen=REMEMBERED)

    def enter(self) -> None:
        """Wait until one more frame may be in flight."""
        with self._changed:
            while self._inside >= self.size:
                self._changed.wait()
            self._inside += 1

    def leave(self, trip: RoundTrip | None) -> None:
        """A frame is answered; None where its trip says nothing about the link."""
        with self._changed:
            self._inside -= 1
            if trip is not None:
                self._learn(trip)
            self._changed.notify_all()

    def forget(self) -> None:
        """The frames go to another server: trips so far say nothing about the way to it."""
        with self._changed:
            self._trips.clear()
            self._waiting.clear()

    def _learn(self, trip: RoundTrip) -> None:
        self._trips.append(trip)
        least = min(other.seconds for other in self._trips if other.bytes >= trip.bytes)
        self._waiting.append(self.size * (1 - least / trip.seconds))
        if len(self._waiting) < 2 * self.size:
            return  # the first frames had fewer in front of them
        waiting = min(list(self._waiting)[-self.size :])  # the other trips may have met a busy server
        if waiting > MANY and self.size > 1:
            self._patience = PATIENCE
            self._resize(self.size - 1)
        elif waiting < FEW and self.size < self._most and len(self._waiting) >= self._patience:
            self._resize(self.size + 1)

    def _resize(self, size: int) -> None:
        self.size = size
        self._waiting.clear()


def send_all(
    senders: Sequence[Sender],
    window: InFlightWindow,
    take: Callable[[], Item | None],
    send: Callable[[Sender, Item], RoundTrip | None],
    end: Callable[[], None] | None = None,
) -> None:
    """Send items with whichever sender is free; returns when all are done.

    Args:
        senders: one for each item that may be in flight; each gets a thread.
        window: how many of them send at a time.
        take: waits for the next item and returns it, None after the last. One thread at a time calls it, and
            only when the item may be sent at once.
        send: sends an item; returns what ``InFlightWindow.leave`` is told.
        end: called after a failure, to make ``take`` and ``send`` return soon.

    Raises the first exception of any sender; the other threads then have ``JOIN_SECONDS`` to end.
    """
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    turn = threading.Lock()

    def one(sender: Sender) -> bool:
        trip = None
        window.enter()
        try:
            with turn:
                item = take()
            if item is not None:
                trip = send(sender, item)
            return item is not None
        finally:
            window.leave(trip)

    def work(sender: Sender) -> None:
        try:
            while one(sender):
                pass
        except BaseException as error:
            done.put(error)
        else:
            done.put(None)

    threads = [threading.Thread(target=work, args=(sender,), name="send", daemon=True) for sender in senders]
    for thread in threads:
        thread.start()
    try:
        for _ in senders:
            failure = done.get()
            if failure is not None:
                raise failure
    except BaseException:
        if end is not None:
            end()
            _join(threads)
        raise
    _join(threads)


def _join(threads: Sequence[threading.Thread]) -> None:
    deadline = time.monotonic() + JOIN_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
