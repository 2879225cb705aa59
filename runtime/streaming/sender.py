"""Sends a frame until it is answered: at least once on the wire, once in the server's counts."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Protocol

from runtime.errors import StreamError
from runtime.streaming.connection import ServerAnswer, TryAgain

FIRST_SECONDS, MOST_SECONDS = 0.05, 1.0
"""First and longest pause after a failure; pauses double."""

FATAL_TLS = ("CERTIFICATE", "UNKNOWN_CA", "ALERT_ACCESS_DENIED", "WRONG_VERSION_NUMBER", "HTTP_REQUEST")
"""Words in the reason of a TLS error that no repetition will change."""


class Link(Protocol):
    """A way to a server that a Sender uses; ``runtime.streaming.connection.Connection`` is one."""

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        """Send one packet and wait for its answer."""

    def close(self) -> None:
        """Close; the next ``infer`` connects anew."""


@dataclass(frozen=True)
class Delivery:
    """The answer to a frame. attempts: how often the frame was sent, 1 or more."""

    answer: ServerAnswer
    attempts: int


class Sender:
    """Sends frames over one link.

    Args:
        link: every failure of it is tried again, for ever, except Refused and StreamError.
        on_trouble: called with each failure in words, before the pause after it.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        link: Link,
        on_trouble: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = time.sleep,
    ):
        self._link, self._on_trouble, self._pause = link, on_trouble, pause

    def send(self, identity: str, packet: bytes) -> Delivery:
        """Send one frame until it is answered.

        Every repetition has the same id, so the server counts the frame once. Raises Refused when the server
        does not take the frame, StreamError when server and client do not trust each other.
        """
        attempts, delay = 0, FIRST_SECONDS
        while True:
            attempts += 1
            try:
                return Delivery(self._link.infer(identity, packet), attempts)
            except TryAgain as error:
                self._on_trouble(f"server says {error}")
                self._pause(max(delay, error.seconds or 0.0) * random.uniform(1.0, 1.2))
            except (OSError, HTTPException) as error:
                self._link.close()
                _check_trust(error)
                self._on_trouble(f"{type(error).__name__}: {error}")
                self._pause(
                    delay * random.uniform(0.5, 1.0)
                )  # random, or all devices would return at one moment
            delay = min(2 * delay, MOST_SECONDS)


def _check_trust(error: Exception) -> None:
    """Raise StreamError where no repetition will help."""
    reason = str(getattr(error, "reason", None) or "").upper()
    if isinstance(error, ssl.SSLError) and any(word in reason for word in FATAL_TLS):
        raise StreamError(f"server and client do not trust each other: {error}") from error
