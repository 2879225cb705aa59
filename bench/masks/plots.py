"""The figure of ``bench.masks``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.common.photos import photos
from bench.common.unquantised import Unquantised
from bench.masks.agreement import MaskRow
from bench.masks.candidate_maps import candidates
from bench.masks.composites import composite
from bench.masks.saliency import TailGradients
from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.head import Head

DPI = 80  # small enough to be committed
EXAMPLES = ("cat", "coffee")  # from packages that may be redistributed


def masks(rows: Sequence[MaskRow], bundle: Bundle, engine: EngineOptions, path: Path) -> None:
    """Frames with their maps on the left, AUC of each map under each evidence on the right."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 6), layout="constrained")
    halves = figure.subfigures(1, 2, squeeze=False)[0]
    _examples(halves[0], bundle, engine)
    axes = halves[1].subplots()
    evidence = list(dict.fromkeys(row.evidence for row in rows))
    names = list(dict.fromkeys(row.map for row in rows))
    for number, name in enumerate(names):
        of_map = [row for row in rows if row.map == name]
        places = [
            evidence.index(row.evidence) + (number - len(names) / 2) / (len(names) + 2) for row in of_map
        ]
        auc = [row.auc for row in of_map]
        reach = np.abs(np.array([row.auc_ci for row in of_map]).T - auc)
        axes.errorbar(auc, places, xerr=reach, fmt="o", markersize=4, capsize=2, label=name)
    axes.axvline(0.5, color="grey", linestyle=":")
    axes.set_yticks(range(len(evidence)), evidence)
    axes.invert_yaxis()
    axes.set(xlabel="AUC against the evidence (95 % interval over images); chance is 0.5")
    axes.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    _save(figure, path)


def _examples(figure: Any, bundle: Bundle, engine: EngineOptions) -> None:
    """Photographs, and the last one on its own texture: frame, likelihoods, gradient, Grad-CAM."""
    network, tail, head = Unquantised(bundle, engine), TailGradients(bundle), Head(bundle, engine)
    squares = [bundle.manifest.preprocess.square(image) for name, image in photos() if name in EXAMPLES]
    grid = figure.subplots(len(squares) + 1, 4)
    for row, frame in zip(grid, [*squares, composite(squares[-1], 0, textured=True).frame], strict=True):
        maps = candidates(frame, head.analyse(frame))
        label = int(network.logits(frame).argmax())
        cam = tail.grad_cam(network.features(frame), label)["last"]
        shown = {
            "frame": frame, "surprise": maps["surprise"], "gradient": maps["gradient"],
            "Grad-CAM of the answer": np.maximum(cam, 0),
        }  # fmt: skip
        for axes, (name, values) in zip(row, shown.items(), strict=True):
            axes.imshow(values)
            axes.set_axis_off()
            axes.set_title(name, fontsize="small")


def _save(figure: Any, path: Path) -> None:
    """As PNG and as SVG."""
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    with pyplot.rc_context({"svg.hashsalt": "ratehold"}):  # the same figure is the same file
        figure.savefig(path.with_suffix(".png"), dpi=DPI)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    pyplot.close(figure)
