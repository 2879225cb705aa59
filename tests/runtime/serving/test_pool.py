"""Tails in threads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import load
from runtime.errors import PacketError, TryLater
from runtime.head import Head
from runtime.packet import Flags, Packet
from runtime.serving import pool
from runtime.serving.pool import Pool, empty_packet
from runtime.tail import Tail
from tests.tiny_bundle import tiny_images


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_the_empty_packet_is_all_zero(tiny_bundles: dict[str, Path], prior: str) -> None:
    bundle = load(tiny_bundles[prior])
    streams = Tail(bundle).read(empty_packet(bundle))
    assert len(streams) == 1 + (prior == "mshp") and not any(stream.symbols.any() for stream in streams)


def test_answers_belong_to_their_packets_and_tails_are_few(
    tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bytes] = []
    open_one = pool._open
    monkeypatch.setattr(pool, "_open", lambda bundle: opened.append(bundle.id) or open_one(bundle))
    bundles = {prior: load(path) for prior, path in tiny_bundles.items()}
    heads = {prior: Head(bundle) for prior, bundle in bundles.items()}
    asked = [(prior, heads[prior].encode(image).to_bytes()) for image in tiny_images(25) for prior in bundles]
    tails = {prior: Tail(bundle) for prior, bundle in bundles.items()}

    async def ask() -> list[pool.Answer]:
        workers = Pool(list(bundles.values()), workers=3, queue=100)
        assert opened == [bundle.id for bundle in bundles.values()]
        answers = await asyncio.gather(*(workers.submit(bundles[prior], packet) for prior, packet in asked))
        assert workers.pending == 0
        workers.close()
        return answers

    for (prior, packet), answer in zip(asked, asyncio.run(ask()), strict=True):
        assert answer.bundle == f"tiny-{prior}" and list(answer.seconds) == ["queue", "decode", "tail"]
        np.testing.assert_array_equal(answer.logits, tails[prior].decode(packet))
    assert max(opened.count(bundle.id) for bundle in bundles.values()) <= 3


def test_a_failure_leaves_the_place_free(tiny_bundles: dict[str, Path], packets: dict[str, bytes]) -> None:
    bundle = load(tiny_bundles["fp"])
    out_of_sync = Packet(bundle.id, Flags.NONE, bytes(12)).to_bytes()

    async def ask() -> None:
        workers = Pool([bundle], workers=1, queue=0)
        with pytest.raises(PacketError) as raised:
            await workers.submit(bundle, out_of_sync)
        inside = [frame for frame in raised.traceback if frame.path.name == "tail.py"]
        assert inside and not any(frame.frame.f_locals for frame in inside)  # nothing of the frame is kept
        future = workers.submit(bundle, packets["fp"])
        with pytest.raises(TryLater, match="0 frames are waiting"):
            workers.submit(bundle, packets["fp"])
        assert (await future).logits.shape == (10,)
        workers.close()

    asyncio.run(ask())
