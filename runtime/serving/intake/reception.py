"""Requests in reception: bounded in bytes, all together, and each in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from runtime.errors import Crowded, TooSlow

Grow = Callable[[int], None]
"""Called with the bytes that have just come."""


class Reception:
    """What is being received, by all clients together. Only the event loop's thread may use it.

    When there are more than ``most`` bytes, the largest request is turned away; among equals the oldest. An
    honest request is small and here within milliseconds, so it stays while those that never end give way.

    Attributes:
        held: bytes of unfinished requests.
    """

    def __init__(self, most: int):
        self.held = 0
        self._most = most
        self._sizes: dict[asyncio.Task[Any], int] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    async def receive(self, read: Callable[[Grow], Awaitable[bytes]], seconds: float) -> bytes:
        """What ``read`` returns. Raises Crowded, TooSlow, or what ``read`` raises.

        read: receives a request, and calls its argument with the bytes of each part.
        """

        async def reading() -> bytes:
            return await read(grow)

        def grow(more: int) -> None:
            if task in self._sizes:
                self._sizes[task] += more
                self.held += more
                self._make_room()

        task = asyncio.ensure_future(reading())
        self._sizes[task] = 0
        try:
            await asyncio.wait([task], timeout=seconds)
            if task not in self._sizes:
                raise Crowded("too much is being received at the moment: try later")
            if not task.done():
                raise TooSlow(f"not received within {seconds:g} s")
            return task.result()
        finally:
            task.cancel()
            self.held -= self._sizes.pop(task, 0)

    def _make_room(self) -> None:
        while self.held > self._most:
            largest = max(self._sizes, key=self._sizes.__getitem__)
            self.held -= self._sizes.pop(largest)
            largest.cancel()
