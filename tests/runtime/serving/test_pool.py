"""Workers in threads."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import load
from runtime.codec.packet import Flags, Packet
from runtime.errors import EngineError, PacketError, TryLater
from runtime.head import Head
from runtime.serving import pool
from runtime.serving.networks import TOLERANCE
from runtime.serving.pool import Pool, empty_packet
from runtime.serving.protocol import Answer
from runtime.tail import Tail
from tests.tiny_bundle import tiny_images


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_the_empty_packet_is_all_zero(tiny_bundles: dict[str, Path], prior: str) -> None:
    bundle = load(tiny_bundles[prior])
    streams = Tail(bundle).read(empty_packet(bundle))
    assert len(streams) == 1 + (prior == "mshp") and not any(stream.symbols.any() for stream in streams)


def test_answers_belong_to_their_packets_and_readers_are_few(
    tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[bytes] = []
    open_one = pool._open
    monkeypatch.setattr(pool, "_open", lambda bundle: opened.append(bundle.id) or open_one(bundle))
    bundles = {prior: load(path) for prior, path in tiny_bundles.items()}
    heads = {prior: Head(bundle) for prior, bundle in bundles.items()}
    asked = [(prior, heads[prior].encode(image).to_bytes()) for image in tiny_images(25) for prior in bundles]
    tails = {prior: Tail(bundle) for prior, bundle in bundles.items()}

    async def ask() -> list[Answer]:
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


def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Workers wait for it before they read a packet, so that the frames behind theirs are taken together."""
    go, read = threading.Event(), Pool._read

    def wait(workers: Pool, job: pool.Job) -> pool.Received:
        assert go.wait(20)
        return read(workers, job)

    monkeypatch.setattr(Pool, "_read", wait)
    return go


def test_frames_that_wait_share_a_run_whatever_is_among_them(
    tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = {prior: load(path) for prior, path in tiny_bundles.items()}
    tails = {prior: Tail(bundle) for prior, bundle in bundles.items()}
    heads = {prior: Head(bundle) for prior, bundle in bundles.items()}
    asked = [(prior, heads[prior].encode(image).to_bytes()) for image in tiny_images(5) for prior in bundles]
    for place in (3, 4, 8):  # whole packets of the bundle, and no frames
        prior = asked[place][0]
        hostile = Packet(bundles[prior].id, Flags.NONE, bytes(12 + place)).to_bytes()
        asked.insert(place, (prior, hostile))
    runs: list[int] = []
    go = held(monkeypatch)

    async def ask() -> list[Answer | BaseException]:
        workers = Pool(list(bundles.values()), 1, 100, batch=6, on_run=runs.append)
        futures = [workers.submit(bundles[prior], packet) for prior, packet in asked]
        asyncio.get_running_loop().call_later(0.1, go.set)
        answers = await asyncio.gather(*futures, return_exceptions=True)
        assert workers.pending == workers.waiting == 0
        workers.close()
        return answers

    answers = asyncio.run(ask())
    for place, ((prior, packet), answer) in enumerate(zip(asked, answers, strict=True)):
        if place in (3, 4, 8):
            assert isinstance(answer, PacketError)
            continue
        assert isinstance(answer, Answer) and answer.bundle == f"tiny-{prior}"
        alone = tails[prior].decode(packet)
        assert np.abs(answer.logits - alone).max() <= TOLERANCE * np.abs(alone).max()
        assert np.argsort(-answer.logits)[:5].tolist() == np.argsort(-alone)[:5].tolist()
        assert answer.together in runs and min(answer.seconds.values()) >= 0
    assert sum(runs) == 10 and max(runs) > 1


def test_a_run_that_fails_fails_its_frames_and_no_others(
    tiny_bundles: dict[str, Path], packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, go = load(tiny_bundles["fp"]), held(monkeypatch)

    async def ask() -> None:
        workers = Pool([bundle], 1, 100, batch=8)
        run = workers.networks.run

        def fail_together(bundles: list[object], latents: list[object]) -> object:
            if len(bundles) > 1:
                raise EngineError("no memory for so many")
            return run(bundles, latents)  # type: ignore[arg-type]

        monkeypatch.setattr(workers.networks, "run", fail_together)
        first = workers.submit(bundle, packets["fp"])
        while workers._waiting:
            await asyncio.sleep(0.001)
        futures = [workers.submit(bundle, packets["fp"]) for _ in range(3)]
        go.set()
        assert (await first).together == 1
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(answer) for answer in found] == [EngineError] * 3
        assert (await workers.submit(bundle, packets["fp"])).logits.shape == (10,)
        assert workers.pending == 0
        workers.close()

    asyncio.run(ask())


def test_what_waits_when_it_is_closed_is_cancelled(
    tiny_bundles: dict[str, Path], packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, go = load(tiny_bundles["fp"]), held(monkeypatch)

    async def ask() -> None:
        workers = Pool([bundle], 1, 100, batch=4)
        first = workers.submit(bundle, packets["fp"])
        while workers._waiting:
            await asyncio.sleep(0.001)
        late = [workers.submit(bundle, packets["fp"]) for _ in range(3)]
        workers.close()
        go.set()
        assert (await first).logits.shape == (10,)
        found = await asyncio.gather(*late, return_exceptions=True)
        assert [type(answer) for answer in found] == [asyncio.CancelledError] * 3

    asyncio.run(ask())
