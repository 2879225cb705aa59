"""Decoding across engines: packets that are encoded once must be read alike whoever computes the exact h_s.

    python -m bench.engines [--bundle NAME ...] [--frames N] [--seed N] [--json PATH]

Every frame is coded to a packet, which is then read in several ways: by the NumPy definition of h_s, by
torch, by ONNX Runtime with one and two threads at every optimisation level, by CUDA and TensorRT where they
are. A factorized prior computes nothing, so both coders read it. A mismatch is a packet that is refused, or a
symbol or table index that is not the encoder's. Engines that are missing here are named with the reason.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.bars import print_bars
from bench.common.terminal import Column, print_table
from bench.engines.comparison import EngineComparison, compare
from runtime.bundle import DEFAULT
from runtime.cli.program import program

BUNDLES = [DEFAULT, DEFAULT.replace("mshp", "fp")]


@dataclass(frozen=True)
class ReaderRow:
    """How one way to read fared; photograph, disturbed and random count the frames of each kind."""

    bundle: str
    read_by: str
    frames: int
    photograph: int
    disturbed: int
    random: int
    mean_bytes: float
    mismatches: int


def rows_of(comparison: EngineComparison) -> list[ReaderRow]:
    """One row a way to read."""
    frames = comparison.kinds.total()
    return [
        ReaderRow(
            bundle=comparison.bundle.manifest.name, read_by=reader.name, frames=frames,
            photograph=comparison.kinds["photograph"], disturbed=comparison.kinds["disturbed"],
            random=comparison.kinds["random"], mean_bytes=comparison.bytes / frames,
            mismatches=reader.mismatches,
        )
        for reader in comparison.readers
    ]  # fmt: skip


def summarise(comparisons: list[EngineComparison], rows: list[ReaderRow]) -> dict[str, Any]:
    """Sums over bundles and readers; ``decoded`` counts every reading of a frame."""
    return {
        "mismatches": sum(row.mismatches for row in rows),
        "frames": sum(comparison.kinds.total() for comparison in comparisons),
        "decoded": sum(row.frames for row in rows),
        "skipped": {name: reason for of in comparisons for name, reason in of.skipped.items()},
    }


def show(rows: list[ReaderRow], summary: dict[str, Any], console: Console) -> None:
    """The verdict, then the table, then what is not on this machine."""
    console.print(
        f"\n{summary['mismatches']:,} of {summary['decoded']:,} decodings differ from what was encoded "
        f"({summary['frames']:,} frames).",
        style="bold",
    )
    columns = [Column("bundle", words=True), Column("read by", words=True), Column("frames", rank=1)]
    cells, before = [], None
    for row in rows:
        name = "" if row.bundle == before else row.bundle
        cells.append([name, row.read_by, f"{row.frames:,}", f"{row.mismatches:,}"])
        before = row.bundle
    print_table(console, [*columns, Column("mismatches")], cells, "Each way to read")
    for name, reason in summary["skipped"].items():
        console.print(f"skipped: {name}: {reason}", markup=False)


@program("bench.engines")
def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; 0, or 1 when anything was read differently or a bundle cannot be had."""
    parser = options_of.parser("bench.engines", __doc__)
    bundle_options.add_bundles(parser, BUNDLES)
    parser.add_argument(
        "--frames", type=options_of.positive, metavar="N", default=10_000, help="frames of each bundle"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the frames")
    options_of.add_bars(parser)
    options_of.add_json(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    bundles = bundle_options.bundles(options)
    with Progress(console=Console(stderr=True)) as progress:
        comparisons = [compare(bundle, options.frames, options.seed, progress) for bundle in bundles]
    rows = [row for comparison in comparisons for row in rows_of(comparison)]
    summary = summarise(comparisons, rows)
    console = bundle_options.console(options)
    show(rows, summary, console)
    print_bars("engines", summary, options, console)
    settings = options_of.chosen(options, "frames", "seed")
    report.write(options.json, "engines", settings, [asdict(row) for row in rows], summary)
    return int(summary["mismatches"] > 0)


if __name__ == "__main__":
    sys.exit(main())
