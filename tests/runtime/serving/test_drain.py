"""The drain waits for what was accepted, and not longer than it may."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.bundle import Bundle, load
from runtime.errors import TryLater
from runtime.json_log import JsonLog
from runtime.serving.models import Models
from runtime.serving.options import Options
from runtime.serving.pool import Readers
from runtime.serving.protocol import ANY_BUNDLE, Request
from runtime.serving.service import Service
from runtime.tail import Received

Open = Callable[[float], Service]


class Held:
    """Every worker stops before it reads, until ``go_on`` is set or 10 seconds have passed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.inside, self.go_on = threading.Event(), threading.Event()
        read = Readers.read

        def wait(readers: Readers, bundle: Bundle, packet: bytes) -> Received:
            self.inside.set()
            self.go_on.wait(10)
            return read(readers, bundle, packet)

        monkeypatch.setattr(Readers, "read", wait)


@pytest.fixture
def open_service(tiny_bundles: dict[str, Path], tmp_path: Path) -> Iterator[Open]:
    """Opens a service of one worker with a drain of so many seconds; it is closed whatever happens."""
    opened = []
    log = JsonLog(tmp_path / "log.jsonl")

    def begin(drain: float) -> Service:
        options = Options((tiny_bundles["fp"],), drain=drain, timeout=20.0)
        opened.append(Service(Models([load(tiny_bundles["fp"])]), options, log))
        return opened[-1]

    yield begin
    for service in opened:
        service.close()
    log.close()


async def drained(service: Service, packet: bytes, held: Held, release_after: float | None) -> float:
    """Seconds that the drain takes with one frame in a worker; the worker is released at the end."""
    task = asyncio.create_task(service.infer(Request(ANY_BUNDLE, "", packet), "http"))
    assert await asyncio.to_thread(held.inside.wait, 5)
    if release_after is not None:
        asyncio.get_running_loop().call_later(release_after, held.go_on.set)
    begin = time.monotonic()
    try:
        await asyncio.wait_for(service.drain(), 5)
        seconds = time.monotonic() - begin
        with pytest.raises(TryLater):
            await service.infer(Request(ANY_BUNDLE, "", packet), "http")
        assert service.pending == (release_after is None)
    finally:
        held.go_on.set()
    assert (await task).raw.shape == (10,)
    return seconds


@pytest.mark.parametrize(("drain", "release_after"), [(0.2, None), (4.0, 0.2)])
def test_a_held_worker_does_not_hold_the_drain_up_and_a_quick_one_ends_it(
    open_service: Open,
    packets: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    drain: float,
    release_after: float | None,
) -> None:
    service = open_service(drain)
    seconds = asyncio.run(drained(service, packets["fp"], Held(monkeypatch), release_after))
    assert 0.15 <= seconds < 2
