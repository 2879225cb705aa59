"""Everything that needs a GPU, in one run.

    python -m bench.gpu [--runs N] [--batches N ...] [--bundle NAME ...] [--arch NAME] [--json PATH]

| part     | what                                                                                  |
|----------|---------------------------------------------------------------------------------------|
| denoise  | the CUDA denoiser: correctness, times (``bench.gpu.denoise``)                     |
| latents  | heads by ONNX Runtime on CUDA and by TensorRT against the CPU's (``bench.gpu.engines``) |
| packets  | whole frames against the CPU's, read by a tail on the CPU                         |
| decoding | the exact h_s by every engine (``bench.engines``)                                 |
| frame    | a defended frame from pixels to latents: times (``bench.gpu.frame``)              |
| overlap  | denoising and the head in two streams                                             |
| shapes   | `descent` by other shapes of tile (``bench.gpu.shapes``)                          |

The bundles are the default one and the paper's ResNet-50 with random weights by a seed. A case that cannot
run is skipped, and named in the report with the reason. Without a GPU that is every case.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.bars import print_bars
from bench.common.terminal import Column, print_table
from bench.gpu import denoise, engines, frame, shapes
from bench.gpu.cases import Row, by_reason, no_gpu, progress, run_all
from bench.sc2bench import paper_network
from runtime.bundle import DEFAULT, Bundle
from runtime.cli.program import program
from runtime.errors import RateholdError

BATCHES = (1, 8, 64, 256)
LARGEST_ERROR = 1e-5  # of the denoiser, in units of the image
SYMBOLS_CHANGED = 1e-3  # by another order of float32 sums, at most
WORDS = ("case", "mode", "path", "device", "read_by")


def summarise(rows: list[Row], skipped: list[dict[str, str]], gpu: Row | None) -> dict[str, Any]:
    """Best times, and whether every part was right: None where nothing of it ran."""
    best: dict[str, float] = {}
    for row in of_part(rows, "denoise"):
        key = f"{row['mode']}, {row['steps']} steps, {row['frames']} frames: us_per_frame"
        best[key] = min(best.get(key, np.inf), row["us_per_frame"])
    frame = {row["case"]: row["frame_p50_ms"] for row in of_part(rows, "frame")}
    return {
        "gpu": gpu,
        "correct": all_or_none(row["largest_error"] <= LARGEST_ERROR for row in of_part(rows, "denoise")),
        "best": best,
        "heads_agree": all_or_none(
            row["symbols_changed"] <= SYMBOLS_CHANGED for row in of_part(rows, "latents")
        ),
        "mismatches": sum(row["mismatches"] for row in of_part(rows, "decoding")) if rows else None,
        "frame_p50_ms": frame,
        "overlap": {row["case"]: row["overlap"] for row in of_part(rows, "overlap")},
        "skipped": skipped,
    }


def of_part(rows: list[Row], part: str) -> list[Row]:
    """The rows of one part."""
    return [row for row in rows if row["part"] == part]


def all_or_none(verdicts: Any) -> bool | None:
    """Whether all are true; None when there is none."""
    found = list(verdicts)
    return all(found) if found else None


def paper_bundles(options: argparse.Namespace, folder: Path) -> list[Bundle]:
    """The network of ``--arch``, or none where it cannot be built, which is said."""
    try:
        return [paper_network.build(options, folder, lambda line: progress.print(line, markup=False)).bundle]
    except RateholdError as error:
        progress.print(f"skipped: {options.arch}: {error}", markup=False)
        return []


def show(rows: list[Row], summary: dict[str, Any], console: Console) -> None:
    """The verdict, then one table a part."""
    gpu = summary["gpu"]
    console.print(f"\n{gpu['name'] if gpu else 'No GPU that can be used here'}\n", style="bold", markup=False)
    for key, what in (("correct", "the denoiser's error"), ("heads_agree", "symbols of heads")):
        verdict = {None: "nothing ran", True: "within the bound", False: "BEYOND THE BOUND"}[summary[key]]
        console.print(f"{what}: {verdict}")
    mismatches = summary["mismatches"]
    console.print(f"decodings that differ: {'nothing ran' if mismatches is None else mismatches}")
    for reason, names in by_reason(summary["skipped"]).items():
        console.print(f"{len(names)} cases skipped: {reason}", markup=False)
    for part in dict.fromkeys(row["part"] for row in rows):
        found = of_part(rows, part)
        names = [name for name in found[0] if name != "part"]
        columns = [Column(name.replace("_", " "), name in WORDS, rank) for rank, name in enumerate(names)]
        print_table(console, columns, [[_cell(row[name]) for name in names] for row in found], part)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@program("bench.gpu")
def main(arguments: list[str] | None = None) -> int:
    """Run what can run, and report; 0, or 1 when a bundle cannot be had."""
    parser = options_of.parser("bench.gpu", __doc__)
    options_of.add_runs(parser, 50, "calls of each case")
    parser.add_argument(
        "--batches", type=options_of.positive, metavar="N", nargs="*", default=list(BATCHES),
        help="frames in a call of the denoiser",
    )  # fmt: skip
    bundle_options.add_bundles(parser, [DEFAULT])
    parser.add_argument(
        "--frames", type=options_of.positive, metavar="N", default=500, help="frames that are decoded"
    )
    paper_network.add_arguments(parser, "resnet50")
    options_of.add_bars(parser)
    options_of.add_json(parser)
    options = parser.parse_args(arguments)
    options.photos, reason = None, no_gpu()
    gpu = denoise.machine() if reason is None else None
    chosen: dict[str, Any] = {"side": denoise.SIDE, "channels": 3, "work": denoise.WORK}
    chosen |= options_of.chosen(options, "runs", "batches", "frames")

    def save(rows: list[Row], skipped: list[dict[str, str]]) -> None:
        report.write(options.json, "gpu", chosen, rows, summarise(rows, skipped, gpu))

    with tempfile.TemporaryDirectory() as folder:
        bundles = bundle_options.bundles(options)
        if reason is None:
            bundles += paper_bundles(options, Path(folder))
        cases = itertools.chain(
            denoise.cases(options.batches, options.runs, reason),
            frame.cases(bundles, options.runs, reason),
            shapes.cases(options.runs, reason),
            engines.cases(bundles, options.frames, reason),
        )
        rows, skipped = run_all(cases, save if options.json != "-" else lambda *_: None)
    save(rows, skipped)
    summary, console = summarise(rows, skipped, gpu), bundle_options.console(options)
    show(rows, summary, console)
    print_bars("gpu", summary, options, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
