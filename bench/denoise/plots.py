"""The figure of ``bench.denoise``, as PNG and as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def objective_against_time(rows: list[dict[str, Any]], path: Path) -> list[Path]:
    """How far above its minimum each solver's objective is after how many milliseconds; the files written.

    path: a folder is taken for ``folder/objective``.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name in dict.fromkeys(row["solver"] for row in rows if row["section"] == "convergence"):
        mine = [row for row in rows if row.get("solver") == name]
        heights = [max(row["objective_above_minimum"], 1e-9) for row in mine]
        axes.loglog([row["p50_ms"] for row in mine], heights, marker="o", label=name)
    axes.set(xlabel="ms, 224 x 224 x 3", ylabel="objective above its minimum, per value")
    axes.legend()
    axes.grid(alpha=0.3)
    path = path / "objective" if path.is_dir() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    for file in files:
        figure.savefig(file, dpi=120, bbox_inches="tight")
    pyplot.close(figure)
    return files
