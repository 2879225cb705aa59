"""Accuracy against bytes: every image of a labelled folder through the real bitstream of each bundle.

    python -m bench.accuracy --data DIR [--bundle NAME ...] [--limit N] [--plot PATH] [--json PATH]

Beside the bundles stands the network without coding, which is the ceiling. It classifies JPEG, WebP and AVIF
files of the prepared square, too. It is head, restore and tail of the finest FP bundle with y in floating
point: the unsplit network without the coefficients that this bundle never sends. Rounding is left out: it
would count against the pictures. Bytes are those that are sent, with the headers of packets and files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from tqdm import tqdm

from bench.accuracy.plots import accuracy_against_bytes
from bench.accuracy.rate_points import RatePoint, of_bundle, of_network, told
from bench.accuracy.savings import savings
from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.image_codecs import AVIF, CODECS, JPEG, WEBP, ImageCodec
from bench.common.photos import Sample, labelled
from bench.common.terminal import Column, print_table
from bench.common.unquantised import Unquantised
from runtime.bundle import Bundle
from runtime.cli.program import program
from runtime.engines import EngineOptions

PICTURES = [(JPEG, quality) for quality in (5, 10, 20, 40, 75)]
PICTURES += [(WEBP, quality) for quality in (0, 5, 20, 50, 80)]
PICTURES += [(AVIF, quality) for quality in (10, 20, 35, 50, 70)]
"""From files about as small as our packets, where they can be, to where they cost the network nothing."""

FEW_FOR_INTERVALS, FEW_FOR_TOP1 = 20, 100
"""Images below which intervals mean nothing, and below which bytes at equal top-1 do not either."""


def measure(
    bundles: list[Bundle],
    samples: list[Sample],
    engine: EngineOptions,
    pictures: list[tuple[ImageCodec, int]],
) -> list[RatePoint]:
    """One point a bundle, then the ceiling, then the picture formats at each quality."""
    finest = min(bundles, key=lambda bundle: (bundle.manifest.prior != "fp", bundle.manifest.rate))
    with tqdm(total=(len(bundles) + 1) * len(samples), unit="image", mininterval=0.5) as bar:
        points = [of_bundle(b, engine, told(bar, b.manifest.name, samples)) for b in bundles]
        network = Unquantised(finest, engine)
        name = "pictures" if pictures else "unquantised"
        points += of_network(network, finest.manifest.preprocess, pictures, told(bar, name, samples))
    return [point.against(points[len(bundles)]) for point in points]


def choose_pictures(wanted: bool) -> list[tuple[ImageCodec, int]]:
    """The picture formats that this Pillow has; the others are named on standard error."""
    if not wanted:
        return []
    for codec in CODECS:
        if reason := codec.missing():
            print(f"{codec.name} is left out: {reason}", file=sys.stderr)
    return [(codec, quality) for codec, quality in PICTURES if codec.missing() is None]


def summarise(bundles: list[Bundle], points: list[RatePoint]) -> dict[str, Any]:
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


def overhead(point: RatePoint) -> float:
    """Mean payload over mean information content, less one."""
    assert point.payload is not None and point.information is not None
    return float(point.payload.mean() / point.information.mean() - 1)


def header_bytes(point: RatePoint) -> int:
    """Most bytes of any packet that are not code: header, CRC and the seal's two."""
    assert point.bytes is not None and point.payload is not None
    return int((point.bytes - point.payload).max())


def show(rows: Sequence[Mapping[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """The savings in words, then the table."""
    images = summary["images"]
    console.print(
        f"\n{images:,} images through the bitstream of each bundle, and as pictures\n", style="bold"
    )
    for sentence in in_words(summary):
        console.print(sentence, markup=False)
    columns = [Column("bundle", words=True), Column("top-1 %")]
    columns += [Column("95 %")] * (images >= FEW_FOR_INTERVALS)
    columns += [Column("mean"), Column("p50", rank=2), Column("p95", rank=1), Column("max", rank=3)]
    columns += [Column("content", rank=4), Column("nats")]
    cells = []
    for row in rows:
        low, high = row["top1_ci"]
        sizes = [row[f"bytes_{name}"] for name in ("mean", "p50", "p95", "max")]
        numbers = ["" if size is None else f"{size:,.0f}" for size in (*sizes, row["information_bytes"])]
        interval = [f"{100 * low:.1f}-{100 * high:.1f}"] * (images >= FEW_FOR_INTERVALS)
        top1 = [row["bundle"], f"{100 * row['top1']:.1f}", *interval]
        cells.append([*top1, *numbers, f"{row['divergence_nats']:.3f}"])
    print_table(
        console, columns, cells, "Accuracy and bytes",
        "mean ... max: bytes an image with all headers; content: bytes of information under the bundle's "
        "tables; nats: mean divergence of the answer from that of the network without coding.",
    )  # fmt: skip


def in_words(summary: dict[str, Any]) -> list[str]:
    """What MSHP saves against FP, as far as the number of images lets it be said, and the overhead."""
    images, said = summary["images"], []
    for rate in [key[-1] for key in summary if key.startswith("mshp_saving_same_rate_r")]:
        sizes = [f"{summary[f'{prior}_r{rate}_bytes']:,.0f}" for prior in ("mshp", "fp")]
        same = summary[f"mshp_saving_same_rate_r{rate}"]
        said.append(f"Rate {rate}: MSHP takes {sizes[0]} bytes, FP {sizes[1]}: it saves {same:.1f} %.")
        top1, nats = (summary[f"mshp_saving_{kind}r{rate}"] for kind in ("", "equal_divergence_"))
        if images >= FEW_FOR_TOP1:
            more = [
                f"{v:.1f} % at equal {of}"
                for v, of in ((top1, "top-1"), (nats, "divergence"))
                if v is not None
            ]
            said[-1] += f" It saves {' and '.join(more)}." if more else ""
    if images < FEW_FOR_TOP1:
        few = f"Too few images ({images}) to compare bytes at equal accuracy: {FEW_FOR_TOP1} at least."
        said.append(few + " There are no intervals either." * (images < FEW_FOR_INTERVALS))
    said.append(
        f"Packets are at most {100 * summary['overhead_ratio']:.2f} % over their information content, and "
        f"{summary['header_bytes']} bytes of header and checks."
    )
    return said


def _parser() -> argparse.ArgumentParser:
    parser = options_of.parser("bench.accuracy", __doc__)
    options_of.add_data(parser)
    bundle_options.add_arguments(parser, bundle_options.ALL)
    options_of.add_limit(parser)
    parser.add_argument(
        "--no-pictures", action="store_true", help="leave JPEG, WebP and AVIF out: a third of the time"
    )
    options_of.add_plot(parser, "accuracy against bytes")
    options_of.add_json(parser)
    return parser


@program("bench.accuracy")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle or the images cannot be had."""
    options = _parser().parse_args(arguments)
    bundles = bundle_options.bundles(options)
    samples = labelled(options.data, options.limit)
    pictures = choose_pictures(not options.no_pictures)
    points = measure(bundles, samples, bundle_options.engine(options), pictures)
    rows = [point.as_row() for point in points]
    summary = summarise(bundles, points)
    show(rows, summary, bundle_options.console(options))
    if options.plot:
        for file in accuracy_against_bytes(rows, options.plot):
            print(file, file=sys.stderr)
    settings = {"images": len(samples), "engine": options.engine, "threads": options.threads}
    report.write(options.json, "accuracy", settings, [dict(row) for row in rows], summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
