"""bench.gpu without a GPU: everything is skipped and named; its parts run on a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.gpu import __main__ as gpu
from bench.gpu import engines, frame
from bench.gpu.cases import GpuCase, no_gpu, run_all
from runtime.bundle import load
from runtime.engines import missing

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def fails() -> dict[str, Any]:
    raise MemoryError("out of memory")


def test_a_case_that_fails_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    cases = [
        GpuCase("one", "a", fails),
        GpuCase("one", "b", lambda: {"value": 1}),
        GpuCase("two", "c", fails, missing="no TensorRT"),
    ]
    kept: list[int] = []
    rows, skipped = run_all(cases, lambda rows, _: kept.append(len(rows)))
    assert kept == [1], "whatever has run is reported at once"
    assert rows == [{"part": "one", "case": "b", "value": 1}]
    assert [one["reason"] for one in skipped] == ["MemoryError: out of memory", "no TensorRT"]
    assert "no TensorRT" in capsys.readouterr().err


def test_without_a_gpu_all_is_skipped_and_the_report_written(
    tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    if no_gpu() is None:
        pytest.skip("there is a GPU")
    where = tmp_path / "gpu.json"
    gpu.main(["--bundle", str(tiny_bundles["mshp"]), "--json", str(where)])
    report = json.loads(where.read_text())
    assert report["rows"] == []
    parts = {one["part"] for one in report["summary"]["skipped"]}
    assert parts == {"denoise", "latents", "packets", "decoding", "frame", "overlap", "shapes"}
    assert all("GPU" in one["reason"] for one in report["summary"]["skipped"])
    verdicts = ("gpu", "correct", "heads_agree", "mismatches")
    assert all(report["summary"][name] is None for name in verdicts)


def test_a_missing_engine_is_a_reason_of_its_own(tiny_bundles: dict[str, Path]) -> None:
    bundle = load(tiny_bundles["mshp"])
    cases = [*engines.cases([bundle], 5, None), *frame.cases([bundle], 5, None)]
    for case in cases:
        named = [name for name in engines.ON_GPU if name in case.name]
        assert (case.missing is None) == any(missing(name) is None for name in named or engines.ON_GPU)


def test_the_summary_judges_what_ran() -> None:
    rows: list[dict[str, Any]] = [
        {
            "part": "denoise",
            "mode": "rof",
            "steps": 40,
            "frames": 1,
            "us_per_frame": 9.0,
            "largest_error": 1e-6,
        },
        {
            "part": "denoise",
            "mode": "rof",
            "steps": 40,
            "frames": 1,
            "us_per_frame": 5.0,
            "largest_error": 2e-6,
        },
        {"part": "latents", "case": "x", "symbols_changed": 0.5},
        {"part": "decoding", "case": "x", "mismatches": 3},
        {"part": "frame", "case": "x", "frame_p50_ms": 0.8},
        {"part": "overlap", "case": "x", "overlap": 0.7},
    ]
    summary = gpu.summarise(rows, [], {"name": "GPU"})
    assert summary["correct"] is True and summary["heads_agree"] is False
    assert summary["best"] == {"rof, 40 steps, 1 frames: us_per_frame": 5.0}
    assert summary["mismatches"] == 3
    assert summary["frame_p50_ms"] == {"x": 0.8} and summary["overlap"] == {"x": 0.7}


def test_frames_and_packets_on_a_stand_in(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "runtime" / "gpu")])
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path}
    result = subprocess.run(
        [sys.executable, str(HERE / "frame_cases.py"), str(tmp_path)],
        capture_output=True, text=True, timeout=600, env=environment, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the benchmarks run" in result.stdout
