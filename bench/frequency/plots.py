"""The figure of ``bench.frequency``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.frequency.band_changes import BandRow
from bench.frequency.dct_bands import band_index, bands, wavelengths

DPI = 80


def frequency(rows: Sequence[BandRow], size: int, path: Path) -> None:
    """Bytes by band when it is removed, disturbed, or a part of the attack; the attack's energy by band."""
    from matplotlib import pyplot

    bundles = list(dict.fromkeys(row.bundle for row in rows))
    figure, grid = pyplot.subplots(
        len(bundles), 3, figsize=(12, 4 * len(bundles)), layout="constrained", squeeze=False
    )
    for line, bundle in zip(grid, bundles, strict=True):
        of_bundle = [row for row in rows if row.bundle == bundle]
        parts = [row for row in of_bundle if row.kind.startswith(("only", "without"))]
        _bytes_by_band(line[0], [row for row in of_bundle if row not in parts], bands(size))
        _bytes_by_band(line[1], parts, bands(size))
        _energy_by_band(line[2], [row for row in of_bundle if row.kind.startswith("attack")], size)
        line[0].set(title=bundle)
        line[1].set(title="parts of PGD-E")
    for axes in grid.flat:
        axes.set_xticks(bands(size), [wavelengths(size)[band] for band in bands(size)], rotation=45)
        axes.set(xlabel="period, pixels")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    _save(figure, path)


def _bytes_by_band(axes: Any, rows: Sequence[BandRow], present: list[int]) -> None:
    of_bands = [row for row in rows if row.band in present]
    for kind in dict.fromkeys(row.kind for row in of_bands):
        curve = [row for row in of_bands if row.kind == kind]
        middle = [100 * row.bytes_change for row in curve]
        reach = np.abs(100 * np.array([row.bytes_change_ci for row in curve]).T - middle)
        axes.errorbar([row.band for row in curve], middle, yerr=reach, capsize=2, label=kind)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(ylabel="change of the bytes, %")


def _energy_by_band(axes: Any, attacks: Sequence[BandRow], size: int) -> None:
    index, present = band_index(size), bands(size)
    axes.plot(present, [100 * np.mean(index == band) for band in present], "k:", label="white noise")
    for row in attacks:
        share = 100 * np.array(row.energy)[present]
        axes.plot(present, share, marker="o", label=f"PGD-E {row.kind.split()[1]}/255")
    axes.set(title="energy of the perturbation", ylabel="share, %")


def _save(figure: Any, path: Path) -> None:
    """As PNG and as SVG."""
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    with pyplot.rc_context({"svg.hashsalt": "ratehold"}):  # the same figure is the same file
        figure.savefig(path.with_suffix(".png"), dpi=DPI)
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    pyplot.close(figure)
