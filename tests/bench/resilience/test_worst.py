"""The worst of the threats for each photograph, by hand; and the review on tiny bundles, its budget kept."""

import json

import pytest

from bench.resilience import __main__ as resilience
from bench.resilience.bars import summarise
from bench.resilience.cell import Cell, Input
from bench.resilience.outcomes import Outcomes
from bench.resilience.plans import AUTO, PLAIN, UNSPLIT
from runtime.bundle import load
from runtime.head import Head
from tests.bench.resilience.test_resilience import FP, measured


def threat(name):
    return Input("attack", name, 4, "unmasked", 20, 1)


def test_bytes_and_answers_are_each_photographs_worst_and_the_class_is_apart():
    made = {
        Cell(FP, Input(), PLAIN): measured([100, 100, 100, 100], [1, 1, 1, 1]),
        Cell(FP, threat("pgd_e"), AUTO): measured([120, 90, 100, 100], [1, 0, 1, 1]),
        Cell(FP, threat("knowing_fill"), AUTO): measured([80, 130, 100, 110], [1, 1, 0, 1]),
        Cell(FP, threat("knowing_c"), AUTO): measured([100, 100, 100, 100], [0, 0, 0, 0]),
        Cell(FP, threat("pgd_e"), UNSPLIT): measured([0] * 4, [1, 0, 1, 1]),
        Cell(FP, threat("knowing_fill"), UNSPLIT): measured([0] * 4, [1, 1, 1, 1]),
        Cell(FP, threat("knowing_c"), UNSPLIT): measured([0] * 4, [0, 0, 0, 1]),
    }
    keys = summarise(Outcomes(made))["bundles"]["net-fp"]
    assert keys["worst_bytes_ratio_4"] == pytest.approx((120 + 130 + 100 + 110) / 400)
    assert (keys["worst_top1_4"], keys["unsplit_top1_4"], keys["worst_bytes_max_4"]) == (0.5, 0.75, 130)
    assert keys["worst_over_unsplit_4"] == pytest.approx(-25)
    assert (keys["worst_class_top1_4"], keys["unsplit_class_top1_4"]) == (0, 0.25)


@pytest.mark.slow
def test_the_review_keeps_its_budget(robust_bundles, data, tmp_path):
    bundle = load(robust_bundles["fp"])
    budget = Head(bundle).least + 8
    path = tmp_path / "review.json"
    arguments = [
        "--data",
        str(data),
        "--bundle",
        str(robust_bundles["fp"]),
        "--preset",
        "review",
        "--limit",
        "2",
    ]
    arguments += [
        "--steps",
        "2",
        "--budget",
        str(budget),
        "--output",
        str(tmp_path / "out"),
        "--json",
        str(path),
    ]
    assert resilience.main(arguments) == 0
    report = json.loads(path.read_text())
    guarded = [row for row in report["rows"] if row["sender"] == "auto"]
    assert len(guarded) == 1 + 2 * 12 and max(row["bytes_max"] for row in guarded) <= budget
    assert {"worst_top1_2", "worst_top1_4", "unsplit_top1_4", "worst_bytes_ratio_4"} <= set(report["summary"])
