"""Coarser steps: exact factors and tables, and packets that decode to the nearest coarser value."""

from __future__ import annotations

import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import load
from runtime.codec.coarseness import COARSEST, factor, rebinned, rungs
from runtime.codec.limits import TOTAL
from runtime.codec.tables import SCALES, Tables, gaussian_tables
from runtime.engines import EngineOptions
from runtime.errors import DefenceError
from runtime.guard import Guard
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.tail import PacketReader
from tests.tiny_bundle import tiny_images

ONE = EngineOptions(threads=1)
COARSE = st.integers(0, COARSEST)
FACTORS = np.array([factor(c) for c in range(COARSEST + 1)])


def entries(tables: Tables, number: int) -> list[int]:
    start = tables.start[number]
    return [int(count) for count in tables.counts[start : start + tables.size[number]]]


def test_factors_are_these_on_every_machine() -> None:
    sixteenths = FACTORS.astype(np.float64) * 2**16
    assert np.array_equal(sixteenths, np.rint(sixteenths))
    assert sixteenths[[0, 1, 4, 8, 63]].tolist() == [65536, 67583, 74118, 83823, 455189]
    assert zlib.crc32(sixteenths.astype("<i4").tobytes()) == 2067619436


@given(COARSE)
def test_four_of_them_are_the_distance_of_two_scales(coarseness: int) -> None:
    ratio = float(SCALES[1] / SCALES[0])
    assert factor(coarseness) == pytest.approx(ratio ** (coarseness / 4), rel=2e-5)
    assert abs(coarseness / 4 - rungs(coarseness)) <= 0.5


@st.composite
def any_tables(draw: st.DrawFn) -> Tables:
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    histograms = [rng.random(size) ** rng.integers(1, 20) + 1e-9 for size in sizes]
    escapes = [float(2.0 ** -rng.integers(1, 24)) for _ in sizes]
    return Tables.from_counts(histograms, [int(rng.integers(-60, 60)) for _ in sizes], escapes)


@given(any_tables(), COARSE)
def test_a_coarser_bin_has_the_parts_that_it_covers(tables: Tables, coarseness: int) -> None:
    """Against exact fractions, bin by bin; the likeliest entry takes what rounding leaves."""
    coarser, wide = rebinned(tables, coarseness), Fraction(float(factor(coarseness)))
    for number in range(len(tables)):
        *fine, escape = entries(tables, number)
        *coarse, still = entries(coarser, number)
        offset, first = int(tables.offset[number]), int(coarser.offset[number])
        wanted = [Fraction(0) for _ in coarse]
        for symbol in range(first, first + len(coarse)):
            low, high = (symbol - Fraction(1, 2)) * wide, (symbol + Fraction(1, 2)) * wide
            for place, count in enumerate(fine, offset):
                left, right = max(low, place - Fraction(1, 2)), min(high, place + Fraction(1, 2))
                wanted[symbol - first] += max(right - left, Fraction(0)) * count
        assert sum(wanted) == sum(fine), "every symbol of the table has its place"
        given_ = [*coarse, still]
        likeliest = int(np.argmax([*wanted, escape]))
        for entry, mass in enumerate([*wanted, escape]):
            assert entry == likeliest or given_[entry] == max(int(mass), 1)
        assert sum(given_) == TOTAL
        assert wanted[0] > 0 and wanted[-1] > 0, "no entry for what is outside"


def test_without_coarseness_tables_are_their_own() -> None:
    tables = gaussian_tables()
    assert rebinned(tables, 0) is tables


@pytest.mark.parametrize("coarseness", [1, 4, 13, 40, COARSEST])
def test_a_wide_gaussian_becomes_the_narrower_one(coarseness: int) -> None:
    scales = np.array([4.0, 30.0, 200.0])
    coarser = rebinned(gaussian_tables(scales), coarseness)
    narrower = gaussian_tables(scales / float(factor(coarseness)))
    for number in range(len(scales)):
        first = int(coarser.offset[number]), int(narrower.offset[number])
        reach = min(-first[0], -first[1])
        p, q = (
            np.array(entries(of, number)[-start - reach : -start + reach + 1]) / TOTAL
            for of, start in zip((coarser, narrower), first, strict=True)
        )
        assert float((p * np.log2(p / q)).sum()) < 0.02, "bits a symbol"


@pytest.mark.parametrize("prior", ["fp", "mshp"])
@given(coarseness=COARSE, seed=st.integers(0, 99))
@settings(max_examples=30)
def test_a_packet_decodes_to_the_nearest_coarser_value(
    tiny_bundles: dict[str, Path], prior: str, coarseness: int, seed: int
) -> None:
    bundle = load(tiny_bundles[prior])
    defence = Defence(weight=0.0, coarseness=coarseness, rate_control=0.0)
    head, reader = Head(bundle, ONE, guard=Guard("always", defence)), PacketReader(bundle, ONE)
    (image,) = tiny_images(1, seed)
    packet = head.encode(image)
    assert packet.coarseness == coarseness
    received = reader.read(packet.to_bytes())
    assert head.report is not None and head.report.decision.coarseness == coarseness
    assert received.coarseness == coarseness == received.streams[-1].coarseness
    assert head.ladder.shield is not None
    y = head.ladder.shield.run(bundle.manifest.preprocess(image))[0]
    error = np.abs(received.y_hat - y).max()
    assert error <= float(factor(coarseness)) / 2 * (1 + 1e-5) + 1e-5
    plain = Head(bundle, ONE)
    assert (plain.encode(image).payload == packet.payload) == (coarseness == 0)


@pytest.mark.parametrize("prior", ["fp", "mshp"])
def test_coarser_steps_take_fewer_bytes(tiny_bundles: dict[str, Path], prior: str) -> None:
    head = Head(load(tiny_bundles[prior]), ONE)
    images = tiny_images(10, 5)
    sizes = []
    for coarseness in range(0, COARSEST + 1, 7):
        latents = [head.analyse(image) for image in images]
        coarse = [head.prior.coarser(latent.streams[-1], coarseness) for latent in latents]
        sizes.append(sum(float(y.total_bits()[0]) for y in coarse))
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < 0.5 * sizes[0]


@pytest.mark.parametrize("coarseness", [-1, COARSEST + 1, 2.5, "4"])
def test_there_is_no_such_coarseness(coarseness: object) -> None:
    with pytest.raises(DefenceError, match="coarseness must be a whole number"):
        Defence(coarseness=coarseness)  # type: ignore[arg-type]
