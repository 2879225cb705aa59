"""Accuracy against bytes: every image of a labelled folder through the real bitstream of each bundle.

    python -m bench.accuracy --data DIR [--bundle NAME ...] [--limit N] [--plot PATH.png] [--json PATH]

Beside the bundles: the network without coding, which is the ceiling, and JPEG and WebP files of the prepared
square, classified by it. It is head, restore and tail of the finest FP bundle with y left in floating point:
the unsplit network but for the coefficients that the bundle never sends, and without rounding, which would
count against the pictures. A byte is counted when it is sent: headers of packets and of files included.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from bench.accuracy.plots import accuracy_against_bytes
from bench.accuracy.rate_points import Point, of_bundle, of_network, told
from bench.accuracy.savings import savings
from bench.common import bundle_options, report
from bench.common.image_codecs import JPEG, WEBP
from bench.common.photos import Sample, labelled
from bench.common.unquantised import Unquantised
from runtime.bundle import Bundle
from runtime.cli.program import prog, program
from runtime.engines import EngineOptions

PICTURES = [(JPEG, quality) for quality in (5, 10, 20, 40, 75)]
PICTURES += [(WEBP, quality) for quality in (0, 5, 20, 50, 80)]
"""From files about as small as our packets, where they can be, to where they cost the network nothing."""


def measure(
    bundles: list[Bundle], samples: list[Sample], engine: EngineOptions, pictures: bool
) -> list[Point]:
    """One point a bundle, then the ceiling, then (``pictures``) the curves of JPEG and WebP."""
    finest = min(bundles, key=lambda bundle: (bundle.manifest.prior != "fp", bundle.manifest.rate))
    with tqdm(total=(len(bundles) + 1) * len(samples), unit="image", mininterval=0.5) as bar:
        points = [of_bundle(b, engine, told(bar, b.manifest.name, samples)) for b in bundles]
        network, chosen = Unquantised(finest, engine), PICTURES if pictures else []
        name = "pictures" if pictures else "unquantised"
        points += of_network(network, finest.manifest.preprocess, chosen, told(bar, name, samples))
    return [point.against(points[len(bundles)]) for point in points]


def summarise(bundles: list[Bundle], points: list[Point]) -> dict[str, Any]:
    """Accuracy and bytes of each bundle, what MSHP saves, and how far the packets exceed their content.

    Savings and ``fp_r1_top1``, ``fp_r1_bytes``, ... are of the first bundle's backbone.
    """
    of_bundles = points[: len(bundles)]
    backbone = bundles[0].manifest.backbone
    family = [p.as_row() for b, p in zip(bundles, of_bundles, strict=True) if b.manifest.backbone == backbone]
    summary: dict[str, Any] = {"backbone": backbone, "images": len(points[0].correct)}
    for row in family:
        key = f"{row['prior']}_r{row['rate']}"
        summary |= {f"{key}_top1": row["top1"], f"{key}_bytes": row["bytes_mean"]}
    summary |= savings(family)
    summary["unquantised_top1"] = points[len(bundles)].top1
    summary["overhead_ratio"] = max(map(overhead, of_bundles))
    summary["header_bytes"] = max(map(header_bytes, of_bundles))
    return summary


def overhead(point: Point) -> float:
    """Mean payload over mean information content, less one."""
    assert point.payload is not None and point.information is not None
    return float(point.payload.mean() / point.information.mean() - 1)


def header_bytes(point: Point) -> int:
    """Most bytes of any packet that are not code: header, CRC and the seal's two."""
    assert point.bytes is not None and point.payload is not None
    return int((point.bytes - point.payload).max())


def show(rows: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """The table, and the summary in words."""
    console.print(
        f"\n[bold]{summary['images']:,} images[/] through the bitstream of each bundle, and what else could "
        "be sent\nbytes an image with all headers; inform.: bytes of information under the bundle's tables\n"
        "nats: mean divergence of the answer from that of the network without coding"
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))  # nine columns in 100 characters
    for column in ("bundle", "top-1 %", "95 %", "mean", "p50", "p95", "max", "inform.", "nats"):
        table.add_column(column, justify="left" if column == "bundle" else "right", no_wrap=True)
    for row in rows:
        low, high = row["top1_ci"]
        sizes = [row[f"bytes_{name}"] for name in ("mean", "p50", "p95", "max")]
        cells = ["" if size is None else f"{size:,.0f}" for size in (*sizes, row["information_bytes"])]
        top1 = (f"{100 * row['top1']:.1f}", f"{100 * low:.1f}-{100 * high:.1f}")
        table.add_row(row["bundle"], *top1, *cells, f"{row['divergence_nats']:.3f}")
    console.print(table)
    for key, value in summary.items():
        if key.startswith("mshp_saving_r"):
            said = "outside the FP curve" if value is None else f"{value:+.1f} % of the bytes"
            nats = summary[f"mshp_saving_equal_divergence_r{key[-1]}"]
            also = "" if nats is None else f"; at equal divergence {nats:+.1f} %"
            same = summary.get(f"mshp_saving_same_rate_r{key[-1]}")
            also += "" if same is None else f"; at the same step {same:+.1f} %"
            console.print(f"MSHP rate {key[-1]} saves at equal top-1 {said}{also}")
    console.print(
        f"packets: {100 * summary['overhead_ratio']:.2f} % over their information content at most, "
        f"and {summary['header_bytes']} bytes of header and checks"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog("bench.accuracy"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, metavar="DIR", required=True, help="folder with images/ and labels.csv"
    )
    bundle_options.add_arguments(parser, bundle_options.ALL)
    parser.add_argument("--limit", type=bundle_options.positive, metavar="N", help="the first N images only")
    parser.add_argument("--no-pictures", action="store_true", help="leave JPEG and WebP out: half the time")
    parser.add_argument(
        "--plot", type=Path, metavar="PATH", help="draw accuracy against bytes, as PATH.png and PATH.svg"
    )
    report.add_json_argument(parser)
    return parser


@program("bench.accuracy")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle or the images cannot be had."""
    options = _parser().parse_args(arguments)
    bundles = bundle_options.bundles(options)
    samples = labelled(options.data)[: options.limit]
    points = measure(bundles, samples, bundle_options.engine(options), not options.no_pictures)
    rows = [point.as_row() for point in points]
    summary = summarise(bundles, points)
    show(rows, summary, bundle_options.console(options))
    if options.plot:
        for file in accuracy_against_bytes(rows, options.plot):
            print(file, file=sys.stderr)
    settings = {"images": len(samples), "engine": options.engine, "threads": options.threads}
    report.write(options.json, "accuracy", settings, rows, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
