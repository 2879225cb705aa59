"""Summary arithmetic against hand-made numbers; the command line; its table, CSV, JSON and page."""

import csv
import json
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from bench.common.bootstrap import interval, ratio_interval
from bench.common.errors import CampaignError
from bench.resilience import __main__ as resilience
from bench.resilience import plans
from bench.resilience.bars import BARS, summarise
from bench.resilience.catalogue.trivial_defences import TRIVIAL
from bench.resilience.cell import Cell, Input, MeasuredCell, Subject, Treatment
from bench.resilience.outcomes import Outcomes
from bench.resilience.plans import AUTO, BASELINES, PLAIN, Effort
from export.robust.corruptions import CORRUPTIONS
from runtime.guard import Guard
from runtime.guard.defence import Defence

FP, MSHP = Subject("net-fp", "fp", "01" * 8, "net-fp", 260), Subject("net-mshp", "mshp", "02" * 8, "net-mshp")
CLEAN = Input()


def rate(eps, setting="unmasked", seed=0):
    return Input("attack", "pgd_e", eps, setting, 20, 1, seed)


def adaptive(eps):
    return Input("attack", "adaptive", eps, "unmasked", 20, 1, 0, Defence())


def measured(sizes, correct, defended=0):
    count = len(sizes)
    rung = np.array(["defended"] * defended + ["plain"] * (count - defended))
    return MeasuredCell(np.array(sizes), np.array(correct, bool), rung, np.full(count, 4))


@pytest.fixture
def made():
    """Four images in two bundles; MSHP is only attacked."""
    blur, median = (Treatment(name, before=name) for name in ("blur-1.0", "median-3"))
    return {
        Cell(FP, CLEAN, PLAIN): measured([100, 200, 300, 400], [1, 1, 1, 0]),
        Cell(FP, CLEAN, AUTO): measured([100, 200, 300, 390], [1, 1, 0, 0], 1),
        Cell(FP, rate(4), PLAIN): measured([200, 400, 600, 600], [1, 0, 0, 0]),
        Cell(FP, rate(4, "released"), PLAIN): measured([150, 250, 350, 450], [1, 1, 1, 0]),
        Cell(FP, rate(4), AUTO): measured([90, 180, 270, 360], [1, 1, 0, 0], 4),
        Cell(FP, adaptive(4), AUTO): measured([110, 220, 330, 440], [1, 0, 0, 0], 4),
        Cell(FP, rate(4), blur): measured([80, 160, 240, 320], [1, 0, 0, 0]),
        Cell(FP, rate(4), median): measured([100, 200, 300, 400], [1, 1, 0, 0]),
        Cell(MSHP, CLEAN, PLAIN): measured([100, 100, 100, 100], [1, 1, 1, 1]),
        Cell(MSHP, rate(4), PLAIN): measured([150, 150, 150, 150], [1, 1, 1, 1]),
    }


def test_the_bars_are_computed_as_they_are_worded(made):
    summary = summarise(Outcomes(made))
    fp = summary["bundles"]["net-fp"]
    assert fp["pgde_increase_4"] == pytest.approx(80)
    assert fp["pgde_increase_4_released"] == pytest.approx(20)
    assert fp["guard_clean_bytes_ratio"] == pytest.approx(0.99)
    assert fp["clean_top1_drop"] == pytest.approx(25)
    assert fp["certified_overhead"] == pytest.approx(
        0.04
    )  # 260 bytes at most, 250 in the mean of clean frames
    assert fp["defended_bytes_ratio_4"] == pytest.approx(0.9)
    assert fp["defended_top1_drop_4"] == pytest.approx(25)
    assert fp["defended_bytes_ratio_4_adaptive"] == pytest.approx(1.1)
    assert fp["defended_top1_drop_4_adaptive"] == pytest.approx(50)
    assert summary["bundles"]["net-mshp"] == {
        "pgde_increase_4": pytest.approx(50), "pgde_increase_4_ci": pytest.approx([50, 50])
    }  # fmt: skip
    assert summary["pgde_increase_4"] == pytest.approx(50)  # the worst is the weakest attack
    assert summary["defended_bytes_ratio_4"] == pytest.approx(0.9)
    assert summary["images"] == 4


def test_a_baseline_counts_where_it_is_as_accurate(made):
    key = "beats_baselines_4"
    fp = summarise(Outcomes(made))["bundles"]["net-fp"]
    assert fp[key] is True  # the blur has fewer bytes, but is less accurate; the median has more
    assert fp[f"{key}_detail"]["best_at_our_top1"] == {"sender": "median-3", "bytes_ratio": 1.0, "top1": 0.5}
    made[Cell(FP, rate(4), Treatment("blur-1.0", before="blur-1.0"))] = measured([80] * 4, [1, 1, 0, 0])
    assert summarise(Outcomes(made))[key] is False
    made[Cell(FP, rate(4), AUTO)] = measured([390] * 4, [1, 1, 1, 1], 4)
    fp = summarise(Outcomes(made))["bundles"]["net-fp"]
    assert fp[key] is True and fp[f"{key}_detail"]["best_at_our_top1"] is None


