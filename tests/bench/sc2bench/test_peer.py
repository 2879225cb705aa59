"""The comparison with sc2bench on a small frame budget: outputs first, then ratios."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.common.errors import PeerError
from bench.sc2bench import paper_network
from bench.sc2bench.peer import compared, main, summarise


def test_results_of_another_network_are_refused() -> None:
    logits = np.array([1.0, 3.0, 2.0], np.float32)
    same = torch.tensor([[1.01, 3.0, 2.0]])
    row = compared("cat", 1000, logits, 1010, same)
    assert row["same_class"] and row["logits_difference"] == pytest.approx(0.01 / 3, rel=1e-3)
    with pytest.raises(PeerError, match="logits differ"):
        compared("cat", 1000, logits, 1010, torch.tensor([[3.0, 1.0, 2.0]]))
    with pytest.raises(PeerError, match="1000 bytes"):
        compared("cat", 1000, logits, 1300, same)


def test_ratios_are_of_medians_and_bytes_of_sums() -> None:
    times = {
        "peer_encode_ms": 10.0,
        "encode_ms": 4.0,
        "defended_ms": 8.0,
        "peer_decode_ms": 5.0,
        "decode_ms": 2.0,
    }
    rows = [
        {"photo": "a", "bytes": 90, "peer_bytes": 100, "same_class": True} | times,
        {"photo": "b", "bytes": 310, "peer_bytes": 300, "same_class": False} | times,
        {"photo": "c", "bytes": 100, "peer_bytes": 100, "same_class": True} | times | {"encode_ms": 400.0},
    ]
    summary = summarise(rows)
    assert summary["encode_ratio_vs_sc2bench"] == pytest.approx(0.4)
    assert summary["defended_ratio_vs_sc2bench"] == pytest.approx(0.8)
    assert summary["decode_ratio_vs_sc2bench"] == pytest.approx(0.4)
    assert summary["bytes_ratio_vs_sc2bench"] == 1.0
    assert summary["same_class_as_sc2bench"] == pytest.approx(2 / 3)


@pytest.mark.slow
def test_the_whole_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sc2bench", reason="sc2bench is not installed: make setup")
    monkeypatch.setattr(paper_network, "STEPS", 40)
    path = tmp_path / "out.json"
    options = ["--limit", "2", "--runs", "1", "--threads", "1", "--prior", "fp", "--json", str(path)]
    assert main(options) == 0
    report = json.loads(path.read_text())
    assert len(report["rows"]) == 2
    assert report["summary"]["bytes_ratio_vs_sc2bench"] <= 1.005
    assert all(row["encode_ms"] > 0 and row["peer_encode_ms"] > 0 for row in report["rows"])
