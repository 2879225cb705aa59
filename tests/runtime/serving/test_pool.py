"""Workers in threads."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle, load
from runtime.codec.packet import Flags, Packet
from runtime.engines import EngineOptions
from runtime.errors import EngineError, PacketError, TryLater
from runtime.head import Head
from runtime.serving import pool
from runtime.serving.networks import TOLERANCE
from runtime.serving.pool import Pool, empty_packet
from runtime.serving.protocol import Answer
from runtime.tail import PacketReader, Received, Tail
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

    def open_reader(bundle: Bundle, options: EngineOptions) -> PacketReader:
        opened.append(bundle.id)
        return PacketReader(bundle, options)

    monkeypatch.setattr(pool, "PacketReader", open_reader)
    bundles = {prior: load(path) for prior, path in tiny_bundles.items()}
    heads = {prior: Head(bundle) for prior, bundle in bundles.items()}
    asked = [(prior, heads[prior].encode(image).to_bytes()) for image in tiny_images(25) for prior in bundles]
    tails = {prior: Tail(bundle) for prior, bundle in bundles.items()}

    async def ask() -> list[Answer]:
        workers = Pool(list(bundles.values()), workers=3, queue=100)
        assert opened == [bundle.id for bundle in bundles.values() for _ in range(3)]
        answers = await asyncio.gather(*(workers.submit(bundles[prior], packet) for prior, packet in asked))
        assert workers.pending == 0
        workers.close()
        return answers

    for (prior, packet), answer in zip(asked, asyncio.run(ask()), strict=True):
        assert answer.bundle == f"tiny-{prior}" and list(answer.seconds) == ["queue", "decode", "tail"]
        np.testing.assert_array_equal(answer.raw, tails[prior].decode(packet))
    assert len(opened) == 6  # none was opened later, from files that nobody has verified


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
        assert (await future).raw.shape == (10,)
        workers.close()

    asyncio.run(ask())


class Gate:
    """Holds the workers before they read a packet, so that the frames behind are taken together.

    ``shut`` comes after the pool has opened, which reads packets itself.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self._monkeypatch, self._open, self._entered = monkeypatch, threading.Event(), threading.Event()

    def shut(self, workers: Pool) -> None:
        read = workers.readers.read

        def wait(bundle: Bundle, packet: bytes) -> Received:
            self._entered.set()
            assert self._open.wait(20)
            return read(bundle, packet)

        self._monkeypatch.setattr(workers.readers, "read", wait)

    def open(self) -> None:
        self._open.set()

    async def until_a_worker_is_held(self) -> None:
        assert await asyncio.to_thread(self._entered.wait, 20)


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
    gate = Gate(monkeypatch)

    async def ask() -> list[Answer | BaseException]:
        workers = Pool(list(bundles.values()), 1, 100, batch=6, on_run=runs.append)
        gate.shut(workers)
        futures = [workers.submit(bundles[prior], packet) for prior, packet in asked]
        await gate.until_a_worker_is_held()
        gate.open()
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
        assert np.abs(answer.raw - alone).max() <= TOLERANCE * np.abs(alone).max()
        assert np.argsort(-answer.raw)[:5].tolist() == np.argsort(-alone)[:5].tolist()
        assert answer.together in runs and min(answer.seconds.values()) >= 0
    assert sum(runs) == 10 and max(runs) > 1


def test_a_run_that_fails_fails_its_frames_and_no_others(
    tiny_bundles: dict[str, Path], packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, gate = load(tiny_bundles["fp"]), Gate(monkeypatch)

    async def ask() -> None:
        workers = Pool([bundle], 1, 100, batch=8)
        run = workers.networks.run

        def fail_together(bundles: list[object], latents: list[object]) -> object:
            if len(bundles) > 1:
                raise EngineError("no memory for so many")
            return run(bundles, latents)  # type: ignore[arg-type]

        monkeypatch.setattr(workers.networks, "run", fail_together)
        gate.shut(workers)
        first = workers.submit(bundle, packets["fp"])
        await gate.until_a_worker_is_held()
        futures = [workers.submit(bundle, packets["fp"]) for _ in range(3)]
        gate.open()
        assert (await first).together == 1
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(answer) for answer in found] == [EngineError] * 3
        assert (await workers.submit(bundle, packets["fp"])).raw.shape == (10,)
        assert workers.pending == 0
        workers.close()

    asyncio.run(ask())