def test_being_dearer_than_no_defence_at_equal_accuracy_does_not_beat_it(made):
    made[Cell(FP, rate(4), PLAIN)] = measured([80] * 4, [1, 1, 0, 0])
    assert summarise(Outcomes(made))["beats_baselines_4"] is False


def test_the_worst_corruption_is_found():
    fog, snow = (Input("corruption", name, 2) for name in ("fog", "snow"))
    made = {
        Cell(FP, CLEAN, PLAIN): measured([100, 100], [1, 1]),
        Cell(FP, fog, PLAIN): measured([110, 110], [1, 1]),
        Cell(FP, fog, AUTO): measured([104, 104], [1, 0], 1),
        Cell(FP, snow, PLAIN): measured([130, 130], [1, 0]),
        Cell(FP, snow, AUTO): measured([107, 109], [1, 0], 2),
    }
    summary = summarise(Outcomes(made))
    assert summary["corruption_bytes_worst"] == pytest.approx(1.08)
    assert summary["corruption_top1_worst_drop"] == pytest.approx(50)
    at = {key: value for key, value in summary["bundles"]["net-fp"].items() if key.endswith("_at")}
    assert at == {"corruption_bytes_worst_at": "snow 2", "corruption_top1_worst_drop_at": "fog 2"}
    assert summary["corruption_top1_mean_drop"] == pytest.approx(25)


def test_corruptions_that_cost_too_many_answers_are_named_with_their_interval():
    count = 200
    sizes, right = [100] * count, [1] * count
    inputs = [Input("corruption", "snow", severity) for severity in (1, 2)]
    made = {Cell(FP, CLEAN, PLAIN): measured(sizes, right)}
    for given, lost in zip(inputs, (2, 10), strict=True):  # 1 and 5 points
        made[Cell(FP, given, PLAIN)] = measured(sizes, right)
        made[Cell(FP, given, AUTO)] = measured(sizes, [0] * lost + right[lost:])
    over = summarise(Outcomes(made))["bundles"]["net-fp"]["corruption_top1_over"]
    assert list(over) == ["snow 2"]
    drop, low, high = over["snow 2"]
    error = 1.96 * 100 * np.sqrt(0.05 * 0.95 / count)
    assert (drop, low, high) == pytest.approx((5, 5 - error, 5 + error), abs=0.7)


def test_seeds_are_averaged_for_each_image():
    made = {
        Cell(FP, CLEAN, PLAIN): measured([100, 100], [1, 1]),
        Cell(FP, rate(4), PLAIN): measured([150, 150], [1, 0], 1),
        Cell(FP, rate(4, seed=1), PLAIN): measured([170, 130], [0, 0]),
    }
    (outcome,) = Outcomes(made).of(FP, "attack")
    row = outcome.as_row()
    assert outcome.bytes.tolist() == [160, 140]
    assert (row.seeds, row.bytes_ratio, row.top1, row.defended_share) == (2, 1.5, 0.25, 0.25)
    assert row.bytes_ratio_ci == pytest.approx((1.4, 1.6))


def test_the_interval_of_a_ratio_draws_pairs():
    size = np.random.default_rng(0).uniform(10, 1000, 50)
    assert ratio_interval(1.5 * size, size) == pytest.approx((1.5, 1.5))
    assert ratio_interval(size, np.ones(50)) == interval(size)


def test_presets_hold_their_reference_and_what_the_bars_need():
    both = [FP, MSHP]
    for preset in plans.PRESETS.values():
        cells = preset(both, Effort())
        assert len(cells) == len(set(cells))
        assert Cell(FP, CLEAN, PLAIN) in cells
    bars = plans.bars(both, Effort(seeds=(0, 1)))
    for subject in both:
        assert {
            Cell(subject, rate(eps, seed=1), s) for eps in (2, 4, 8) for s in (PLAIN, AUTO, *BASELINES)
        } <= {*bars}
        assert Cell(subject, rate(4, "released"), PLAIN) in bars
        assert Cell(subject, adaptive(2), AUTO) in bars
    assert len(plans.corruptions(both, Effort())) == 2 * 2 * (19 * 5 + 1)
    assert {c.input.name for c in plans.corruptions(both, Effort())} == {"clean", *CORRUPTIONS}


