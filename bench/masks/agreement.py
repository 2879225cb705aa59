"""Scores of maps against evidence of where the object is, image by image, and their rows over the images."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common.bootstrap import interval
from bench.common.photos import Sample
from bench.common.unquantised import Unquantised
from bench.masks.alignment import Map, Mask, auc, iou, partial_spearman, spearman, top
from bench.masks.candidate_maps import OURS, blocks, candidates
from bench.masks.composites import composite
from bench.masks.saliency import TailGradients, occlusion
from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.head import Head

METRICS = ("auc", "iou", "spearman", "auc_over_gradient", "spearman_given_gradient")
Scores = dict[tuple[str, str], list[dict[str, float]]]


class MaskAgreement:
    """Scores of all maps of all bundles against all evidence, image by image.

    The bundles have one backbone, so the evidence of the first one is evidence for all.

    scores: by evidence and map, one value an image and score. Ours are named ``surprise mshp-r1``.
    recognised: by background of the composites, whether the network still names the photograph.
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
        """One value of each score for each map; ``graded``: the evidence before it was cut to a mask."""
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


@dataclass(frozen=True)
class MaskRow:
    """One evidence and map, over the images; its fields are the keys of the JSON.

    auc: area under the ROC curve. iou: intersection over union at the evidence's area. spearman: rank
    correlation. auc_over_gradient: auc less that of the gradient's map, an edge detector.
    spearman_given_gradient: rank correlation, both cleared of the gradient's map. inside, outside: the
    map's mean values on the evidence and elsewhere. *_ci: 95 % interval over images.
    """

    evidence: str
    map: str
    images: int
    auc: float
    auc_ci: tuple[float, float]
    iou: float
    iou_ci: tuple[float, float]
    spearman: float
    spearman_ci: tuple[float, float]
    auc_over_gradient: float
    auc_over_gradient_ci: tuple[float, float]
    spearman_given_gradient: float
    spearman_given_gradient_ci: tuple[float, float]
    inside: float
    outside: float


def rows(scores: Scores) -> list[MaskRow]:
    """One row an evidence and map: the mean of each score over the images, and its 95 % interval."""
    found = []
    for (evidence, name), of_images in scores.items():
        means: dict[str, Any] = {}
        for score in of_images[0]:
            values = np.array([scored[score] for scored in of_images])
            means[score] = float(values.mean())
            if score in METRICS:
                means[f"{score}_ci"] = interval(values)
        found.append(MaskRow(evidence, name, len(of_images), **means))
    return found
