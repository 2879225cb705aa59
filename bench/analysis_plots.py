"""Figures of ``bench.masks`` and ``bench.frequency``, small enough to be committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.candidate_maps import candidates
from bench.composites import composite
from bench.dct_bands import band_index, bands, wavelengths
from bench.photos import photos
from bench.saliency import TailGradients
from bench.unquantised import Unquantised
from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.head import Head

EXAMPLES = ("cat", "coffee")  # from packages that may be redistributed
DPI = 80


def masks(rows: list[dict[str, Any]], bundle: Bundle, engine: EngineOptions, path: Path) -> None:
    """Frames with their maps on the left, AUC of each map under each evidence on the right."""
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(13, 6), layout="constrained")
    halves = figure.subfigures(1, 2, squeeze=False)[0]
    _examples(halves[0], bundle, engine)
    axes = halves[1].subplots()
    evidence = list(dict.fromkeys(row["evidence"] for row in rows))
    names = list(dict.fromkeys(row["map"] for row in rows))
    for number, name in enumerate(names):
        of_map = [row for row in rows if row["map"] == name]
        places = [
            evidence.index(row["evidence"]) + (number - len(names) / 2) / (len(names) + 2) for row in of_map
        ]
        auc = [row["auc"] for row in of_map]
        reach = np.abs(np.array([row["auc_ci"] for row in of_map]).T - auc)
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


def frequency(rows: list[dict[str, Any]], size: int, path: Path) -> None:
    """Bytes by band when it is removed, disturbed, or a part of the attack; the attack's energy by band."""
    from matplotlib import pyplot

    bundles = list(dict.fromkeys(row["bundle"] for row in rows))
    figure, grid = pyplot.subplots(
        len(bundles), 3, figsize=(12, 4 * len(bundles)), layout="constrained", squeeze=False
    )
    for line, bundle in zip(grid, bundles, strict=True):
        of_bundle = [row for row in rows if row["bundle"] == bundle]
        parts = [row for row in of_bundle if row["kind"].startswith(("only", "without"))]
        _bytes_by_band(line[0], [row for row in of_bundle if row not in parts], bands(size))
        _bytes_by_band(line[1], parts, bands(size))
        _energy_by_band(line[2], [row for row in of_bundle if row["kind"].startswith("attack")], size)
        line[0].set(title=bundle)
        line[1].set(title="parts of PGD-E")
    for axes in grid.flat:
        axes.set_xticks(bands(size), [wavelengths(size)[band] for band in bands(size)], rotation=45)
        axes.set(xlabel="period, pixels")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    _save(figure, path)


def _bytes_by_band(axes: Any, rows: list[dict[str, Any]], present: list[int]) -> None:
    of_bands = [row for row in rows if row["band"] in present]
    for kind in dict.fromkeys(row["kind"] for row in of_bands):
        curve = [row for row in of_bands if row["kind"] == kind]
        middle = [100 * row["bytes_change"] for row in curve]
        reach = np.abs(100 * np.array([row["bytes_change_ci"] for row in curve]).T - middle)
        axes.errorbar([row["band"] for row in curve], middle, yerr=reach, capsize=2, label=kind)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(ylabel="change of the bytes, %")


def _energy_by_band(axes: Any, attacks: list[dict[str, Any]], size: int) -> None:
    index, present = band_index(size), bands(size)
    axes.plot(present, [100 * np.mean(index == band) for band in present], "k:", label="white noise")
    for row in attacks:
        share = 100 * np.array(row["energy"])[present]
        axes.plot(present, share, marker="o", label=f"PGD-E {row['kind'].split()[1]}/255")
    axes.set(title="energy of the perturbation", ylabel="share, %")


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)
