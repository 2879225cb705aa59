"""Our TV denoiser beside others: time at equal work and at equal objective, error, growth, roofline.

    python -m bench.denoise [--runs N] [--threads N] [--sizes N ...] [--plot PATH] [--json PATH]

The image is a photograph of 224 x 224 x 3 with noise of +-8 of 255, the mask a smooth map. Peers run in turns
with ours, each rested and warm (``bench.common.timing.rested_turns``); outputs are compared before times.
``descent`` and ``released`` stand beside a loop in torch of the same iteration. ``rof`` stands beside solvers
of the same problem at an equal or lower objective, without a mask since they take none. A peer that is not
installed is left out and named.
"""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console

from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.bars import print_bars
from bench.common.terminal import Column, print_table
from bench.denoise.images import SIDE, disturbed, photograph, smooth_mask
from bench.denoise.peers import peers
from bench.denoise.plots import objective_against_time
from bench.denoise.sections import Rows, compare_peer, convergence, default_setting, growth, modes, progress
from native_denoise import settings
from native_denoise.cpu.bands import plan
from native_denoise.vectors.threads import available
from runtime.cli.program import program

SIZES = (64, 128, 224, 512, 1024, 2048)

COLUMNS: dict[str, dict[str, int]] = {
    "default": {"case": 0, "steps": 0, "p50_ms": 0},
    "peers": {
        "peer": 0, "ours": 0, "peer_p50_ms": 0, "our_p50_ms": 0, "speedup": 0, "largest_difference": 2,
        "psnr_db": 3, "our_psnr_db": 3, "objective": 4, "our_objective": 4,
    },
    "modes": {
        "mode": 0, "threads": 0, "p50_ms": 0, "largest_error": 0, "roofline_fraction": 0, "steps": 2,
        "least_ms": 2, "roof_gflops": 3, "roof_cache_gbytes": 3,
    },
    "pixels": {"mode": 0, "side": 0, "threads": 0, "p50_ms": 0, "ns_per_pixel_and_step": 0, "steps": 1},
    "frames": {"mode": 0, "frames": 0, "threads": 0, "p50_ms": 0, "ns_per_pixel_and_step": 0, "steps": 1},
    "convergence": {"solver": 0, "steps": 0, "p50_ms": 0, "objective_above_minimum": 0},
}  # fmt: skip
"""What is printed of each section: keys of its rows, and their ranks as of ``terminal.Column``."""

TITLES = {
    "default": "What the runtime and denoise() do when nothing is said",
    "peers": "Others, and ours that does the same or better",
    "modes": "Each mode: error against float64, share of what the machine could do",
    "pixels": "Time against pixels",
    "frames": "Time against frames in a call",
    "convergence": "Objective against time",
}
WORDS = ("case", "peer", "ours", "mode", "solver")


def spread(rows: Rows, mode: str, threads: int) -> float:
    """Largest over smallest time per pixel among the sizes."""
    each = [
        row["ns_per_pixel_and_step"]
        for row in rows
        if row["section"] == "pixels" and row["mode"] == mode and row["threads"] == threads
    ]
    return max(each) / min(each)


def summarise(rows: Rows, threads: int) -> dict[str, Any]:
    """The figures that are watched."""
    speedups = {row["peer"]: row["speedup"] for row in rows if row["section"] == "peers"}
    roofs = {row["threads"]: row["roof_gflops"] for row in rows if row["section"] == "modes"}
    largest = max(row["largest_error"] for row in rows if row["section"] == "modes")
    default, rof = [row for row in rows if row["section"] == "default"][:2]
    layout = plan(1, 3, 1, SIDE, SIDE, 5, 1, 1)
    spreads = {
        f"{mode}, {count} thread{'s' * (count > 1)}": spread(rows, mode, count)
        for mode in ("released", "descent", "rof")
        for count in sorted({1, threads})
    }
    return {
        "speedup_vs_torch_descent": speedups.get("torch loop, descent"),
        "speedup_vs_torch_descent_in_place": speedups.get("torch loop, descent, in place and rsqrt"),
        "speedup_vs_released": speedups.get("torch loop, released"),
        "speedup_vs_skimage": speedups.get("scikit-image Chambolle, 100 steps"),
        "default_p50_ms": default["p50_ms"],
        "default_steps": default["steps"],
        "default_rof_p50_ms": rof["p50_ms"],
        "largest_error": largest,
        # Below the number of threads, these share the vector units of one core (or the machine is busy).
        "cores_worth": roofs[threads] / roofs[1],
        "planes_in_flight": layout.size / (3 * SIDE * layout.stride),
        "time_per_pixel_spread": spreads,
        # How far the worst size is from the line through zero that is nearest to it and its opposite.
        "time_per_pixel_off_line": {name: (ratio - 1) / (ratio + 1) for name, ratio in spreads.items()},
        "roofline_fraction": {
            f"{row['mode']}, {row['threads']} thread{'s' * (row['threads'] > 1)}": row["roofline_fraction"]
            for row in rows
            if row["section"] == "modes"
        },
    }


