"""A family of bundles: which rate a link gets."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import MANIFEST, Bundle, load
from runtime.errors import StreamError
from runtime.guard import Guard
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.packet import MAX_OVERHEAD
from runtime.streaming.buffer import Buffer, Policy
from runtime.streaming.connection import Answer
from runtime.streaming.frame import Encoded
from runtime.streaming.pipeline import Pipeline
from runtime.streaming.rates import FLOOR, Rates, family
from runtime.streaming.sender import Sender
from runtime.streaming.source import Shot, paced
from runtime.streaming.status import Totals
from runtime.tail import max_payload
from tests.runtime.streaming.server_process import ServerProcess
from tests.runtime.streaming.test_stream import stream as run_stream

NEVER = Guard("never")
NOISE = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
BYTES = {1: 120, 2: 100, 3: 80}
"""Of the clean packets of each rate, as the bundles say."""


@pytest.fixture
def rates(tiny_bundles: dict[str, Path], tmp_path: Path) -> list[Bundle]:
    """Three rates of a family; their graphs are the same, and only their manifests tell them apart."""
    tiny = load(tiny_bundles["fp"])
    shutil.copytree(tiny.folder.parent / "shared", tmp_path / "shared")
    for rate, size in BYTES.items():
        folder = tmp_path / f"tiny-r{rate}"
        shutil.copytree(tiny.folder, folder)
        clean = tuple((q, 8.0 * (size - MAX_OVERHEAD)) for q in (0.5, 0.75, 0.99))
        manifest = dataclasses.replace(tiny.manifest, name=folder.name, rate=rate, clean_bits=clean)
        (folder / MANIFEST).write_text(manifest.to_json())
    return [load(tmp_path / f"tiny-r{rate}") for rate in BYTES]


def test_a_family_is_a_bundle_and_its_larger_rates(
    rates: list[Bundle], tiny_bundles: dict[str, Path]
) -> None:
    assert [bundle.id for bundle in family(rates[0])] == [bundle.id for bundle in rates]
    assert [bundle.id for bundle in family(rates[1])] == [bundle.id for bundle in rates[1:]]
    alone = load(tiny_bundles["fp"])
    assert family(alone) == [alone]
    shutil.copytree(rates[0].folder, rates[0].folder.parent / "tiny-r4")
    with pytest.raises(StreamError, match="of rate 1, not 4"):
        family(rates[0])


def test_the_budget_chooses_the_rate_and_is_kept(rates: list[Bundle]) -> None:
    heads = Rates(rates[0], NEVER)
    for budget, rate in ((1000, 1), (120, 1), (119, 2), (100, 2), (99, 3), (70, 3), (500, 1)):
        heads.limit(budget)
        packet = heads.encode(NOISE[0])
        assert heads.bundle.manifest.rate == rate and packet.bundle_id == rates[rate - 1].id
        assert packet.size <= budget and heads.report is not None


def test_bounds(rates: list[Bundle]) -> None:
    assert Rates(rates[0], NEVER).bounds == (int(FLOOR * 80), max_payload(rates[0]) + MAX_OVERHEAD)
    assert Rates(rates[0], Guard("never", budget=90)).bounds == (int(FLOOR * 80), 90)
    assert Rates(rates[0], Guard("never", budget=60)).bounds == (60, 60)


class Thin:
    """A link of so many bytes a second, on which everything is answered."""

    def __init__(self, rate: float):
        self._rate, self.bundles = rate, []  # type: ignore[var-annotated]

    def infer(self, identity: str, packet: bytes) -> Answer:
        time.sleep(len(packet) / self._rate)
        self.bundles.append(packet[3:11])
        return Answer((1,), (1.0,))

    def close(self) -> None:
        pass


def camera() -> Iterator[Shot]:
    return (Shot(str(number), partial(np.copy, image)) for number, image in enumerate(NOISE))


def stream(head: Head | Rates, policy: Policy, link: Thin, log: Path) -> Totals:
    lines, buffer = JsonLog(log), Buffer[Encoded](2, policy)
    pipeline = Pipeline(paced(camera(), 40.0), head, [Sender(link)], buffer, lines)
    pipeline.run()
    lines.close()
    return pipeline.totals


def test_less_a_frame_instead_of_fewer_frames(rates: list[Bundle], tmp_path: Path) -> None:
    head, heads = Head(rates[0]), Rates(rates[0], NEVER)
    head.warm_up()
    heads.warm_up()
    room = 40.0 * head.encode(NOISE[0]).size * 0.6  # bytes a second that the link takes, of what there is
    thin = Thin(room)
    dropping = stream(head, "drop-oldest", Thin(room), tmp_path / "dropping")
    shrinking = stream(heads, "shrink", thin, tmp_path / "shrinking")
    assert dropping.answered <= 32 and shrinking.answered >= dropping.answered + 4
    assert shrinking.answered + shrinking.dropped == 40
    assert thin.bundles[0] == rates[0].id and set(thin.bundles[10:]) == {rates[2].id}


def test_the_command(rates: list[Bundle], pictures: Path, tmp_path: Path) -> None:
    server = ServerProcess([bundle.folder for bundle in rates], tmp_path / "server.jsonl", 0)
    try:
        log = tmp_path / "log"
        assert (
            run_stream(pictures, server.address, rates[0].folder, log, "--policy", "shrink", "--fps", "20")
            == 0
        )
    finally:
        server.kill()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["answered"] * 6
