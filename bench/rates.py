"""One bundle at many rates: coarser steps beside rate control, and beside the bundles made for those rates.

    python -m bench.rates --data DIR [--bundle NAME ...] [--limit N] [--json PATH]

Every image through the real bitstream. What coding costs the network is told in nats, the Kullback-Leibler
divergence from its answer without coding: top-1 of a few hundred images cannot tell such settings apart.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from tqdm import tqdm

from bench.accuracy.rate_points import Point, of_bundle, of_network, told
from bench.accuracy.savings import bytes_at
from bench.common import bundle_options, report
from bench.common.photos import Sample, labelled
from bench.common.unquantised import Unquantised
from runtime.bundle import Bundle
from runtime.cli.program import prog, program
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.guard.defence import Defence

COARSE = (1, 2, 3, 4, 6, 8, 12, 16, 24)
WEIGHTS = (0.01, 0.02, 0.04, 0.06, 0.1, 0.2)
COARSER, CONTROLLED, MADE_FOR_IT = "coarser", "rate control", "own bundle"


def settings_of(bundle: Bundle) -> list[tuple[str, str, Guard | None]]:
    """How, with which setting, and the guard that does it: undenoised, through the head alone."""
    rounded = Defence(weight=0.0, coarseness=0, rate_control=0.0)
    coarser = [(COARSER, f"coarseness {c}", Guard("always", replace(rounded, coarseness=c))) for c in COARSE]
    controlled = [
        (CONTROLLED, f"lambda {w:g}", Guard("always", replace(rounded, rate_control=w))) for w in WEIGHTS
    ]
    return [(MADE_FOR_IT, f"rate {bundle.manifest.rate}", None), *coarser, *controlled]


def measure(
    bundles: list[Bundle], samples: list[Sample], engine: EngineOptions
) -> list[tuple[str, str, str, Point]]:
    """(family, how, setting, point) of the finest bundle of each prior at every setting, and of the others.

    Raises BundleError when a shield would take the place of the head.
    """
    finest: dict[str, Bundle] = {}
    for bundle in sorted(bundles, key=lambda bundle: bundle.manifest.rate):
        finest.setdefault(bundle.manifest.prior, bundle)
    planned = [
        (bundle, *setting)
        for bundle in bundles
        for setting in settings_of(bundle)
        if setting[0] == MADE_FOR_IT or finest[bundle.manifest.prior] is bundle
    ]
    with tqdm(total=(len(planned) + 1) * len(samples), unit="image", mininterval=0.5) as bar:
        points = [
            of_bundle(bundle, engine, told(bar, name, samples), guard) for bundle, _, name, guard in planned
        ]
        reference = min(bundles, key=lambda bundle: (bundle.manifest.prior != "fp", bundle.manifest.rate))
        network = Unquantised(reference, engine)
        (uncoded,) = of_network(
            network, reference.manifest.preprocess, [], told(bar, "without coding", samples)
        )
    return [
        (bundle.manifest.prior, how, name, point.against(uncoded))
        for (bundle, how, name, _), point in zip(planned, points, strict=True)
    ]


def rows_of(found: list[tuple[str, str, str, Point]]) -> list[dict[str, Any]]:
    """One row a setting."""
    return [point.as_row() | {"how": how, "setting": name} for _, how, name, point in found]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each prior and each other setting: its bytes over those of coarser steps that cost as many nats.

    ``{prior}_{setting}``; above 1: coarser steps do it with fewer bytes. None where they do not go there.
    """
    summary: dict[str, Any] = {}
    for prior in dict.fromkeys(row["prior"] for row in rows):
        mine = [row for row in rows if row["prior"] == prior]
        first = next(row for row in mine if row["how"] == MADE_FOR_IT)
        curve = [
            (-row["divergence_nats"], row["bytes_mean"])
            for row in mine
            if row["how"] == COARSER or row is first
        ]
        for row in mine:
            if row["how"] != COARSER and row is not first:
                size = bytes_at(curve, -row["divergence_nats"])
                ratio = None if size is None else row["bytes_mean"] / size
                summary[f"{prior}_{row['setting'].replace(' ', '_')}"] = ratio
    return summary


@program("bench.rates")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle or the images cannot be had."""
    parser = argparse.ArgumentParser(prog=prog("bench.rates"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, metavar="DIR", required=True, help="folder with images/ and labels.csv"
    )
    bundle_options.add_arguments(parser, bundle_options.ALL)
    parser.add_argument("--limit", type=bundle_options.positive, metavar="N", help="the first N images only")
    report.add_json_argument(parser)
    options = parser.parse_args(arguments)
    samples = labelled(options.data)[: options.limit]
    rows = rows_of(measure(bundle_options.bundles(options), samples, bundle_options.engine(options)))
    table = Table("prior", "how", "setting", "bytes", "nats", "top-1 %", box=SIMPLE_HEAD)
    for row in rows:
        figures = f"{row['bytes_mean']:,.0f}", f"{row['divergence_nats']:.4f}", f"{100 * row['top1']:.1f}"
        table.add_row(row["prior"], row["how"], row["setting"], *figures)
    bundle_options.console(options).print(table)
    summary = summarise(rows)
    for name, ratio in summary.items():
        said = "outside the curve" if ratio is None else f"{ratio:.3f} times the bytes of coarser steps"
        bundle_options.console(options).print(f"{name}: {said}")
    chosen = {"images": len(samples), "engine": options.engine, "threads": options.threads}
    report.write(options.json, "rates", chosen, rows, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
