"""Does the likelihood map know objects? Its agreement with evidence of where they are, beside trivial maps.

    python -m bench.masks --data DIR [--bundle NAME ...] [--limit N] [--occlude N] [--json PATH] [--plot PATH]

Evidence, at the 28 x 28 positions of the map:

    cam cut, cam last   Grad-CAM of the true class at the tail's input, and at its last feature map
    occlusion           fall of the true class's logit where a window is hidden
    on flat, outline    a photograph in a window, one colour around it: the window, and its border
    on texture          the same with the photograph's own spectrum, phases random, around it (the border is
                        left out): as much texture outside as inside, and an object only inside

The first three have no border of their own: their largest quarter counts. Grad-CAM is a candidate too where
it is not the evidence: it sees the class, so it shows what a map can score.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from rich.console import Console
from tqdm import tqdm

from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.bootstrap import about_few
from bench.common.photos import Sample, labelled
from bench.common.terminal import Column, print_table
from bench.masks.agreement import MaskAgreement, MaskRow, rows
from bench.masks.candidate_maps import OURS, TRIVIAL
from runtime.bundle import Bundle
from runtime.cli.program import program
from runtime.engines import DEFAULT, ENGINES, EngineOptions

BUNDLES = ["efficientnet_lite0-fp-r1", "efficientnet_lite0-mshp-r1"]


def measure(
    bundles: list[Bundle], samples: list[Sample], occlude: int, engine: EngineOptions
) -> tuple[list[MaskRow], dict[str, Any]]:
    """Rows and summary; the first ``occlude`` images are occluded too."""
    agreement = MaskAgreement(bundles, engine)
    for number, sample in enumerate(tqdm(samples, unit="image")):
        agreement.add(sample, seed=number, occlude=number < occlude)
    found = rows(agreement.scores)
    summary = {f"{row.evidence}, {row.map}": row.auc for row in found}
    summary |= {
        f"recognised on {background}": float(np.mean(right))
        for background, right in agreement.recognised.items()
    }
    return found, summary


VERDICTS = (("on flat", "Objects on one colour"), ("on texture", "Objects on their own texture"))
COLUMNS = (
    Column("evidence", words=True), Column("map", words=True), Column("AUC"), Column("95 %", rank=1),
    Column("IoU", rank=4), Column("rho", rank=5), Column("-edges", rank=2), Column("95 % of it", rank=6),
    Column("rho|edges", rank=3),
)  # fmt: skip
LEGEND = """cam cut     Grad-CAM of the true class at the tail's input: largest quarter
cam last    Grad-CAM of the true class at the tail's last map: largest quarter
occlusion   where hiding a window lowers the class's logit: largest quarter
on flat     the window with the photograph, one colour around it
outline     that window's border
on texture  the window with the photograph, its scrambled texture around it
surprise    ours: -log2 of the likelihood map
patches     ours: bits of y
gradient    an edge detector
variance    of the luma
centre      nearness to the middle
chance      noise
grad-cam    knows the class, so it shows what a map can score
AUC         chance is 0.5; -edges: less the gradient's
rho         rank correlation; rho|edges: its part without the gradient"""


def verdict(found: list[MaskRow]) -> str:
    """How well ours finds objects, beside the best trivial map."""
    said = []
    for evidence, name in VERDICTS:
        of_map = {row.map: row.auc for row in found if row.evidence == evidence}
        ours = max((name for name in of_map if name.startswith(OURS)), key=lambda name: of_map[name])
        best = max(TRIVIAL, key=lambda name: of_map[name])
        said.append(
            f"{name}: the entropy model ({ours}) finds them with an AUC of {of_map[ours]:.2f}, "
            f"the best trivial map ({best}) with {of_map[best]:.2f}."
        )
    return " ".join(said)


def show(found: list[MaskRow], summary: dict[str, Any], console: Console) -> None:
    """The verdict, then a table."""
    images = max(row.images for row in found)
    few = about_few(images)
    for text in filter(None, (few, verdict(found))):
        console.print(text)
    columns = [column for column in COLUMNS if not (few and column.heading.startswith("95 %"))]
    ends = [i for i in range(len(found) - 1) if found[i].evidence != found[i + 1].evidence]
    print_table(console, columns, list(_cells(found, bool(few))), legend=LEGEND, ends=ends)
    for background in ("flat", "texture"):
        share = 100 * summary[f"recognised on {background}"]
        console.print(f"On {background} {share:.0f} % of the photographs are still recognised.")


def _cells(found: list[MaskRow], few: bool) -> Iterator[list[str]]:
    before = None
    for row in found:
        auc, edges = (
            "{:.2f} {:.2f}".format(*row.auc_ci),
            "{:+.2f} {:+.2f}".format(*row.auc_over_gradient_ci),
        )
        yield [
            "" if row.evidence == before else row.evidence, row.map,
            f"{row.auc:.3f}", *([] if few else [auc]), f"{row.iou:.3f}", f"{row.spearman:+.2f}",
            f"{row.auc_over_gradient:+.3f}", *([] if few else [edges]), f"{row.spearman_given_gradient:+.2f}",
        ]  # fmt: skip
        before = row.evidence


def _parser() -> argparse.ArgumentParser:
    parser = options_of.parser("bench.masks", __doc__)
    options_of.add_data(parser)
    bundle_options.add_bundles(parser, BUNDLES)
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT, help="engine that runs the graphs")
    options_of.add_threads(parser, None, "the engine and of torch, which choose where this is missing")
    options_of.add_limit(parser)
    parser.add_argument(
        "--occlude", type=int, default=30, metavar="N",
        help="of the images, those that are occluded too: hundreds of passes each",
    )  # fmt: skip
    options_of.add_plot(parser, "examples and AUCs")
    options_of.add_json(parser)
    return parser


@program("bench.masks")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle or the images cannot be had."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    bundles = bundle_options.bundles(options)
    samples = labelled(options.data, options.limit)
    found, summary = measure(bundles, samples, options.occlude, bundle_options.engine(options))
    show(found, summary, bundle_options.console(options))
    if options.plot:
        from bench.masks.plots import masks

        masks(found, bundles[0], bundle_options.engine(options), options.plot)
    names = [bundle.manifest.name for bundle in bundles]
    settings = {
        "bundles": names,
        "images": len(samples),
        "occluded": min(options.occlude, len(samples)),
        "share": 0.25,
    }
    report.write(options.json, "masks", settings, [asdict(row) for row in found], summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
