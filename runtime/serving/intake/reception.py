"""Requests in reception: bounded in bytes, all together, and each in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from runtime.errors import Crowded, TooSlow


class Reception:
    """What is being received, by all clients together. Only the event loop's thread may use it.

    Where requests would need more than ``most`` bytes, the largest is turned away, among equals the oldest.
    An honest request is small and here within milliseconds, so it stays while those that never end give way.

    Args:
        most: bytes.
        patience: seconds in which a request is not turned away for one of its own size or a larger one; the
            newcomer is, unread. 0: the newcomer is always welcome.

    Attributes:
        held: bytes that the requests in reception need when they are here.
    """

    def __init__(self, most: int, patience: float = 0.0):
        self.held = 0
        self._most, self._patience = most, patience
        self._sizes: dict[asyncio.Task[bytes], int] = {}
        self._since: dict[asyncio.Task[bytes], float] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    async def receive(
        self, read: Callable[[], Coroutine[Any, Any, bytes]], size: int, seconds: float
    ) -> bytes:
        """What ``read`` returns, at most ``size`` bytes. Raises Crowded, TooSlow, or what ``read`` raises."""
        self._make_room(size)
        task = asyncio.ensure_future(read())
        self._sizes[task], self._since[task] = size, asyncio.get_running_loop().time()
        self.held += size
        try:
            await asyncio.wait([task], timeout=seconds)
            if task not in self._sizes:
                raise _crowded()
            if not task.done():
                raise TooSlow(f"not received within {seconds:g} s")
            return task.result()
        finally:
            task.cancel()
            self._forget(task)

    def _make_room(self, size: int) -> None:
        while self._sizes and self.held + size > self._most:
            largest = max(self._sizes, key=self._sizes.__getitem__)
            age = asyncio.get_running_loop().time() - self._since[largest]
            if size >= self._sizes[largest] and age < self._patience:
                raise _crowded()
            self._forget(largest)
            largest.cancel()

    def _forget(self, task: asyncio.Task[bytes]) -> None:
        self.held -= self._sizes.pop(task, 0)
        self._since.pop(task, None)


def _crowded() -> Crowded:
    return Crowded("too much is being received at the moment: try later")
