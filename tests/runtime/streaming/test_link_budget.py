"""The byte budget that a link asks for, against the arithmetic of links."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle import load
from runtime.errors import BudgetError
from runtime.guard import Guard
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.packet import MAX_OVERHEAD
from runtime.streaming.buffer import Buffer, Policy
from runtime.streaming.connection import Answer
from runtime.streaming.frame import Encoded
from runtime.streaming.link_budget import SHARE, LinkBudget
from runtime.streaming.pipeline import Pipeline
from runtime.streaming.sender import Sender
from runtime.streaming.source import Shot, paced
from runtime.streaming.status import Totals
from runtime.tail import max_payload
from tests.tiny_bundle import tiny_images

LEAST, MOST = 30, 100_000


def follow(interval: float, delay: float, rate: float, sizes: list[int]) -> tuple[LinkBudget, list[int]]:
    """The budget after frames of those sizes, over a link of so many bytes a second; the bytes sent."""
    link, sent = LinkBudget(LEAST, MOST), []
    for number, size in enumerate(sizes):
        link.captured(number * interval)
        sent.append(min(size, link.bytes))
        link.sent(sent[-1], delay + sent[-1] / rate)
    return link, sent


@given(
    interval=st.floats(0.02, 0.5),
    share=st.floats(0.0, 0.7),
    fits=st.integers(200, 20_000),
)
def test_it_finds_the_bytes_that_fit(interval: float, share: float, fits: int) -> None:
    delay = share * interval
    rate = fits / (SHARE * interval - delay)
    _, sent = follow(interval, delay, rate, [50_000] * 80)
    assert min(sent) >= 0.4 * fits
    assert sent[-1] == pytest.approx(fits, rel=0.15)


def test_a_link_with_room_is_left_alone_and_one_without_gets_the_least() -> None:
    assert follow(0.1, 0.0, 1e6, [3000] * 50)[0].bytes == MOST
    assert follow(0.1, 0.2, 1e6, [3000] * 50)[0].bytes == LEAST


def test_simple_pictures_take_nothing_from_the_next_and_room_comes_back() -> None:
    link, _ = follow(0.1, 0.0, 30_000, [5000] * 30)
    before = link.bytes
    link.sent(100, 0.003)
    assert link.bytes == before < 5000
    for _ in range(30):
        link.sent(link.bytes, link.bytes / 1e7)  # the link is fast again
    assert link.bytes == MOST


def test_without_a_second_frame_there_is_no_interval() -> None:
    link = LinkBudget(LEAST, MOST)
    link.captured(0.0)
    link.sent(3000, 60.0)
    assert link.bytes == MOST


def test_it_stays_between_half_a_clean_packet_and_the_guards_budget(tiny_bundles: dict[str, Path]) -> None:
    tiny = load(tiny_bundles["fp"])
    bundle = replace(tiny, manifest=replace(tiny.manifest, clean_bits=((0.5, 1600.0), (0.99, 2000.0))))
    for budget, least in ((1000, 100), (80, 80)):
        link = LinkBudget.of(Head(bundle, guard=Guard("never", budget=budget)))
        assert link.bytes == budget
        for number in range(30):
            link.captured(0.1 * number)
            link.sent(link.bytes, 9.0)
        assert link.bytes == least
    assert LinkBudget.of(Head(bundle)).bytes == max_payload(bundle) + MAX_OVERHEAD


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_a_head_keeps_the_budget_of_each_frame(tiny_bundles: dict[str, Path], prior: str) -> None:
    head = Head(load(tiny_bundles[prior]))
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    plain = head.encode(noise).size
    for budget in (plain - 5, head.least, None, plain // 2):
        head.limit(budget)
        assert head.encode(noise).size <= (budget or plain)
    head.limit(None)
    assert head.encode(noise).size == plain and head.encode(tiny_images(1)[0]).size < plain
    with pytest.raises(BudgetError, match=f"the least is {head.least}"):
        head.limit(head.least - 1)


class Thin:
    """A link of so many bytes a second, on which everything is answered."""

    def __init__(self, rate: float):
        self._rate = rate

    def infer(self, identity: str, packet: bytes) -> Answer:
        time.sleep(len(packet) / self._rate)
        return Answer((1,), (1.0,))

    def close(self) -> None:
        pass


def noise(frames: int) -> Iterator[Shot]:
    for image in np.random.default_rng(0).integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8):
        yield Shot("noise", partial(np.copy, image))


def stream(head: Head, policy: Policy, rate: float, log: Path) -> Totals:
    lines, buffer = JsonLog(log), Buffer[Encoded](2, policy)
    pipeline = Pipeline(paced(noise(40), 40.0), head, Sender(Thin(rate)), buffer, lines)
    pipeline.run()
    lines.close()
    return pipeline.totals


def test_less_a_frame_instead_of_fewer_frames(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    head = Head(load(tiny_bundles["fp"]))
    head.warm_up()
    plain = head.encode(next(noise(1)).read()).size
    rate = 40.0 * plain / 2  # half of what is sent without a budget
    dropping = stream(head, "drop-oldest", rate, tmp_path / "dropping")
    shrinking = stream(head, "shrink", rate, tmp_path / "shrinking")
    assert dropping.answered <= 25 and shrinking.answered >= 33
    assert shrinking.answered + shrinking.dropped == 40
    assert shrinking.bytes / shrinking.answered < 0.7 * plain
