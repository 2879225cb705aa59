"""One frame at a time, until it is answered: at least once on the wire, once in the server's counts."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Protocol

from runtime.errors import StreamError
from runtime.streaming.connection import Answer, TryAgain

FIRST_SECONDS, MOST_SECONDS = 0.05, 1.0
"""First pause after a failure, and the longest: they double. A server that returns is found within it."""

STRANGERS = ("CERTIFICATE", "UNKNOWN_CA", "ALERT_ACCESS_DENIED", "WRONG_VERSION_NUMBER", "HTTP_REQUEST")
"""In the reason of a TLS error: not a matter of trying again."""


class Link(Protocol):
    """What a Sender sends over; see ``runtime.streaming.connection.Connection``."""

    def infer(self, identity: str, packet: bytes) -> Answer:
        """Send one packet and wait for its answer."""

    def close(self) -> None:
        """Close; the next ``infer`` connects anew."""


class Sender:
    """Sends frames over one link.

    Args:
        link: whatever it raises but Refused and StreamError is tried again, for ever.
        on_trouble: told each failure in words, before the pause that follows it.
        pause: waits so many seconds.
    """

    def __init__(
        self,
        link: Link,
        on_trouble: Callable[[str], None] = lambda _: None,
        pause: Callable[[float], None] = time.sleep,
    ):
        self._link, self._on_trouble, self._pause = link, on_trouble, pause

    def send(self, identity: str, packet: bytes) -> tuple[Answer, int]:
        """The answer to a frame, and how often it was sent.

        Every repetition has the same id, by which the server knows it. Raises Refused when the server does
        not take the frame, and StreamError when server and client do not trust each other.
        """
        attempts, delay = 0, FIRST_SECONDS
        while True:
            attempts += 1
            try:
                return self._link.infer(identity, packet), attempts
            except TryAgain as error:
                self._on_trouble(f"server says {error}")
                self._pause(max(delay, error.seconds or 0.0) * random.uniform(1.0, 1.2))
            except (OSError, HTTPException) as error:
                self._link.close()
                _check_trust(error)
                self._on_trouble(f"{type(error).__name__}: {error}")
                self._pause(delay * random.uniform(0.5, 1.0))  # or all devices come back at the same moment
            delay = min(2 * delay, MOST_SECONDS)


def _check_trust(error: Exception) -> None:
    """Raises StreamError where no repetition will help."""
    reason = str(getattr(error, "reason", None) or "").upper()
    if isinstance(error, ssl.SSLError) and any(word in reason for word in STRANGERS):
        raise StreamError(f"server and client do not trust each other: {error}") from error
