"""Boxes from the output of the tail: by hand, against properties, and against hostile numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from runtime.errors import BundleError
from runtime.tasks import Output, Task, open_task
from runtime.tasks.detection import CANDIDATES, distinct, overlaps

CLASSES, BINS, SIZE = 3, 4, 32
STRIDES = (8, 16)
POINTS = 16 + 4
WIDTH = CLASSES + 4 * BINS
SPEC = {"kind": "detection", "bins": BINS, "strides": list(STRIDES)}


def task(**numbers: Any) -> Task:
    return open_task(SPEC | numbers, (Output("predictions", (POINTS, WIDTH)),), SIZE)


def empty() -> NDArray[np.float32]:
    return np.zeros((POINTS, WIDTH), np.float32)


def place(raw: NDArray[np.float32], point: int, of_class: int, score: float, distances: list[int]) -> None:
    """A point whose distributions are all at one distance."""
    raw[point, of_class] = score
    sides = raw[point, CLASSES:].reshape(4, BINS)
    sides[range(4), distances] = 50.0


def test_a_box_lies_around_the_centre_of_its_cell() -> None:
    """Point 6 of stride 8 is in row 1, column 2: centre (20, 12); point 16 + 3 of stride 16: (24, 24)."""
    raw = empty()
    place(raw, 6, 2, 0.9, [1, 1, 1, 2])
    place(raw, 19, 0, 0.5, [0, 1, 0, 0])
    found = task().answer(raw)
    assert np.allclose(found["boxes"] * SIZE, [[12, 4, 28, 28], [24, 8, 24, 24]], atol=1e-4)
    assert found["classes"].tolist() == [2, 0] and np.allclose(found["scores"], [0.9, 0.5])
    assert found["classes"].dtype == np.int32 and found["boxes"].dtype == np.float32


def test_a_side_lies_at_the_mean_of_its_distribution_and_inside_the_frame() -> None:
    raw = empty()
    raw[0, 1] = 0.8  # all logits equal: the mean distance is 1.5 strides, from the centre (4, 4)
    assert np.allclose(task().answer(raw)["boxes"] * SIZE, [[0, 0, 16, 16]], atol=1e-4)


def test_boxes_of_one_class_that_overlap_are_one() -> None:
    raw = empty()
    for point, of_class, score in ((5, 1, 0.7), (6, 1, 0.9), (9, 2, 0.6)):  # neighbours, nearly the same box
        place(raw, point, of_class, score, [3, 3, 3, 3])
    found = task(iou=0.3).answer(raw)
    assert found["classes"].tolist() == [1, 2] and np.allclose(found["scores"], [0.9, 0.6])
    assert len(task(iou=1.0).answer(raw)["scores"]) == 3


def test_a_request_may_give_threshold_and_number() -> None:
    raw = empty()
    for point, score in ((0, 0.9), (3, 0.5), (12, 0.2)):
        place(raw, point, 0, score, [0, 0, 1, 1])
    assert len(task().answer(raw)["scores"]) == 2
    assert len(task().answer(raw, threshold=0.1)["scores"]) == 3
    assert np.allclose(task().answer(raw, ("scores",), threshold=0.1, max_boxes=1)["scores"], [0.9])
    assert np.array_equal(task().answer(raw, ("predictions",))["predictions"], raw)


def test_what_was_found_in_words() -> None:
    raw = empty()
    place(raw, 0, 2, 0.75, [0, 0, 1, 1])
    answer = task().answer(raw)
    (record,) = task().records(answer, ("cat", "dog", "cup"))
    assert record["label"] == "cup" and record["class"] == 2 and len(record["box"]) == 4
    (line,) = task().lines(answer, None)
    assert line.split()[:3] == ["75.0", "%", "2"]
    assert task().ranking(answer) == [(2, 0.75)]


@given(raw=arrays.arrays(np.float32, (POINTS, WIDTH), elements=st.floats(width=32)))
def test_any_output_has_boxes_inside_the_frame(raw: NDArray[np.float32]) -> None:
    found = task().answer(raw)
    assert len(found["boxes"]) == len(found["scores"]) == len(found["classes"]) <= 100
    assert np.isfinite(found["boxes"]).all() and (found["boxes"] >= 0).all() and (found["boxes"] <= 1).all()
    assert (found["scores"] >= 0.35).all() and (np.diff(found["scores"]) <= 0).all()


span = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted)
box = st.tuples(span, span).map(lambda spans: (spans[0][0], spans[1][0], spans[0][1], spans[1][1]))
boxes = st.lists(st.tuples(box, st.integers(0, 1)), max_size=12)


@given(some=boxes, iou=st.floats(0, 1), most=st.integers(1, 12))
def test_suppression_keeps_what_no_better_box_covers(some: list[Any], iou: float, most: int) -> None:
    """By definition: a box stays exactly if no box of its class that stays before it overlaps more."""
    sides = np.array([b for b, _ in some], np.float32).reshape(-1, 4)
    classes = np.array([c for _, c in some], np.intp)
    wanted: list[int] = []
    for index in range(len(some)):
        rivals = [k for k in wanted if classes[k] == classes[index]]
        if all(iou_of(sides[k], sides[index]) <= iou for k in rivals):
            wanted.append(index)
    assert distinct(sides, classes, iou, most).tolist() == wanted[:most]


def iou_of(one: NDArray[np.float32], other: NDArray[np.float32]) -> np.float32:
    """By counting the cells of a grid: the sides are whole numbers."""
    grid = [np.zeros((12, 12), bool) for _ in range(2)]
    for cells, (x0, y0, x1, y1) in zip(grid, (one.astype(int), other.astype(int)), strict=True):
        cells[y0:y1, x0:x1] = True
    union = np.float32((grid[0] | grid[1]).sum())
    return np.float32((grid[0] & grid[1]).sum()) / union if union else np.float32(0)


@given(some=boxes)
def test_overlaps_are_symmetric_and_between_0_and_1(some: list[Any]) -> None:
    sides = np.array([b for b, _ in some], np.float32).reshape(-1, 4)
    found = overlaps(sides, sides)
    assert np.allclose(found, found.T) and (found >= 0).all() and (found <= 1).all()
    assert all(found[i, j] == iou_of(sides[i], sides[j]) for i in range(len(some)) for j in range(len(some)))


@pytest.mark.parametrize(
    ("numbers", "shape"),
    [
        ({"strides": [8]}, (POINTS, WIDTH)), ({"strides": [16, 8, 7]}, (POINTS, WIDTH)),
        ({"strides": []}, (POINTS, WIDTH)), ({"strides": "8"}, (POINTS, WIDTH)),
        ({"strides": [True]}, (1024, WIDTH)), ({"bins": 1}, (POINTS, WIDTH)), ({"bins": 5}, (POINTS, 20)),
        ({"threshold": 2}, (POINTS, WIDTH)), ({"iou": "a"}, (POINTS, WIDTH)), ({"more": 1}, (POINTS, WIDTH)),
        ({}, (POINTS * WIDTH,)), ({}, (POINTS + 1, WIDTH)),
    ],
)  # fmt: skip
def test_numbers_and_outputs_that_do_not_fit_are_refused(
    numbers: dict[str, Any], shape: tuple[int, ...]
) -> None:
    with pytest.raises(BundleError, match="detection"):
        open_task(SPEC | numbers, (Output("predictions", shape),), SIZE)
    with pytest.raises(BundleError, match="name other than boxes"):
        open_task(SPEC, (Output("boxes", (POINTS, WIDTH)),), SIZE)


def test_a_hostile_frame_costs_a_bounded_number_of_candidates() -> None:
    """All scores 1, all boxes apart: nothing is suppressed, and no more than the bound is looked at."""
    side = 40
    raw = np.full((side * side, 2 + 8), 1, np.float32)
    raw[:, 2::2] = 50.0  # all distances 0: empty boxes, which cover nothing
    big = open_task({"kind": "detection", "bins": 2, "strides": [1]}, (Output("p", raw.shape),), side)
    assert len(big.answer(raw, max_boxes=CANDIDATES)["scores"]) == CANDIDATES
