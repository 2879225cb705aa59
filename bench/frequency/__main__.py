"""Which frequencies drive the rate? Bands of a frame's DCT removed, disturbed and attacked, one at a time.

    python -m bench.frequency --data DIR [--bundle NAME ...] [--limit N] [--json PATH] [--plot PATH]

For each of eight octave bands (``bench.frequency.dct_bands``) the frame is changed in five ways. Each gives
the bytes of real packets and the answers, beside those of the clean frame:

    remove      the frame loses the band
    noise e     Gaussian noise in the band alone, of root mean square e of 255
    sign e      the sign of that noise, times e of 255: equal l_2 and l_inf, but not all in the band
    only e      un-masked PGD-E within e of 255: its part in the band alone
    without e   un-masked PGD-E within e of 255: all but its part in the band

Beside them stands the share of energy in each band: of the frame, of each disturbance after rounding and
clipping, and of the attack. White noise has energy in proportion to a band's number of coefficients.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from rich.console import Console
from tqdm import tqdm

from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.bootstrap import about_few
from bench.common.options import positive
from bench.common.photos import Sample, labelled
from bench.common.terminal import Column, print_table
from bench.frequency.band_changes import ALL, BandRow, BandSender, changes, rows
from bench.frequency.dct_bands import COUNT, band_index, bands, wavelengths
from runtime.bundle import Bundle
from runtime.cli.program import program
from runtime.engines import DEFAULT, ENGINES, EngineOptions

BUNDLES = ["efficientnet_lite0-fp-r1", "efficientnet_lite0-mshp-r1"]
EPS = [2, 4]
LEGEND = """remove      the frame without the band
noise e     normal noise in the band alone, of root mean square e of 255
sign e      the sign of that noise, times e of 255
only e      un-masked PGD-E within e of 255: its part in the band
without e   un-masked PGD-E within e of 255: all but its part in the band"""

ByBand = dict[int, BandRow]


def measure(bundle: Bundle, samples: list[Sample], eps: list[int], engine: EngineOptions) -> list[BandRow]:
    """The rows of one bundle."""
    sender = BandSender(bundle, engine)
    of_images = []
    for seed, sample in enumerate(tqdm(samples, unit="image", desc=bundle.manifest.name)):
        square = bundle.manifest.preprocess.square(sample.image())
        of_images.append(changes(sender, square, int(sample.label or 0), eps, seed))
    return rows(bundle.manifest.name, of_images)


def verdict(by_kind: dict[str, ByBand], size: int) -> str:
    """Which band saves most bytes when it goes, and which carries most of the strongest attack."""
    names = wavelengths(size)
    removed = min(by_kind["remove"].values(), key=lambda row: row.bytes_change)
    said = f"The frame without its periods of {names[removed.band]} pixels takes {_percent(removed)} bytes."
    attacks = [kind for kind in by_kind if kind.startswith("attack ")]
    if attacks:
        strongest = max(attacks, key=lambda kind: by_kind[kind][ALL].bytes_change)
        eps = strongest.split()[1]
        carrier = max(by_kind[f"only {eps}"].values(), key=lambda row: row.bytes_change)
        said += (
            f" PGD-E within {eps}/255 costs {_percent(by_kind[strongest][ALL])}; its periods of "
            f"{names[carrier.band]} pixels alone cost {_percent(carrier)}."
        )
    return said


def _percent(row: BandRow) -> str:
    return f"{100 * row.bytes_change:+.1f} %"


def show(found: list[BandRow], size: int, console: Console) -> None:
    """The verdict about one bundle; tables of bytes, top-1 and energy by kind and band."""
    by_kind: dict[str, ByBand] = defaultdict(dict)
    for row in found:
        by_kind[row.kind][row.band] = row
    clean = by_kind["clean"][ALL]
    console.print(f"\n[bold]{clean.bundle}[/], {clean.images} images, top-1 {100 * clean.top1:.1f} %")
    for text in filter(None, (about_few(clean.images), verdict(by_kind, size))):
        console.print(text)
    whole = {kind: of_kind[ALL] for kind, of_kind in by_kind.items() if ALL in of_kind}
    for kind, row in whole.items():
        if kind != "clean":
            console.print(f"{kind}: bytes {_percent(row)}, top-1 {100 * row.top1_change:+.1f} points")
    parts = {kind: of_kind for kind, of_kind in by_kind.items() if ALL not in of_kind}
    growth = {kind: {band: row.bytes_change for band, row in parts[kind].items()} for kind in parts}
    _print(console, "Change of the bytes, %, by period in pixels", size, growth, "+.1f", LEGEND)
    points = {kind: {band: row.top1_change for band, row in parts[kind].items()} for kind in parts}
    _print(console, "Change of top-1, points", size, points, "+.1f")
    title, note = (
        "Share of the energy after rounding and clipping, %",
        "its own: in the band that was disturbed",
    )
    _print(console, title, size, _energy(whole, parts, size), ".1f", note)


def _energy(whole: dict[str, BandRow], parts: dict[str, ByBand], size: int) -> dict[str, dict[int, float]]:
    """Shares, of 1, by row of the table and band."""
    index = band_index(size)
    shares = {"white noise": {band: float(np.mean(index == band)) for band in bands(size)}}
    shares |= {kind: dict(enumerate(row.energy)) for kind, row in whole.items()}
    return shares | {
        f"{kind} (its own)": {band: row.energy[band] for band, row in of_kind.items()}
        for kind, of_kind in parts.items()
        if kind.startswith(("noise", "sign", "only"))
    }


def _print(
    console: Console, title: str, size: int, values: dict[str, dict[int, float]], form: str, legend: str = ""
) -> None:
    """A table of values, of 1, by row and band; it shows them of 100."""
    columns = [Column("", words=True), *(Column(wavelengths(size)[band]) for band in bands(size))]
    cells = [
        [name, *(f"{100 * of_band[band]:{form}}" for band in bands(size))] for name, of_band in values.items()
    ]
    print_table(console, columns, cells, title, legend)


def _parser() -> argparse.ArgumentParser:
    parser = options_of.parser("bench.frequency", __doc__)
    options_of.add_data(parser)
    bundle_options.add_bundles(parser, BUNDLES)
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT, help="engine that runs the graphs")
    options_of.add_threads(parser, None, "the engine and of torch, which choose where this is missing")
    options_of.add_limit(parser)
    parser.add_argument(
        "--eps", type=positive, nargs="+", metavar="N", default=EPS, help="strengths of disturbances, of 255"
    )
    options_of.add_plot(parser, "bytes and energy by band")
    options_of.add_json(parser)
    return parser


@program("bench.frequency")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle or the images cannot be had."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    found: list[BandRow] = []
    bundles, samples = bundle_options.bundles(options), labelled(options.data, options.limit)
    for bundle in bundles:
        of_bundle = measure(bundle, samples, options.eps, bundle_options.engine(options))
        show(of_bundle, bundle.manifest.preprocess.size, bundle_options.console(options))
        found += of_bundle
    size = bundles[0].manifest.preprocess.size
    if options.plot:
        from bench.frequency.plots import frequency

        frequency(found, size, options.plot)
    summary = {f"{r.bundle}, {r.kind}, band {r.band}": r.bytes_change for r in found}
    settings: dict[str, Any] = {
        "images": len(samples),
        "eps": options.eps,
        "periods": wavelengths(size),
        "bands": COUNT,
    }
    report.write(options.json, "frequency", settings, [asdict(row) for row in found], summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
