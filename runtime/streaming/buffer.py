"""Packets between the encoder and the link, and what happens when there are too many."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, Literal, TypeVar, get_args

Policy = Literal["block", "drop-oldest", "shrink"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

Item = TypeVar("Item")


class Buffer(Generic[Item]):
    """At most ``capacity`` items, first in, first out, between two threads.

    policy: when it is full, ``block`` makes the source wait, so that nothing is lost; ``drop-oldest`` gives
        up what has waited longest, so that what is sent is fresh, and so does ``shrink``, which keeps the
        buffer from getting there (``runtime.streaming.link_budget``).
    """

    def __init__(self, capacity: int, policy: Policy):
        self._capacity, self.policy = capacity, policy
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> Item | None:
        """Add an item; the one that was given up for it, if any: itself once the buffer is closed."""
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
        """The oldest item, waited for; None once the buffer is closed and empty."""
        with self._changed:
            while not self._items and not self._closed:
                self._changed.wait()
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more items are to come; what is in it can still be got."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
