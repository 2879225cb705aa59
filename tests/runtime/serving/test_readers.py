"""Readers go back after every packet, good or bad, and are warm before the first one; so are the networks."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.bundle import Bundle, load
from runtime.codec.packet import Flags, Packet
from runtime.engines import EngineOptions
from runtime.errors import PacketError
from runtime.serving import pool
from runtime.serving.networks import Networks
from runtime.serving.pool import Pool, Readers, empty_packet
from runtime.tail import PacketReader, Received


class Watched(PacketReader):
    """A reader that is counted, and that writes down what it reads."""

    opened: list[bytes]
    read_in: list[bytes]

    def __init__(self, bundle: Bundle, options: EngineOptions):
        super().__init__(bundle, options)
        self.opened.append(bundle.id)

    def read(self, packet: bytes) -> Received:
        self.read_in.append(packet)
        return super().read(packet)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    Watched.opened, Watched.read_in = [], []
    monkeypatch.setattr(pool, "PacketReader", Watched)
    return Watched


def test_a_bad_packet_costs_no_reader(
    tiny_bundles: dict[str, Path], packets: dict[str, bytes], watched: type[Watched]
) -> None:
    """Twenty bad ones, a good one after each: one reader a bundle all along."""
    bundles = [load(path) for path in tiny_bundles.values()]
    readers = Readers(bundles)
    for number in range(20):
        bundle = bundles[number % 2]
        with pytest.raises(PacketError):
            readers.read(bundle, Packet(bundle.id, Flags.NONE, bytes(12 + number)).to_bytes())
        assert readers.read(bundle, packets[bundle.manifest.prior]).y_hat.any()
    assert watched.opened == [bundle.id for bundle in bundles]


def test_readers_have_read_before_the_first_packet(
    tiny_bundles: dict[str, Path], packets: dict[str, bytes], watched: type[Watched]
) -> None:
    """Each has decoded an empty packet of its bundle: nothing is left to be compiled or allocated."""
    bundles = [load(path) for path in tiny_bundles.values()]
    readers = Readers(bundles)
    empty = [empty_packet(bundle) for bundle in bundles]
    assert watched.read_in == empty
    readers.read(bundles[0], packets[bundles[0].manifest.prior])
    assert watched.read_in == [*empty, packets[bundles[0].manifest.prior]]


@pytest.mark.parametrize("batch", [1, 3])
def test_a_pool_is_warm_before_its_first_job(
    tiny_bundles: dict[str, Path],
    watched: type[Watched],
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
) -> None:
    """Each bundle: its reader has read, and its networks have run with as many frames as they ever will."""
    bundles = [load(path) for path in tiny_bundles.values()]
    runs: list[tuple[str, int]] = []
    run = Networks.run

    def count(
        networks: Networks, of: list[Bundle], latents: list[NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        assert {bundle.manifest.name for bundle in of} == {of[0].manifest.name}
        runs.append((of[0].manifest.name, len(latents)))
        return run(networks, of, latents)

    monkeypatch.setattr(Networks, "run", count)
    Pool(bundles, workers=1, queue=1, batch=batch).close()
    assert runs == [(bundle.manifest.name, batch) for bundle in bundles]
    assert watched.opened == [bundle.id for bundle in bundles]
    for bundle in bundles:
        assert empty_packet(bundle) in watched.read_in


def test_a_pool_that_never_served_leaves_no_thread(tiny_bundles: dict[str, Path]) -> None:
    before = set(threading.enumerate())

    async def open_and_close() -> None:
        Pool([load(tiny_bundles["fp"])], workers=2, queue=1).close()

    asyncio.run(open_and_close())
    assert set(threading.enumerate()) <= before
