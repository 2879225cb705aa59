"""One bundle at many rates: coarser steps beside rate control, and beside the bundles made for those rates.

    python -m bench.rates --data DIR [--bundle NAME ...] [--limit N] [--json PATH]

Every image goes through the real bitstream. What coding costs the network is told in nats: the
Kullback-Leibler divergence from its answer without coding. Top-1 of a few hundred images cannot tell such
settings apart.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from tqdm import tqdm

from bench.accuracy.rate_points import RatePoint, of_bundle, of_network, told
from bench.accuracy.savings import bytes_at
from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.photos import Sample, labelled
from bench.common.terminal import Column, print_table
from bench.common.unquantised import Unquantised
from runtime.bundle import Bundle
from runtime.cli.program import program
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.guard.defence import Defence

COARSE = (1, 2, 3, 4, 6, 8, 12, 16, 24)
WEIGHTS = (0.01, 0.02, 0.04, 0.06, 0.1, 0.2)
FEW = 20
"""Images below which divergences are not compared."""

COARSER, CONTROLLED, MADE_FOR_IT = "coarser", "rate control", "own bundle"


@dataclass(frozen=True)
class Setting:
    """One way to reach a rate: how, its name, and the guard that does it (None: the bundle as it is)."""

    bundle: Bundle
    how: str
    name: str
    guard: Guard | None = None


@dataclass(frozen=True)
class Rated:
    """A setting and what it gave."""

    setting: Setting
    point: RatePoint


def settings_of(bundle: Bundle) -> list[Setting]:
    """All settings of a bundle: undenoised, through the head alone."""
    rounded = Defence(weight=0.0, coarseness=0, rate_control=0.0)
    coarser = [
        Setting(bundle, COARSER, f"coarseness {c}", Guard("always", replace(rounded, coarseness=c), None))
        for c in COARSE
    ]
    controlled = [
        Setting(bundle, CONTROLLED, f"lambda {w:g}", Guard("always", replace(rounded, rate_control=w), None))
        for w in WEIGHTS
    ]
    return [Setting(bundle, MADE_FOR_IT, f"rate {bundle.manifest.rate}"), *coarser, *controlled]


def measure(bundles: list[Bundle], samples: list[Sample], engine: EngineOptions) -> list[Rated]:
    """The finest bundle of each prior at every setting, and the others as they are.

    Raises BundleError when a shield would take the place of the head.
    """
    finest: dict[str, Bundle] = {}
    for bundle in sorted(bundles, key=lambda bundle: bundle.manifest.rate):
        finest.setdefault(bundle.manifest.prior, bundle)
    planned = [
        setting
        for bundle in bundles
        for setting in settings_of(bundle)
        if setting.how == MADE_FOR_IT or finest[bundle.manifest.prior] is bundle
    ]
    with tqdm(total=(len(planned) + 1) * len(samples), unit="image", mininterval=0.5) as bar:
        points = [
            of_bundle(setting.bundle, engine, told(bar, setting.name, samples), setting.guard)
            for setting in planned
        ]
        reference = min(bundles, key=lambda bundle: (bundle.manifest.prior != "fp", bundle.manifest.rate))
        network = Unquantised(reference, engine)
        (uncoded,) = of_network(
            network, reference.manifest.preprocess, [], told(bar, "without coding", samples)
        )
    return [Rated(s, point.against(uncoded)) for s, point in zip(planned, points, strict=True)]


def rows_of(found: list[Rated]) -> list[dict[str, Any]]:
    """One row a setting."""
    return [dict(of.point.as_row()) | {"how": of.setting.how, "setting": of.setting.name} for of in found]


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


def show(rows: list[dict[str, Any]], summary: dict[str, Any], images: int, console: Console) -> None:
    """The ratios in words, then the table."""
    console.print(f"\nOne bundle at many rates: {images:,} images\n", style="bold")
    if images < FEW:
        console.print(f"Too few images ({images}) to compare bytes at equal divergence: {FEW} at least.")
    for name, ratio in summary.items() if images >= FEW else ():
        prior, _, setting = name.partition("_")
        said = "beyond their curve" if ratio is None else f"{ratio:.3f} times the bytes of coarser steps"
        console.print(f"{prior.upper()}, {setting.replace('_', ' ')}: {said}, at equal divergence")
    columns = [*(Column(name, words=True) for name in ("prior", "how", "setting")), Column("bytes")]
    columns += [Column("nats"), Column("top-1 %")]
    cells = [
        [
            row["prior"], row["how"], row["setting"], f"{row['bytes_mean']:,.0f}",
            f"{row['divergence_nats']:.4f}", f"{100 * row['top1']:.1f}",
        ]
        for row in rows
    ]  # fmt: skip
    print_table(
        console, columns, cells, "Bytes and divergence of each setting",
        f"{MADE_FOR_IT}: the bundle made for that rate; {COARSER}: the finest bundle in coarser steps; "
        f"{CONTROLLED}: the same with symbols chosen by rate and distortion; "
        "nats: divergence from the answer without coding.",
    )  # fmt: skip


@program("bench.rates")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle or the images cannot be had."""
    parser = options_of.parser("bench.rates", __doc__)
    options_of.add_data(parser)
    bundle_options.add_arguments(parser, bundle_options.ALL)
    options_of.add_limit(parser)
    options_of.add_json(parser)
    options = parser.parse_args(arguments)
    samples = labelled(options.data, options.limit)
    rows = rows_of(measure(bundle_options.bundles(options), samples, bundle_options.engine(options)))
    summary = summarise(rows)
    show(rows, summary, len(samples), bundle_options.console(options))
    chosen = {"images": len(samples), "engine": options.engine, "threads": options.threads}
    report.write(options.json, "rates", chosen, rows, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
