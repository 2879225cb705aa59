"""Answers to the frames of a while ago: at-least-once from the device becomes exactly-once in the counts."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable

from runtime.serving.answer import Answer

Key = tuple[str, bytes]


class Recent:
    """The last ``capacity`` requests that had an id, and their answers, given or on the way.

    A key is the id *and* the packet's SHA-256, so two clients that count their frames alike never get each
    other's answers. A request that failed is forgotten: the next one with its id is tried.
    """

    def __init__(self, capacity: int):
        self._capacity = capacity
        self._answers: OrderedDict[Key, asyncio.Future[Answer]] = OrderedDict()

    def find(
        self, identity: str, packet: bytes, ask: Callable[[], asyncio.Future[Answer]]
    ) -> tuple[asyncio.Future[Answer], bool]:
        """The answer to a request, and whether it is a repetition; ``ask`` is called where it is not."""
        if not identity:
            return ask(), False
        key = identity, hashlib.sha256(packet).digest()
        known = self._answers.get(key)
        if known is not None:
            self._answers.move_to_end(key)
            return known, True
        future = self._answers[key] = ask()
        future.add_done_callback(lambda done: self._settle(key, done))
        if len(self._answers) > self._capacity:
            self._answers.popitem(last=False)
        return future, False

    def _settle(self, key: Key, done: asyncio.Future[Answer]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._answers.get(key) is done:
            del self._answers[key]
