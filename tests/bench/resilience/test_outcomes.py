"""Rows of a campaign against figures by hand: images of unequal sizes, answers of all four kinds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bench.resilience.cell import Cell, Input, MeasuredCell, Subject, Treatment
from bench.resilience.outcomes import Outcome, Outcomes
from bench.resilience.plans import AUTO, PLAIN

SUBJECT = Subject("net-fp", "fp", "01" * 8, "net-fp")
OTHER = Subject("net-mshp", "mshp", "02" * 8, "net-mshp")
IMAGES = 400


def attack(seed: int = 0) -> Input:
    return Input("attack", "pgd_e", 4, "unmasked", 20, 1, seed)


def measured(
    sizes: list[float], correct: list[int], rungs: list[str] | None = None, linf: list[int] | None = None
) -> MeasuredCell:
    count = len(sizes)
    return MeasuredCell(
        np.array(sizes, np.int64),
        np.array(correct, bool),
        np.array(rungs or ["plain"] * count),
        np.array(linf or [4] * count, np.int64),
    )


def outcome(found: dict[Cell, MeasuredCell]) -> Outcome:
    (only,) = Outcomes(found).of(SUBJECT, "attack")
    return only


@pytest.fixture(scope="module")
def many() -> Outcome:
    """400 images: 200 right before and after, 30 lost, 10 won, 160 wrong all along; sizes from 1 to 40."""
    before, after = [1] * 230 + [0] * 170, [1] * 200 + [0] * 30 + [1] * 10 + [0] * 160
    clean = np.linspace(100, 4000, IMAGES).round()
    # Small frames grow threefold, large ones hardly: the ratio of the sums is far from the mean ratio.
    sizes = clean * (1 + 2 * np.exp(-np.arange(IMAGES) / 100))
    return outcome(
        {
            Cell(SUBJECT, Input(), PLAIN): measured(clean.tolist(), before),
            Cell(SUBJECT, attack(), PLAIN): measured(sizes.tolist(), after),
            Cell(OTHER, Input(), PLAIN): measured([1] * IMAGES, [1] * IMAGES),
        }
    )


def test_the_interval_of_a_drop_is_over_pairs(many: Outcome) -> None:
    """Differences of -1, 0 and 1 in 10, 360 and 30 images: half as wide as that of two separate shares."""
    mean = 20 / IMAGES
    half = 1.96 * 100 * np.sqrt((40 / IMAGES - mean**2) / IMAGES)
    row = many.as_row()
    assert row.top1_drop == pytest.approx(5.0)
    assert row.top1_drop_ci == pytest.approx((5 - half, 5 + half), abs=0.3)


def test_where_every_image_is_lost_the_drop_is_certain() -> None:
    """Points, exactly: 100 on both sides; and 0 for another sender of clean frames."""
    lost = {
        Cell(SUBJECT, Input(), PLAIN): measured([10, 20, 30], [1, 1, 1]),
        Cell(SUBJECT, Input(), AUTO): measured([40, 40, 40], [0, 0, 0]),
        Cell(SUBJECT, attack(), PLAIN): measured([10, 20, 30], [0, 0, 0]),
    }
    row = outcome(lost).as_row()
    assert (row.top1_drop, row.top1_drop_ci, row.bytes_ratio) == (100, (100, 100), 1)
    guarded = Outcomes(lost).find(SUBJECT, AUTO.name, "clean")
    assert guarded is not None and guarded.drop == 100 and guarded.ratio == 2


def test_the_interval_of_a_share_is_around_the_share(many: Outcome) -> None:
    row = many.as_row()
    half = 1.96 * np.sqrt(0.525 * 0.475 / IMAGES)
    assert row.top1 == pytest.approx(0.525)
    assert row.top1_ci == pytest.approx((0.525 - half, 0.525 + half), abs=0.005)


def test_the_interval_of_a_ratio_is_that_of_the_sums(many: Outcome) -> None:
    """By the delta method: the residuals b - R c of the images."""
    ratio = many.bytes.sum() / many.clean_bytes.sum()
    mean_ratio = float((many.bytes / many.clean_bytes).mean())
    residuals = many.bytes - ratio * many.clean_bytes
    half = 1.96 * np.sqrt((residuals**2).sum()) / many.clean_bytes.sum()
    row = many.as_row()
    assert row.bytes_ratio == pytest.approx(ratio) and row.bytes_mean == pytest.approx(many.bytes.mean())
    assert row.bytes_ratio_ci == pytest.approx((ratio - half, ratio + half), abs=0.1 * half)
    assert mean_ratio > ratio + 3 * half


def test_the_largest_of_the_seeds_counts_whichever_it_is() -> None:
    changes = [[3, 5, 1], [2, 8, 4], [6, 0, 7]]
    sizes = [[110, 90, 70], [10, 20, 30], [50, 60, 120]]
    cells = {
        Cell(SUBJECT, attack(seed), PLAIN): measured(sizes[seed], [1, 0, 1], linf=changes[seed])
        for seed in range(3)
    }
    found = outcome({Cell(SUBJECT, Input(), PLAIN): measured([100, 50, 150], [1, 1, 0]), **cells})
    row = found.as_row()
    assert (row.linf, found.largest, row.seeds, row.images) == (8, 120, 3, 3)
    assert found.bytes.tolist() == pytest.approx([170 / 3, 170 / 3, 220 / 3])


def test_frames_that_the_adapted_head_saw_are_not_defended() -> None:
    """Shares by image over two seeds: 0, 1/2 and 1."""
    rungs = [["adapted", "defended", "defended", "plain"], ["plain", "adapted", "defended", "adapted"]]
    cells = {
        Cell(SUBJECT, attack(seed), AUTO): measured([1, 2, 3, 4], [1, 0, 0, 1], rungs[seed])
        for seed in range(2)
    }
    found = outcome({Cell(SUBJECT, Input(), PLAIN): measured([4, 3, 2, 1], [1] * 4), **cells})
    assert found.defended.tolist() == [0, 0.5, 1, 0]
    assert found.as_row().defended_share == pytest.approx(3 / 8)
    assert found.top1 == 0.5 and found.drop == pytest.approx(50)


def test_outcomes_are_found_by_all_that_names_them() -> None:
    blurred = Treatment("blur-1.0", before="blur-1.0")
    released = Input("attack", "pgd_e", 4, "released", 20, 1)
    stronger = Input("attack", "pgd_e", 8, "unmasked", 20, 1)
    fog = Input("corruption", "fog", 4)
    clean = {Cell(of, Input(), PLAIN): measured([number], [1]) for number, of in ((1, SUBJECT), (2, OTHER))}
    given = [(SUBJECT, attack(), PLAIN), (SUBJECT, released, PLAIN), (SUBJECT, stronger, PLAIN)]
    given += [(SUBJECT, attack(), blurred), (OTHER, attack(), PLAIN), (SUBJECT, fog, PLAIN)]
    outcomes = Outcomes(
        clean | {Cell(*cell): measured([10 + number], [1]) for number, cell in enumerate(given)}
    )
    assert outcomes.subjects == [SUBJECT, OTHER]
    for number, (subject, what, sender) in enumerate(given):
        found = outcomes.find(subject, sender.name, what.name, what.level, what.setting)
        assert found is not None and found.bytes.tolist() == [10 + number]
        assert found.clean_bytes.tolist() == [1 if subject is SUBJECT else 2]
    again = dataclasses.replace(SUBJECT)  # equal, not the same
    assert [o.bytes.tolist() for o in outcomes.of(again, "".join(["corr", "uption"]))] == [[15]]
    assert len(outcomes.of(SUBJECT, "attack")) == 4 and len(outcomes.of(OTHER, "attack")) == 1
    assert outcomes.find(SUBJECT, PLAIN.name, "fog", 5) is None
    clean_one = outcomes.find(OTHER, PLAIN.name, "clean")
    assert clean_one is not None and clean_one.ratio == 1 and clean_one.drop == 0
