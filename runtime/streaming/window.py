"""Several frames on their way at a time: as many as the link takes without letting them wait in it.

Over a long way one frame at a time leaves the link idle until its answer is there. Over a thin one a second
frame would only wait behind the first, where it cannot be given up for a fresh one any more. Round trips tell
which it is.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

MOST = 4
"""Frames on their way, unless told otherwise."""

REMEMBERED = 512
"""Round trips, the least of which are taken for ones without waiting. With few of them a link that is a
hundredth too slow is mistaken for a longer way: its queue grows as slowly as the least is forgotten."""

FEW, MANY = 0.5, 0.75
"""Frames that wait in the link: with fewer one more is sent, with more one less."""

PATIENCE = 16
"""Calm round trips, after the first that was not, before one more frame is sent."""

Item = TypeVar("Item")
Sender = TypeVar("Sender")


@dataclass(frozen=True)
class Trip:
    """A frame that was sent once and answered: bytes of its packet, seconds from one to the other."""

    bytes: int
    seconds: float


class Window:
    """How many frames may be on their way, from 1 to ``most``. Thread-safe.

    A frame that did not wait takes no longer than one that is as large or larger. So where w are on their
    way, w (1 - least / round trip) of them wait, the least being that of all that were no smaller; it is kept
    below ``MANY`` (as TCP Vegas does, for packets of one size).

    Attributes:
        size: how many there may be now.
    """

    def __init__(self, most: int = MOST):
        self.size = 1
        self._most, self._inside, self._patience = most, 0, 1
        self._changed = threading.Condition()
        self._trips: deque[Trip] = deque(maxlen=REMEMBERED)
        # Frames that waited in the link, trip by trip since the size has changed.
        self._waiting: deque[float] = deque(maxlen=REMEMBERED)

    def enter(self) -> None:
        """Wait until one more may be sent."""
        with self._changed:
            while self._inside >= self.size:
                self._changed.wait()
            self._inside += 1

    def leave(self, trip: Trip | None) -> None:
        """One has come back; None where its trip says nothing about the link."""
        with self._changed:
            self._inside -= 1
            if trip is not None:
                self._learn(trip)
            self._changed.notify_all()

    def _learn(self, trip: Trip) -> None:
        self._trips.append(trip)
        least = min(other.seconds for other in self._trips if other.bytes >= trip.bytes)
        self._waiting.append(self.size * (1 - least / trip.seconds))
        if len(self._waiting) < 2 * self.size:
            return  # the first ones did not have so many before them
        waiting = min(list(self._waiting)[-self.size :])  # the others may have met a busy server
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
    window: Window,
    take: Callable[[], Item | None],
    send: Callable[[Sender, Item], Trip | None],
) -> None:
    """Send what there is, each item with whichever sender is free; returns when all are done.

    Args:
        senders: one for each item that can be on its way; each gets a thread.
        window: how many of them send at a time.
        take: the next item, waited for, or None after the last; called by one thread at a time, and only when
            the item may be sent at once.
        send: sends it; what ``Window.leave`` is told.

    Raises the first exception of any, at once; the other threads are then left to themselves.
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

    for sender in senders:
        threading.Thread(target=work, args=(sender,), name="send", daemon=True).start()
    for _ in senders:
        failure = done.get()
        if failure is not None:
            raise failure
