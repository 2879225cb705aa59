"""The byte budget that a link asks for, against the arithmetic of links."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.bundle import load
from runtime.codec.packet import MAX_OVERHEAD
from runtime.errors import BudgetError
from runtime.head import Head
from runtime.streaming.link_budget import SHARE, BudgetRange, LinkBudget
from tests.tiny_bundle import tiny_images

LEAST, MOST = 30, 100_000


def follow(interval: float, delay: float, rate: float, sizes: list[int]) -> tuple[LinkBudget, list[int]]:
    """The budget after frames of those sizes, over a link of so many bytes a second; the bytes sent."""
    link, sent = LinkBudget(BudgetRange(LEAST, MOST)), []
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
    link.sent(100, 100 / 30_000)
    assert link.bytes == before < 5000
    for _ in range(30):
        link.sent(link.bytes, link.bytes / 1e7)  # the link is fast again
    assert link.bytes == MOST


def test_without_a_second_frame_there_is_no_interval() -> None:
    link = LinkBudget(BudgetRange(LEAST, MOST))
    link.captured(0.0)
    link.sent(3000, 60.0)
    assert link.bytes == MOST


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


def test_the_floor_is_a_fifth_of_a_median_clean_packet() -> None:
    manifest = SimpleNamespace(clean_quantile={0.5: 8000.0}.get)
    head = SimpleNamespace(bundle=SimpleNamespace(manifest=manifest), budget=5000, least=50)
    bounds = BudgetRange.of(head)  # type: ignore[arg-type]
    assert bounds == BudgetRange(int(0.2 * (1000 + MAX_OVERHEAD)), 5000)
