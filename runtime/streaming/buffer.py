"""Packets between encoder and link, and the policy when there are too many."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Literal, TypeVar, get_args

Policy = Literal["block", "drop-oldest", "shrink"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

Item = TypeVar("Item")


class Buffer(Generic[Item]):
    """At most ``capacity`` items, first in, first out, between two threads.

    policy: when the buffer is full, ``block`` makes the source wait, so that no frame is lost;
        ``drop-oldest`` drops the oldest frame, so that the frames that are sent are fresh; ``shrink`` does
        the same, but smaller packets keep the buffer from filling (``runtime.streaming.link_budget``).
    """

    def __init__(self, capacity: int, policy: Policy):
        self._capacity, self.policy = capacity, policy
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> Item | None:
        """Add an item. Returns the item that was dropped, if any: the new one itself after ``close``."""
        with self._changed:
            while self.policy == "block" and len(self._items) >= self._capacity and not self._closed:
                self._changed.wait()
            if self._closed:
                return item
            dropped = self._items.popleft() if len(self._items) >= self._capacity else None
            self._items.append(item)
            self._changed.notify_all()
            return dropped

    def get(self) -> Item | None:
        """Wait for the oldest item; None once the buffer is closed and empty."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Take no more items; ``get`` still returns the items in the buffer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