def show(rows: Rows, summary: dict[str, Any], console: Console) -> None:
    """The verdict, then a table for each section."""
    console.print("\nThe TV denoiser: a photograph of 224 x 224 x 3\n", style="bold")
    console.print(
        f"The runtime's default ({summary['default_steps']} steps) takes {summary['default_p50_ms']:.2f} ms. "
        f"The largest error against float64 is {summary['largest_error']:.1e}."
    )
    for key, name in (
        ("speedup_vs_torch_descent", "a loop in torch of the same iteration"),
        ("speedup_vs_skimage", "scikit-image's Chambolle at the same objective"),
    ):
        if summary[key] is not None:
            console.print(f"It is {summary[key]:.1f} times as fast as {name}.")
    worth, threads = summary["cores_worth"], max(row.get("threads", 1) for row in rows)
    if worth < 0.75 * threads:
        console.print(
            f"{threads} threads were worth {worth:.1f} cores: the machine is busy, or they share one."
        )
    for section, columns in COLUMNS.items():
        mine = [row for row in rows if row["section"] == section]
        print_table(
            console, [Column(_heading(key), key in WORDS, rank) for key, rank in columns.items()],
            [[_cell(row.get(key)) for key in columns] for row in mine], TITLES[section],
        )  # fmt: skip


def _heading(key: str) -> str:
    return key.replace("p50_ms", "ms").replace("_", " ").strip()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return str(value)


@program("bench.denoise")
def main(arguments: list[str] | None = None) -> int:
    """Run all sections and report; 0."""
    parser = options_of.parser("bench.denoise", __doc__)
    options_of.add_runs(parser, 50, "calls of each case")
    options_of.add_threads(parser, min(2, available()), "all contenders")
    parser.add_argument(
        "--sizes", type=options_of.positive, metavar="N", nargs="+", default=list(SIZES),
        help="sides of the square images",
    )  # fmt: skip
    options_of.add_plot(parser, "the objective against time")
    options_of.add_bars(parser)
    options_of.add_json(parser)
    options = parser.parse_args(arguments)
    clean = photograph()
    noisy, mask = disturbed(clean), smooth_mask(SIDE, SIDE)
    threads, runs = options.threads, options.runs
    found, missing = peers(
        noisy, mask, {mode: settings(mode) for mode in ("rof", "descent", "released")}, threads
    )
    for package, reason in missing.items():
        progress.print(f"skipped: {package}: {reason}")
    rows = default_setting(noisy, mask, threads, runs)
    for peer in found:
        progress.print(f"peer: {peer.name}")
        rows += compare_peer(peer, noisy, clean, mask, threads, runs)
    progress.print("modes and roofline")
    rows += modes(noisy, mask, threads, runs)
    rows += growth(options.sizes, threads, runs)
    progress.print("convergence")
    rows += convergence(noisy, threads, runs)
    if options.plot:
        for file in objective_against_time(rows, options.plot):
            progress.print(file)
    summary = {**summarise(rows, threads), "skipped": missing}
    console = bundle_options.console(options)
    show(rows, summary, console)
    print_bars("denoise", summary, options, console)
    chosen = {"side": SIDE, "channels": 3, "threads": threads, "runs": runs, "sizes": options.sizes}
    report.write(options.json, "denoise", chosen, rows, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
