"""Sends a frame until it is answered: at least once on the wire, once in the server's counts."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Protocol

from runtime.streaming.remote.answers import Elsewhere, Ended, ServerAnswer, TryAgain

FIRST_SECONDS, MOST_SECONDS = 0.05, 1.0
"""First and longest pause after a failure; pauses double."""

ODD_SECONDS = 30.0
"""Longest pause after what no tail server answers: a login page does not pass within seconds."""

LATER_SECONDS = 50.0
"""Longest pause that a server may ask for; with the random part it is at most a minute."""


class Link(Protocol):
    """A way to a server that a Sender uses; ``runtime.streaming.connection.Connection`` is one."""

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        """Send one packet and wait for its answer."""

    def close(self) -> None:
        """Close; the next ``infer`` connects anew."""


@dataclass(frozen=True)
class Ending:
    """The two steps in which a client ends. soon: no more frames are captured; now: none is sent any more."""

    soon: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Delivery:
    """The answer to a frame. attempts: how often the frame was sent, 1 or more."""

    answer: ServerAnswer
    attempts: int


class Sender:
    """Sends frames over one link.

    Args:
        link: every failure of it is tried again, for ever, except Refused, StreamError and Ended.
        on_trouble: called with each failure in words, before the pause after it.
        pause: waits so many seconds; None: until ``ended`` at the latest.
        ended: once it is set, ``send`` soon raises Ended.
    """

    def __init__(
        self,
        link: Link,
        on_trouble: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], object] | None = None,
        ended: threading.Event | None = None,
    ):
        self.ended = ended or threading.Event()
        self._link, self._on_trouble, self._pause = link, on_trouble, pause or self.ended.wait

    def send(self, identity: str, packet: bytes) -> Delivery:
        """Send one frame until it is answered.

        Every repetition has the same id, so the server counts the frame once. Raises Refused when the server
        does not take the frame, StreamError when server and client do not trust each other, Ended when the
        client ends before there is an answer.
        """
        attempts, delay, odd_delay = 0, FIRST_SECONDS, FIRST_SECONDS
        while not self.ended.is_set():
            attempts += 1
            try:
                return Delivery(self._link.infer(identity, packet), attempts)
            except Elsewhere as error:
                self._on_trouble(str(error))
                continue
            except TryAgain as error:
                self._on_trouble(str(error))
                if error.odd:
                    odd_delay = min(2 * odd_delay, ODD_SECONDS)
                    self._pause(odd_delay * random.uniform(0.5, 1.0))
                    continue
                asked = min(error.seconds or 0.0, LATER_SECONDS)
                self._pause(max(delay, asked) * random.uniform(1.0, 1.2))
            except (OSError, HTTPException) as error:
                self._link.close()
                self._on_trouble(f"{type(error).__name__}: {error}")
                self._pause(
                    delay * random.uniform(0.5, 1.0)
                )  # random, or all devices would return at one moment
            delay = min(2 * delay, MOST_SECONDS)
        raise Ended
