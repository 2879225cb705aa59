"""bench.rates: what is compared is what its name says, and the ratios are those of the curves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import rates
from bench.common.photos import labelled
from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.guard.defence import Defence
from runtime.head import Head
from tests.tiny_bundle import tiny_images

ONE = EngineOptions(threads=1)


def row(how: str, setting: str, size: float, nats: float) -> dict[str, object]:
    return {"prior": "fp", "how": how, "setting": setting, "bytes_mean": size, "divergence_nats": nats}


def test_ratios_are_at_equal_divergence() -> None:
    rows = [
        row(rates.MADE_FOR_IT, "rate 1", 1000, 0.01),
        row(rates.COARSER, "coarseness 4", 500, 0.03),
        row(rates.CONTROLLED, "lambda 0.1", 990, 0.02),
        row(rates.CONTROLLED, "lambda 9", 100, 0.2),
        row(rates.MADE_FOR_IT, "rate 2", 450, 0.03),
    ]
    summary = rates.summarise(rows)
    assert summary["fp_lambda_0.1"] == pytest.approx(990 / np.sqrt(1000 * 500))
    assert summary["fp_rate_2"] == pytest.approx(450 / 500)
    assert summary["fp_lambda_9"] is None
    assert list(summary) == ["fp_lambda_0.1", "fp_lambda_9", "fp_rate_2"]


def test_settings_are_sent_as_they_are_called(
    data: Path, tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "COARSE", (4,))
    monkeypatch.setattr(rates, "WEIGHTS", (0.5,))
    bundles = [load(tiny_bundles[prior]) for prior in ("fp", "mshp")]
    found = rates.rows_of(rates.measure(bundles, labelled(data), ONE))
    assert [(r["prior"], r["setting"]) for r in found] == [
        (prior, setting) for prior in ("fp", "mshp") for setting in ("rate 1", "coarseness 4", "lambda 0.5")
    ]
    for bundle, mine in zip(bundles, (found[:3], found[3:]), strict=True):
        as_they_are = Head(bundle, ONE)
        sizes = [as_they_are.encode(image).size for image in tiny_images(4)]
        assert mine[0]["bytes_mean"] == np.mean(sizes)
        coarse = Head(bundle, ONE, guard=Guard("always", Defence(weight=0.0, coarseness=4, rate_control=0.0)))
        assert mine[1]["bytes_mean"] == np.mean([coarse.encode(image).size for image in tiny_images(4)])
        assert mine[1]["bytes_mean"] < mine[0]["bytes_mean"] > mine[2]["bytes_mean"]


def test_the_report(data: Path, tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    assert rates.main(["--data", str(data), "--bundle", str(tiny_bundles["fp"]), "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert report["bench"] == "rates" and report["settings"]["images"] == 4
    assert len(report["rows"]) == 1 + len(rates.COARSE) + len(rates.WEIGHTS)
    assert rates.main(["--data", str(tmp_path), "--bundle", str(tiny_bundles["fp"])]) == 1
