"""Everything that needs a GPU, in one run.

    python -m bench.gpu [--runs N] [--batches N ...] [--bundle NAME ...] [--arch NAME] [--json PATH]

| part     | what                                                                              |
|----------|-----------------------------------------------------------------------------------|
| denoise  | the CUDA denoiser: correctness, times (``bench.gpu.denoise``)                     |
| latents  | heads by ONNX Runtime on CUDA and by TensorRT against the CPU's (``gpu_engines``) |
| packets  | whole frames against the CPU's, read by a tail on the CPU                         |
| decoding | the exact h_s by every engine (``bench.engines``)                                 |
| frame    | a defended frame from pixels to latents: times (``bench.gpu.frame``)              |
| overlap  | denoising and the head in two streams                                             |
| shapes   | `descent` by other shapes of tile (``bench.gpu.shapes``)                          |

The bundles are the default one and ResNet-50 of the paper, of random weights by a seed. What cannot run is
skipped, said on standard error and named in the report; without a GPU that is everything, and the report is
still written.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from bench.common import bundle_options, report
from bench.gpu import denoise, engines, frame, shapes
from bench.gpu.cases import Row, no_gpu, progress, run_all
from bench.sc2bench import paper_network
from runtime.bundle import DEFAULT, Bundle
from runtime.cli.program import prog, program
from runtime.errors import RateholdError

BATCHES = (1, 8, 64, 256)
LARGEST_ERROR = 1e-5  # of the denoiser, in units of the image
SYMBOLS_CHANGED = 1e-3  # by another order of float32 sums, at most


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


@program("bench.gpu")
def main(arguments: list[str] | None = None) -> None:
    """Run what can run, and report."""
    parser = argparse.ArgumentParser(prog=prog("bench.gpu"), description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs", type=bundle_options.positive, default=50, help="timed calls of each case (50)"
    )
    parser.add_argument("--batches", type=int, nargs="*", default=list(BATCHES), help="frames in a call")
    parser.add_argument("--bundle", nargs="*", default=[DEFAULT], metavar="NAME", help="(%(default)s)")
    parser.add_argument("--frames", type=bundle_options.positive, default=500, help="that are decoded (500)")
    paper_network.add_arguments(parser, "resnet50")
    report.add_json_argument(parser)
    options = parser.parse_args(arguments)
    options.data, reason = None, no_gpu()
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
        gpu = denoise.machine() if reason is None else None
        chosen: dict[str, Any] = {"side": denoise.SIDE, "channels": 3, "work": denoise.WORK}
        chosen |= {"runs": options.runs, "batches": options.batches, "frames": options.frames}

        def save(rows: list[Row], skipped: list[dict[str, str]]) -> None:
            report.write(options.json, "gpu", chosen, rows, summarise(rows, skipped, gpu))

        rows, skipped = run_all(cases, save if options.json != "-" else lambda *_: None)
    save(rows, skipped)
    if options.json != "-":
        show(rows, bundle_options.console(options))


def show(rows: list[Row], console: Any) -> None:
    """One table a part."""
    for part in dict.fromkeys(row["part"] for row in rows):
        found = of_part(rows, part)
        table = Table(*[name for name in found[0] if name != "part"], title=part)
        for row in found:
            values = [value for name, value in row.items() if name != "part"]
            table.add_row(*[f"{v:.3g}" if isinstance(v, float) else str(v) for v in values])
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
