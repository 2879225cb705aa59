"""The project's own acceptance bars, which ``--bars`` prints; a user needs none of them.

They hold for the machines that docs/results.md names, with nothing else running.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from bench.common.terminal import Column, print_table


@dataclass(frozen=True)
class AcceptanceBar:
    """A limit of one figure of a report's summary: at most ``limit``, or at least where ``least`` is set."""

    key: str
    limit: float
    least: bool = False

    def met(self, value: float) -> bool:
        """Whether a figure keeps the bar."""
        return value >= self.limit if self.least else value <= self.limit


BARS = {
    "latency": (
        AcceptanceBar("guard_clean_percent_of_device", 2.0),
        AcceptanceBar("resize_speedup", 4.0, least=True),
        AcceptanceBar("resize_speedup_2_threads", 6.0, least=True),
        AcceptanceBar("sustained_time_ratio", 1.3),
        AcceptanceBar("encode_ratio_vs_sc2bench", 0.40),
        AcceptanceBar("defended_ratio_vs_sc2bench", 0.75),
        AcceptanceBar("decode_ratio_vs_sc2bench", 0.60),
        AcceptanceBar("bytes_ratio_vs_sc2bench", 1.005),
    ),
    "denoise": (
        AcceptanceBar("speedup_vs_torch_descent", 25.0, least=True),
        AcceptanceBar("speedup_vs_released", 14.0, least=True),
        AcceptanceBar("speedup_vs_skimage", 12.0, least=True),
        AcceptanceBar("default_p50_ms", 2.0),
        AcceptanceBar("largest_error", 1e-5),
    ),
    "serve": (
        AcceptanceBar("efficiency", 0.8, least=True),
        AcceptanceBar("p99_at_70_over_p50", 3.0),
        AcceptanceBar("p99_with_idlers_over_without", 1.5),
        AcceptanceBar("memory_growth", 0.05),
        AcceptanceBar("hostile_growth_mb", 100.0),
        AcceptanceBar("hostile_p99_ratio", 3.0),
        AcceptanceBar("recovery_s", 2.0),
        AcceptanceBar("lost", 0.0),
        AcceptanceBar("answered_twice", 0.0),
    ),
    "engines": (AcceptanceBar("mismatches", 0.0),),
    "gpu": (AcceptanceBar("mismatches", 0.0),),
}
BARS["peer_sc2bench"] = tuple(bar for bar in BARS["latency"] if bar.key.endswith("_vs_sc2bench"))


def print_bars(bench: str, summary: dict[str, Any], options: argparse.Namespace, console: Console) -> None:
    """Where ``--bars`` was given: each bar whose figure was measured, and whether it is met."""
    measured = [bar for bar in BARS[bench] if summary.get(bar.key) is not None]
    if not options.bars:
        return
    rows = [
        (bar.key, f"{summary[bar.key]:.4g}", f"{'>=' if bar.least else '<='} {bar.limit:g}",
         "met" if bar.met(summary[bar.key]) else "NOT MET")
        for bar in measured
    ]  # fmt: skip
    columns = [Column("figure", words=True), Column("measured"), Column("bar"), Column("verdict", words=True)]
    print_table(console, columns, rows, "The project's own acceptance bars")
