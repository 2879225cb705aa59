"""Our TV denoiser beside others: time at equal work and at equal objective, error, growth, roofline.

    python -m bench.denoise [--runs N] [--threads N] [--sizes N ...] [--plot DIR] [--json PATH]

The image is a photograph of 224 x 224 x 3 with noise of +-8 of 255, the mask a smooth map.  Peers run in
turns with ours, each rested and warm (``denoise_peers.rested_turns``); outputs are compared before times.
``descent`` and ``released`` are compared with a loop in torch of the same iteration, `rof` with solvers of
the same problem at an equal or lower objective, without a mask since they take none.  A peer that is not
installed is left out and named.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.common import report
from bench.denoise.images import SIDE, disturbed, photograph, smooth_mask
from bench.denoise.peers import peers
from bench.denoise.sections import Rows, compare_peer, convergence, default_setting, growth, modes, progress
from native_denoise import settings
from native_denoise.cpu.bands import plan
from native_denoise.vectors.threads import available
from runtime.cli.program import prog, program

SIZES = (64, 128, 224, 512, 1024, 2048)


def spread(rows: Rows, mode: str, threads: int) -> float:
    """Largest over smallest time per pixel among the sizes."""
    each = [
        row["ns_per_pixel_and_step"]
        for row in rows
        if row["section"] == "pixels" and row["mode"] == mode and row["threads"] == threads
    ]
    return max(each) / min(each)


def plot(rows: Rows, directory: str) -> None:
    """objective.png: how far above the minimum each solver is after how many milliseconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name in dict.fromkeys(row["solver"] for row in rows if row["section"] == "convergence"):
        mine = [row for row in rows if row.get("solver") == name]
        heights = [max(row["objective_above_minimum"], 1e-9) for row in mine]
        axes.loglog([row["p50_ms"] for row in mine], heights, marker="o", label=name)
    axes.set(xlabel="ms, 224 x 224 x 3", ylabel="objective above its minimum, per value")
    axes.legend()
    axes.grid(alpha=0.3)
    Path(directory).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(directory) / "objective.png", dpi=120, bbox_inches="tight")


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


def show(rows: Rows, summary: dict[str, Any]) -> None:
    """One table a section on the terminal."""
    console = Console()
    for section in dict.fromkeys(row["section"] for row in rows):
        mine = [{k: v for k, v in row.items() if k != "section"} for row in rows if row["section"] == section]
        columns = list(
            dict.fromkeys(key for row in mine for key in row if not key.endswith(("p95_ms", "p99_ms")))
        )
        table = Table(*columns, title=section)
        for row in mine:
            table.add_row(*[_cell(row.get(column)) for column in columns])
        console.print(table)
    console.print(summary)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@program("bench.denoise")
def main(arguments: list[str] | None = None) -> None:
    """Run all sections and report."""
    parser = argparse.ArgumentParser(prog=prog("bench.denoise"), description="the TV denoiser beside others")
    parser.add_argument("--runs", type=int, default=50, help="timed calls of each case (default 50)")
    parser.add_argument(
        "--threads", type=int, default=min(2, available()), help="threads for all (default 2)"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=list(SIZES), help="sides of the square images"
    )
    parser.add_argument("--plot", metavar="DIR", help="write objective.png to DIR")
    report.add_json_argument(parser)
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
        plot(rows, options.plot)
    summary = {**summarise(rows, threads), "skipped": missing}
    chosen = {"side": SIDE, "channels": 3, "threads": threads, "runs": runs, "sizes": options.sizes}
    report.write(options.json, "denoise", chosen, rows, summary)
    if options.json != "-":
        show(rows, summary)


if __name__ == "__main__":
    sys.exit(main())
