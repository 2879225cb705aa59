"""Several servers that take the same packets: which of them is asked next.

Packets stand alone, so any server may take any frame, and none must be the one that took the last. A server
that works is kept. One that fails is left alone for a while, and the others are asked.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import StreamError
from runtime.streaming.remote.address import Address
from runtime.streaming.remote.answers import Ended
from runtime.streaming.remote.attempts import POLL_SECONDS, STAGGER_SECONDS, first_connected

FIRST_SECONDS, MOST_SECONDS, SLOW_SECONDS = 0.05, 1.0, 30.0
"""First and longest time for which a server is left alone after a failure; times double. The last is the
longest after what costs much or does not pass soon: silence, or an answer of no tail server."""

ASKED_SECONDS = 50.0
"""Longest time that a server may ask for."""

MOST_SERVERS = 100


@dataclass(frozen=True)
class Place:
    """A server: an address, and one of the records of its name as ``socket.getaddrinfo`` has it."""

    address: Address
    record: tuple[Any, ...]

    def __str__(self) -> str:
        where = self.record[4][0]
        return self.address.url if where == self.address.name else f"{self.address.url} ({where})"


@dataclass
class _Failures:
    count: int = 0
    due: float = 0.0


class Fleet:
    """Servers in the order in which they are tried. Thread-safe.

    The records of one name have no order, so each client draws one: a name spreads devices over its servers.

    Args:
        addresses: one at least, with one time-out.

    Attributes:
        moved: called when a connection leads to another server than the last one did.
    """

    def __init__(self, addresses: Sequence[Address]):
        self.addresses, self.timeout = tuple(addresses), addresses[0].timeout
        self.moved: Callable[[], None] = lambda: None
        self._lock = threading.Condition()
        self._lookups = [_Lookup(address, self._lock) for address in addresses]
        self._failures: dict[Place, _Failures] = {}
        self._strangers: set[Address] = set()
        self._known: list[Place] = []
        self._away: set[Place] = set()
        self._last: Place | None = None
        self._seed = random.random()

    @classmethod
    def of(cls, text: str, timeout: float, *pem: Path | None) -> Fleet:
        """Parse addresses as ``Address.of`` does, with commas between them. Raises StreamError."""
        found = [Address.of(part.strip(), timeout, *pem) for part in text.split(",")]
        if len(found) > MOST_SERVERS:
            raise StreamError(f"{len(found)} servers: a name with several records takes any number")
        return cls(list(dict.fromkeys(found)))

    @property
    def url(self) -> str:
        """The addresses in the form that ``of`` parses."""
        return ",".join(address.url for address in self.addresses)

    @property
    def alone(self) -> bool:
        """Whether there is no more than one server."""
        return len(self._known) <= 1

    def connect(self, ended: threading.Event) -> tuple[socket.socket, Place]:
        """Connect to the first server that lets us in, without TLS yet.

        The one that was connected last is tried first, and the next begin soon after it. Servers that failed
        lately come last, and not before they are due.

        Raises OSError when no name resolves or no server lets us in, or Ended soon after ``ended`` is set.
        """
        places = self._places(ended)
        with self._lock:
            now, last = time.monotonic(), self._last
            places.sort(
                key=lambda place: (max(now, self._due(place)), place in self._failures, place != last)
            )
            due = [self._due(place) for place in places]
        connection, number = first_connected([place.record for place in places], self.timeout, ended, due)
        with self._lock:
            self._last, place = places[number], places[number]
            self._away = set(places[:number])  # they had more time
        if last not in (None, place):
            self.moved()
        return connection, place

    def answered(self, place: Place) -> None:
        """Note that a server works."""
        place.address.known.set()
        with self._lock:
            self._failures.pop(place, None)

    def failed(self, place: Place, slow: bool = False, asked: float | None = None) -> float | None:
        """Leave a server alone for a while, if another one may be there.

        Args:
            slow: the failure cost much time, or is one that does not pass soon.
            asked: seconds that the server asks for.

        Returns the seconds until a server is due, 0 where another one is; None where no other one is there.
        """
        with self._lock:
            others = [other for other in self._known if other != place and other not in self._away]
            if not others:
                return None
            now = time.monotonic()
            failures = self._failures.setdefault(place, _Failures())
            if now >= failures.due:  # else a connection of before: the same failure
                most = SLOW_SECONDS if slow else MOST_SECONDS
                pause = min(FIRST_SECONDS * 2.0 ** min(failures.count, 16), most)
                failures.count, failures.due = failures.count + 1, now + pause * random.uniform(0.5, 1.0)
            failures.due = max(failures.due, now + min(asked or 0.0, ASKED_SECONDS))
            return max(0.0, min(self._due(other) for other in [place, *others]) - now)

    def distrusts(self, address: Address) -> bool:
        """Note a certificate that is not trusted; True where no server of the fleet is left, or was known."""
        with self._lock:
            self._strangers.add(address)
            return self._strangers >= set(self.addresses) and not any(
                a.known.is_set() for a in self.addresses
            )

    def _places(self, ended: threading.Event) -> list[Place]:
        """Every server, in order, once a name is resolved and the others have had their time."""
        with self._lock:
            for lookup in self._lookups:
                lookup.begin()
            deadline = time.monotonic() + STAGGER_SECONDS
            while any(lookup.running for lookup in self._lookups):
                left = deadline - time.monotonic()
                if ended.is_set():
                    raise Ended
                if left <= 0 and any(lookup.records for lookup in self._lookups):
                    break
                self._lock.wait(min(left, POLL_SECONDS) if left > 0 else POLL_SECONDS)
            places = [
                Place(lookup.address, record) for lookup in self._lookups for record in self._drawn(lookup)
            ]
            if not places:
                raise next(lookup.error for lookup in self._lookups if lookup.error is not None)
            self._failures = {place: self._failures[place] for place in places if place in self._failures}
            self._known = places.copy()
            return places

    def _due(self, place: Place) -> float:
        return self._failures[place].due if place in self._failures else 0.0

    def _drawn(self, lookup: _Lookup) -> list[tuple[Any, ...]]:
        """The records of one name: families as the system orders them, each in an order of our own."""
        families = list(dict.fromkeys(record[0] for record in lookup.records))
        return sorted(
            lookup.records, key=lambda record: (families.index(record[0]), hash((self._seed, record)))
        )


class _Lookup:
    """Looks a name up in a thread of its own: a name server that is away may hold it for long.

    The caller of ``begin`` holds ``changed``, which is told of each end.
    """

    def __init__(self, address: Address, changed: threading.Condition):
        self.address, self.running = address, False
        self.records: list[tuple[Any, ...]] = []
        self.error: OSError | None = None
        self._changed = changed

    def begin(self) -> None:
        if self.address.numeric:  # found at once
            self._run()
        elif not self.running:
            self.running = True
            threading.Thread(target=self._run, name="resolve", daemon=True).start()

    def _run(self) -> None:
        records, error = list[tuple[Any, ...]](), None
        try:
            records = list(dict.fromkeys(self.address.resolve()))
        except OSError as failure:
            error = failure
        with self._changed:
            self.records, self.error, self.running = records, error, False
            self._changed.notify_all()
