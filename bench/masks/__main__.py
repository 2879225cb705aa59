"""Does the likelihood map know objects? It, beside trivial maps, against evidence of where the object is.

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
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from bench.common import bundle_options, report
from bench.common.bootstrap import interval
from bench.common.photos import Sample, labelled
from bench.common.unquantised import Unquantised
from bench.masks.alignment import Map, Mask, auc, iou, partial_spearman, spearman, top
from bench.masks.candidate_maps import OURS, blocks, candidates
from bench.masks.composites import composite
from bench.masks.saliency import TailGradients, occlusion
from runtime.bundle import Bundle
from runtime.cli.program import prog, program
from runtime.engines import EngineOptions
from runtime.head import Head

BUNDLES = ["efficientnet_lite0-fp-r1", "efficientnet_lite0-mshp-r1"]
METRICS = ("auc", "iou", "spearman", "auc_over_gradient", "spearman_given_gradient")
Scores = dict[tuple[str, str], list[dict[str, float]]]


class Measurement:
    """Scores of all maps of all bundles against all evidence, image by image.

    The bundles have one backbone, so that the evidence, which is the first one's, is evidence for all.

    scores: by evidence and map (ours are named ``surprise mshp-r1``), one value an image and metric.
    recognised: by background of the composites, whether the network still named the photograph.
    """

    def __init__(self, bundles: list[Bundle], engine: EngineOptions):
        self.scores: Scores = defaultdict(list)
        self.recognised: dict[str, list[bool]] = defaultdict(list)
        self._heads = {_short(bundle): Head(bundle, engine) for bundle in bundles}
        self._prepare = bundles[0].manifest.preprocess
        self._cells = bundles[0].manifest.features[1]
        self._network = Unquantised(bundles[0], engine)
        self._tail = TailGradients(bundles[0])

    def add(self, sample: Sample, seed: int, occlude: bool) -> None:
        """Score one labelled image; occlusion is some hundred passes of the network."""
        label = int(sample.label or 0)
        square = self._prepare.square(sample.image())
        maps, cams = self._maps(square), self._cams(square, label)
        for name, cam in cams.items():
            self._score(f"cam {name}", maps, top(cam), cam)
        if occlude:
            falls = occlusion(self._network, square, label, self._cells)
            self._score("occlusion", maps | {"grad-cam": cams["last"]}, top(falls), falls)
        self._score_composites(square, label, seed)

    def _score_composites(self, square: NDArray[np.uint8], label: int, seed: int) -> None:
        for textured in (False, True):
            made = composite(square, seed, textured)
            background = "texture" if textured else "flat"
            self.recognised[background].append(int(self._network.logits(made.frame).argmax()) == label)
            maps = self._maps(made.frame) | {"grad-cam": self._cams(made.frame, label)["last"]}
            inside = blocks(made.window, self._cells)
            border = (inside > 0) & (inside < 1)
            if textured:
                clear = {name: values[~border] for name, values in maps.items()}
                self._score("on texture", clear, inside[~border] == 1)
            else:
                self._score("on flat", maps, inside >= 0.5)
                self._score("outline", maps, border)

    def _cams(self, square: NDArray[np.uint8], label: int) -> dict[str, NDArray[np.float64]]:
        return self._tail.grad_cam(self._network.features(square), label)

    def _maps(self, square: NDArray[np.uint8]) -> dict[str, Map]:
        """The trivial maps by name, ours by name and bundle."""
        found: dict[str, Map] = {}
        for bundle, head in self._heads.items():
            maps = candidates(square, head.analyse(square))
            found |= {f"{n} {bundle}" if n in OURS else n: m for n, m in maps.items()}
        return found

    def _score(self, name: str, maps: dict[str, Map], evidence: Mask, graded: Map | None = None) -> None:
        """One value of each metric for each map; ``graded``: the evidence before it was cut to a mask."""
        graded = evidence.astype(np.float64) if graded is None else graded
        edges = maps["gradient"]
        of_edges = auc(edges, evidence)
        for key, values in maps.items():
            area = auc(values, evidence)
            scores = {
                "auc": area,
                "iou": iou(values, evidence),
                "spearman": spearman(values, graded),
                "auc_over_gradient": area - of_edges,
                "spearman_given_gradient": partial_spearman(values, graded, edges),
                "inside": float(values[evidence].mean()),
                "outside": float(values[~evidence].mean()),
            }
            self.scores[name, key].append(scores)


def _short(bundle: Bundle) -> str:
    """The name without the backbone's, which all have in common: ``mshp-r1``."""
    return bundle.manifest.name.removeprefix(f"{bundle.manifest.backbone}-")