def test_what_waits_when_it_is_closed_is_cancelled(
    tiny_bundles: dict[str, Path], packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, gate = load(tiny_bundles["fp"]), Gate(monkeypatch)

    async def ask() -> None:
        workers = Pool([bundle], 1, 100, batch=4)
        gate.shut(workers)
        first = workers.submit(bundle, packets["fp"])
        await gate.until_a_worker_is_held()
        late = [workers.submit(bundle, packets["fp"]) for _ in range(3)]
        workers.close()
        gate.open()
        assert (await first).raw.shape == (10,)
        found = await asyncio.gather(*late, return_exceptions=True)
        assert [type(answer) for answer in found] == [asyncio.CancelledError] * 3

    asyncio.run(ask())


@pytest.mark.parametrize(
    "raised", [MemoryError("x"), RuntimeError("x"), SystemExit(3), StopIteration("x")], ids=repr
)
@pytest.mark.parametrize("where", ["run", "count", "rows"])
def test_whatever_is_raised_the_batch_fails_at_once_and_the_worker_lives(
    tiny_bundles: dict[str, Path],
    packets: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    where: str,
) -> None:
    bundle, broken = load(tiny_bundles["fp"]), True

    def count(_: int) -> None:
        if broken and where == "count":
            raise raised

    async def ask() -> None:
        nonlocal broken
        workers = Pool([bundle], workers=1, queue=4, on_run=count)
        run = workers.networks.run

        def fail(bundles: list[Bundle], latents: list[object]) -> object:
            if broken and where == "run":
                raise raised
            return run(bundles, latents)[: 0 if broken and where == "rows" else None]  # type: ignore[arg-type]

        monkeypatch.setattr(workers.networks, "run", fail)
        with pytest.raises(Exception):  # noqa: B017
            await asyncio.wait_for(workers.submit(bundle, packets["fp"]), 5)
        assert workers.staffed() and workers.pending == 0
        broken = False
        assert (await asyncio.wait_for(workers.submit(bundle, packets["fp"]), 5)).raw.shape == (10,)
        workers.close()

    asyncio.run(ask())


def test_a_worker_that_has_died_is_replaced(
    tiny_bundles: dict[str, Path], packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load(tiny_bundles["fp"])

    async def ask() -> None:
        workers = Pool([bundle], workers=1, queue=4)
        assert workers.staffed()  # before its first job
        monkeypatch.setattr(Pool, "_work", lambda _: None)  # a thread that ends at once
        assert workers.staffed(hire=True)
        until_dead = workers._threads[0]
        await asyncio.to_thread(until_dead.join)
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        assert not workers.staffed()
        with pytest.raises(TryLater, match="no worker"):
            workers.submit(bundle, packets["fp"])
        assert not workers.staffed() and workers.pending == 0
        monkeypatch.undo()
        assert workers.staffed()
        assert (await asyncio.wait_for(workers.submit(bundle, packets["fp"]), 5)).raw.shape == (10,)
        workers.close()

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    asyncio.run(ask())


def test_a_job_that_nobody_waits_for_is_not_decoded_unless_a_worker_has_begun(
    tiny_bundles: dict[str, Path], packets: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, gate, runs = load(tiny_bundles["fp"]), Gate(monkeypatch), list[int]()

    async def ask() -> None:
        workers = Pool([bundle], 1, 100, on_run=runs.append)
        gate.shut(workers)
        first, second, third = (workers.submit(bundle, packets["fp"]) for _ in range(3))
        await gate.until_a_worker_is_held()
        workers.withdraw(first)
        workers.withdraw(second)
        assert second.cancelled() and not first.cancelled()
        gate.open()
        assert [len((await future).raw) for future in (first, third)] == [10, 10]
        assert sum(runs) == 2
        await asyncio.sleep(0)
        assert workers.pending == 0
        workers.close()

    asyncio.run(ask())
