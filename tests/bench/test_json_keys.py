"""The keys of every benchmark's JSON: documents and users' scripts read them, so none may go.

``json_keys.json`` has the keys of each benchmark at f55a468: ``top``, ``settings``, ``summary``, and ``rows``
by kind; ``rows_by`` names the field that tells the kind ("": all are of one). New keys may join.

To add a benchmark, add its keys to the file and a function under ``@writes(name)``, which returns a report.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import rates
from bench.accuracy import __main__ as accuracy
from bench.coding import __main__ as coding
from bench.denoise import __main__ as denoise
from bench.engines import __main__ as engines
from bench.exchange import __main__ as exchange
from bench.exchange.frames import varied
from bench.gpu import __main__ as gpu
from bench.latency import __main__ as latency
from bench.latency import attack_cost, frame_timing, guard_cost
from bench.latency.cold_start import Footprint
from bench.latency.disturbances import VARIANTS
from bench.link import __main__ as link
from bench.sc2bench import peer
from bench.serve import __main__ as serve
from tests.tiny_bundle import SIZE, tiny_images

Report = dict[str, Any]
KEYS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("json_keys.json").read_text(encoding="utf-8")
)
MEASURED = Path(__file__).parents[2] / "docs" / "measured"


@dataclass(frozen=True)
class Given:
    """What a run may use: tiny bundles, a labelled folder, a place for its report."""

    fp: str
    mshp: str
    data: str
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    @property
    def out(self) -> Path:
        return self.folder / "report.json"

    def report(self, main: Callable[[list[str]], object], *arguments: str) -> Report:
        """What ``main`` writes with ``--json``; benchmarks that end by ``sys.exit`` end with 0."""
        try:
            status = main([*arguments, "--json", str(self.out)])
        except SystemExit as end:
            status = end.code
        assert not status
        found: Report = json.loads(self.out.read_text())
        return found


RUNS: dict[str, Callable[[Given], Report]] = {}


def writes(bench: str) -> Callable[[Callable[[Given], Report]], Callable[[Given], Report]]:
    """Register the run whose report is checked against the keys of ``bench``."""

    def register(run: Callable[[Given], Report]) -> Callable[[Given], Report]:
        RUNS[bench] = run
        return run

    return register


def kept(report: Report, keys: dict[str, Any], kinds: set[str]) -> None:
    """Assert that no key is gone; ``kinds`` of rows must be there, the others may be."""
    for part in ("settings", "summary"):
        assert not set(keys[part]) - set(report[part]), part
    assert not set(keys["top"]) - set(report)
    found = set()
    for row in report["rows"]:
        kind = str(row[keys["rows_by"]]) if "rows_by" in keys else ""
        found.add(kind)
        assert not set(keys["rows"].get(kind, [])) - set(row), kind
    assert kinds <= found


@pytest.fixture
def given(
    tiny_bundles: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Given:
    return Given(str(tiny_bundles["fp"]), str(tiny_bundles["mshp"]), str(data), tmp_path, monkeypatch)


@writes("accuracy")
def _accuracy(given: Given) -> Report:
    return given.report(accuracy.main, "--data", given.data, "--bundle", given.fp, given.mshp)


@writes("rates")
def _rates(given: Given) -> Report:
    return given.report(rates.main, "--data", given.data, "--bundle", given.fp, given.mshp)


@writes("latency")
def _latency(given: Given) -> Report:
    given.monkeypatch.setattr(frame_timing, "footprint", lambda *_: Footprint(1.0, 2.0, 3.0))
    return given.report(latency.main, "--bundle", given.mshp, "--runs", "1", "--limit", "1")


@writes("link")
def _link(given: Given) -> Report:
    camera = ["--emulate", "100kbit,5ms", "--fps", "50", "--frames", "4", "--workers", "1", "--budget", "60"]
    return given.report(link.main, "--bundle", given.fp, *camera)


@writes("engines")
def _engines(given: Given) -> Report:
    return given.report(engines.main, "--bundle", given.fp, given.mshp, "--frames", "9")


@writes("coding")
def _coding(given: Given) -> Report:
    given.monkeypatch.setattr(coding, "bundle_sets", lambda names: iter(()))
    given.monkeypatch.setattr(coding, "SYMBOLS", 2000)
    return given.report(coding.main, "--runs", "1")


@writes("exchange")
def _exchange(given: Given) -> Report:
    np.savez(given.folder / "frames.npz", frames=varied(tiny_images(2), 2, size=SIZE))
    packets = str(given.folder / "packets")
    write = ["write", packets, "--frames", str(given.folder / "frames.npz"), "--bundle", given.fp]
    assert exchange.main(write) == 0
    return given.report(exchange.main, "check", packets)


@pytest.mark.parametrize("bench", sorted(RUNS))
def test_no_key_is_gone(bench: str, given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    keys = KEYS[bench]
    given.monkeypatch.setenv("COLUMNS", "80")
    kept(RUNS[bench](given), keys, set(keys["rows"]))
    printed = capsys.readouterr().out
    assert printed and "acceptance bars" not in printed
    assert "\x1b" not in printed and "…" not in printed and max(map(len, printed.splitlines())) <= 80


def test_every_benchmark_in_the_file_is_checked() -> None:
    assert set(KEYS) == {*RUNS, "denoise", "gpu", "peer_sc2bench", "serve"}


def test_gpu_keeps_its_keys(given: Given) -> None:
    """Rows need a GPU; there every case adds its own."""
    kept(given.report(gpu.main, "--bundle", given.mshp), KEYS["gpu"], set())


@pytest.mark.slow
def test_denoise_keeps_its_keys(given: Given) -> None:
    report = given.report(denoise.main, "--runs", "1", "--sizes", "32", "64")
    kept(report, KEYS["denoise"], set(KEYS["denoise"]["rows"]))


@pytest.mark.slow
def test_serve_keeps_its_keys(given: Given) -> None:
    short = ["--workers", "1", "--rounds", "1", "--seconds", "0.3", "--requests", "200", "--down", "1"]
    report = given.report(serve.main, "--bundle", given.fp, *short, "--kills", "1")
    kept(report, KEYS["serve"], set(KEYS["serve"]["rows"]))


def test_the_summary_of_serve_is_made_of_rows_as_they_were() -> None:
    rows = json.loads((MEASURED / "serve_icelake.json").read_text())["rows"]
    assert not set(KEYS["serve"]["summary"]) - set(serve.summarise(rows))


def test_latency_says_what_an_attack_costs_in_the_same_keys() -> None:
    """The tiny bundle's photographs are not in the attack pack, so the keys are asked where they are made."""
    line = attack_cost.InputCost("clean", bytes=1.0, right=1.0, defended=0.0, device_ms=1.0, link_ms=1.0)
    cost = attack_cost.AttackCost(1, line, line, line, line)
    cost_of_guard = guard_cost.GuardCost(1, 1.0, 1.0, 0).as_summary()
    sizes = {f"bytes_{variant.key}_p50" for variant in VARIANTS}
    assert (
        not set(KEYS["latency"]["summary_with_attack_pack"]) - sizes - set(cost.as_summary() | cost_of_guard)
    )


def test_the_comparison_with_sc2bench_keeps_its_keys() -> None:
    keys = KEYS["peer_sc2bench"]
    rows = [dict.fromkeys(keys["rows"][""], 1.0)]
    assert not set(keys["summary"]) - set(peer.summarise(rows))
