"""Attempts to connect to several places at a time: the first to succeed is taken."""

from __future__ import annotations

import errno
import math
import os
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

from runtime.streaming.remote.answers import Ended

PROBE_SECONDS = 1.0
"""A further attempt begins after so long. The system repeats an attempt with doubled pauses, so that alone it
would find a server that returns much too late."""

STAGGER_SECONDS = 0.25
"""Pause between the first attempts at several places (RFC 8305)."""

POLL_SECONDS = 0.2
"""Longest wait that does not notice the client's end."""


def first_connected(
    found: Sequence[tuple[Any, ...]], timeout: float, ended: threading.Event, due: Sequence[float] = ()
) -> tuple[socket.socket, int]:
    """The first connection of several attempts, and its place in ``found``; the others are closed.

    The first attempt at each place may take ``timeout`` seconds, as over a satellite. Beside it a fresh one
    begins every ``PROBE_SECONDS``, which finds a server that was away soon after its return.

    Args:
        found: places as ``socket.getaddrinfo`` has them, the best first.
        due: for each place the monotonic time before which it is left alone; the first is never left alone.

    Raises OSError when every place that is due refuses, TimeoutError, or Ended.
    """
    with selectors.DefaultSelector() as selector:
        attempts = _Attempts(found, due or [0.0] * len(found), selector)
        try:
            return attempts.run(timeout, ended)
        finally:
            attempts.close()


class _Attempts:
    """Attempts to connect that are under way: for each place a patient one and a probe."""

    def __init__(
        self, found: Sequence[tuple[Any, ...]], due: Sequence[float], selector: selectors.DefaultSelector
    ):
        self._found, self._due, self._selector = found, due, selector
        self._failed: dict[int, OSError] = {}
        self._probes: dict[int, socket.socket] = {}
        self._begun = 0

    def run(self, timeout: float, ended: threading.Event) -> tuple[socket.socket, int]:
        now = time.monotonic()
        deadline, stagger, probe = now + timeout, now, now + PROBE_SECONDS
        while not ended.is_set():
            if now >= deadline:
                raise TimeoutError(f"no connection within {timeout:g} s")
            if self._next <= now and (now >= stagger or not self._selector.get_map()):
                self._begin(self._begun)
                self._begun, stagger = self._begun + 1, now + STAGGER_SECONDS
                continue
            if len(self._failed) == self._begun:
                raise self._failed[max(self._failed)]
            if now >= probe:
                self._probe()
                probe = now + PROBE_SECONDS
            until = min(deadline, probe, now + POLL_SECONDS, max(stagger, self._next))
            connected = self._wait(max(0.0, until - now))
            if connected is not None:
                return connected
            now = time.monotonic()
        raise Ended

    @property
    def _next(self) -> float:
        """When the next place is due."""
        if self._begun == len(self._found):
            return math.inf
        return self._due[self._begun] if self._begun else 0.0

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            self._drop(key)

    def _begin(self, place: int) -> socket.socket | None:
        family, kind, protocol, _, where = self._found[place]
        try:
            attempt = socket.socket(family, kind, protocol)
        except OSError as error:  # a family that this machine lacks
            self._failed[place] = error
            return None
        attempt.setblocking(False)
        code = attempt.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            attempt.close()
            self._failed[place] = OSError(code, os.strerror(code))
            return None
        self._selector.register(attempt, selectors.EVENT_WRITE, place)
        return attempt

    def _probe(self) -> None:
        for place in range(self._begun):
            self._failed.pop(place, None)  # while others are waited for, it may have come back
            last = self._probes.pop(place, None)
            if last is not None:
                self._drop(self._selector.get_key(last))
            fresh = self._begin(place)
            if fresh is not None:
                self._probes[place] = fresh

    def _wait(self, seconds: float) -> tuple[socket.socket, int] | None:
        for key, _ in self._selector.select(seconds):
            attempt = key.fileobj
            assert isinstance(attempt, socket.socket)
            code = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                self._selector.unregister(attempt)
                return attempt, key.data
            self._failed[key.data] = OSError(code, os.strerror(code))
        for key in list(self._selector.get_map().values()):
            if key.data in self._failed:
                self._probes.pop(key.data, None)
                self._drop(key)
        return None

    def _drop(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