def rows(scores: Scores) -> list[dict[str, Any]]:
    """One row an evidence and map: the mean of each metric over the images, and its 95 % interval.

    ``inside`` and ``outside`` are the map's own mean values on the evidence and elsewhere.
    """
    found = []
    for (evidence, name), of_images in scores.items():
        row: dict[str, Any] = {"evidence": evidence, "map": name, "images": len(of_images)}
        for metric in METRICS:
            values = np.array([scored[metric] for scored in of_images])
            row |= {metric: float(values.mean()), f"{metric}_ci": list(interval(values))}
        for side in ("inside", "outside"):
            row[side] = float(np.mean([scored[side] for scored in of_images]))
        found.append(row)
    return found


def measure(
    bundles: list[Bundle], samples: list[Sample], occlude: int, engine: EngineOptions
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and summary; the first ``occlude`` images are occluded too."""
    measurement = Measurement(bundles, engine)
    for number, sample in enumerate(tqdm(samples, unit="image")):
        measurement.add(sample, seed=number, occlude=number < occlude)
    found = rows(measurement.scores)
    summary = {f"{row['evidence']}, {row['map']}": row["auc"] for row in found}
    summary |= {
        f"recognised on {background}": float(np.mean(right))
        for background, right in measurement.recognised.items()
    }
    return found, summary


def show(found: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """One table; intervals of the AUC and of its lead over the gradient's."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    columns = ("evidence", "map", "AUC", "95 %", "IoU", "rho", "-edges", "95 %", "rho|edges")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=True)
    for cells in _cells(found):
        table.add_row(*cells)
    console.print(table)
    for background in ("flat", "texture"):
        share = 100 * summary[f"recognised on {background}"]
        console.print(f"on {background}: {share:.0f} % of the photographs are still recognised")


def _cells(found: list[dict[str, Any]]) -> Iterator[list[str]]:
    before = None
    for row in found:
        low, high = row["auc_ci"]
        less, more = row["auc_over_gradient_ci"]
        yield [
            "" if row["evidence"] == before else row["evidence"], row["map"],
            f"{row['auc']:.3f}", f"{low:.2f} {high:.2f}", f"{row['iou']:.3f}", f"{row['spearman']:+.2f}",
            f"{row['auc_over_gradient']:+.3f}", f"{less:+.2f} {more:+.2f}",
            f"{row['spearman_given_gradient']:+.2f}",
        ]  # fmt: skip
        before = row["evidence"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog("bench.masks"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, metavar="DIR", required=True, help="folder with images/ and labels.csv"
    )
    bundle_options.add_arguments(parser, BUNDLES[0])
    parser.set_defaults(bundle=BUNDLES)
    parser.add_argument("--limit", type=bundle_options.positive, metavar="N", help="the first N images only")
    parser.add_argument(
        "--occlude", type=int, default=30, metavar="N", help="occlude so many images (default: %(default)s)"
    )
    parser.add_argument("--plot", type=Path, metavar="PATH", help="draw examples and AUCs, as a PNG")
    report.add_json_argument(parser)
    return parser


@program("bench.masks")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle or the images cannot be had."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    bundles = bundle_options.bundles(options)
    samples = labelled(options.data)[: options.limit]
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
    report.write(options.json, "masks", settings, found, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