def test_defences_by_name():
    found = plans.senders(["none", "ours", "ours:weight=0.02,mode=rof", "median-3"], ["auto", "always"])
    assert [sender.name for sender in found] == [
        "undefended", "auto", "always", "auto weight=0.02,mode=rof", "always weight=0.02,mode=rof", "median-3"
    ]  # fmt: skip
    assert found[0] == PLAIN and found[1] == AUTO
    assert found[3].guard == Guard("auto", Defence(mode="rof", weight=0.02))
    budgeted = plans.senders(["ours:weight=0.02"], ["auto"], [900, None])
    assert [sender.name for sender in budgeted] == [
        "auto weight=0.02", "auto weight=0.02 budget=900", "auto weight=0.02 budget=none"
    ]  # fmt: skip
    assert [sender.guard.budget for sender in budgeted] == ["bundle", 900, None]
    assert len(plans.senders(["baselines"], ["auto"])) == len(TRIVIAL) + 1
    for wrong in ("magic", "ours:strength=1", "ours:weight"):
        with pytest.raises(CampaignError, match="there are"):
            plans.senders([wrong], ["auto"])


def test_an_adaptive_threat_knows_the_defence_that_it_meets():
    weak, strong = plans.senders(["ours:weight=0.02", "ours:weight=0.2"], ["always"])
    cells = plans.custom([FP], Effort((4,)), ["adaptive"], ["unmasked"], [], [], [PLAIN, weak, strong])
    attacks = [cell for cell in cells if cell.input.kind == "attack"]
    assert [cell.sender for cell in attacks] == [weak, strong]
    assert all(cell.input.knows == cell.sender.guard.defence for cell in attacks)


class Checker(HTMLParser):
    """Every element that needs it is closed, in order."""

    VOID = ("meta", "br")

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.links += [v for k, v in attributes if k in ("src", "href") and v and not v.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_command_line_writes_everything(tiny_bundles, data, tmp_path, capsys):
    paths = {name: tmp_path / f"deep/{name}" for name in ("json", "csv", "html")}
    arguments = ["--data", str(data), "--bundle", str(tiny_bundles["fp"]), str(tiny_bundles["mshp"])]
    arguments += [
        "--threat",
        "pgd_e",
        "adaptive",
        "--eps",
        "4",
        "16",
        "--steps",
        "2",
        "--setting",
        "unmasked",
    ]
    arguments += ["--corruption", "contrast", "--severity", "1", "5", "--defence", "none", "ours", "blur-1.0"]
    arguments += ["--output", str(tmp_path / "out")]
    for name, path in paths.items():
        arguments += [f"--{name}", str(path)]
    assert resilience.main(arguments) == 0
    result = json.loads(paths["json"].read_text())
    rows, summary = result["rows"], result["summary"]
    assert len(rows) == 2 * (3 * 3 + 2 * 3 + 2)
    assert list(summary["bundles"]) == ["tiny-fp", "tiny-mshp"]
    assert summary["pgde_increase_16"] > 0 and "beats_baselines_4" in summary
    attacked = [row for row in rows if row["kind"] == "attack"]
    assert all(0 < row["linf"] <= row["level"] for row in attacked)

    with paths["csv"].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert (line["input"], line["sender"]) == (row["input"], row["sender"])
        assert float(line["bytes_ratio"]) == row["bytes_ratio"]
        assert [float(line["top1_ci_low"]), float(line["top1_ci_high"])] == row["top1_ci"]

    checker = Checker()
    text = paths["html"].read_text()
    checker.feed(text)
    assert not checker.open and not checker.links
    assert checker.seen.count("svg") == 2 * 3 and checker.seen.count("table") >= 5
    assert "not our network" in text and "14.11 (1.47)" in text and "-67.5 %" in text
    said = capsys.readouterr()
    assert "tiny-mshp" in said.out and "defended_bytes_ratio_4" not in said.out

    assert resilience.main(arguments) == 0  # all from the store
    assert json.loads(paths["json"].read_text())["rows"] == rows


def test_what_is_missing_is_an_error_with_its_cure(tiny_bundles, data, tmp_path, capsys, monkeypatch):
    fp = ["--bundle", str(tiny_bundles["fp"]), "--output", str(tmp_path / "out")]
    assert resilience.main(["--data", str(tmp_path), *fp]) == 1
    assert "labels.csv" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    assert resilience.main(["--data", str(data), "--ray", "auto", *fp]) == 1
    assert "ratehold[ray]" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "torch", None)
    assert resilience.main(["--data", str(data), "--preset", "bars", *fp]) == 1
    assert "ratehold[export]" in capsys.readouterr().err
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("image,label\n")
    assert resilience.main(["--data", str(tmp_path), *fp]) == 1
    assert "no images" in capsys.readouterr().err


def test_every_bar_is_a_key_that_some_preset_gives(made):
    corruption = {"corruption_bytes_worst", "corruption_top1_worst_drop"}
    eps = {
        f"{key}_{e}"
        for key in ("defended_bytes_ratio", "defended_top1_drop", "beats_baselines")
        for e in (2, 4, 8)
    }
    assert {bar.key for bar in BARS} <= corruption | eps | set(summarise(Outcomes(made)))
