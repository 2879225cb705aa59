"""Figures of the benchmarks, each as PNG and as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMES = {"fp": "ratehold, FP", "mshp": "ratehold, MSHP", "jpeg": "JPEG", "webp": "WebP"}
TICKS = [factor * 10**power for power in range(1, 6) for factor in (1, 2, 5)]


def accuracy_against_bytes(rows: list[dict[str, Any]], path: Path) -> list[Path]:
    """Top-1 over mean bytes, one curve a prior or format, with 95 % intervals; returns the files written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for prior in dict.fromkeys(row["prior"] for row in rows):
        curve = sorted((row for row in rows if row["prior"] == prior), key=lambda row: row["bytes_mean"] or 0)
        if curve[0]["bytes_mean"] is None:
            axes.axhline(100 * curve[0]["top1"], color="grey", linestyle=":", label="not coded")
            continue
        top1 = [100 * row["top1"] for row in curve]
        low, high = zip(*(row["top1_ci"] for row in curve), strict=True)
        errors = [
            [max(0.0, t - 100 * value) for t, value in zip(top1, low, strict=True)],
            [max(0.0, 100 * value - t) for t, value in zip(top1, high, strict=True)],
        ]
        ours = prior in ("fp", "mshp")
        axes.errorbar(
            [row["bytes_mean"] for row in curve], top1, yerr=errors, capsize=2, marker="o" if ours else "s",
            linestyle="-" if ours else "--", label=NAMES.get(prior, prior),
        )  # fmt: skip
    axes.set(xscale="log", xlabel="bytes an image, all headers included", ylabel="top-1 accuracy, %")
    left, right = axes.get_xlim()
    ticks = [tick for tick in TICKS if left <= tick <= right]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    with pyplot.rc_context({"svg.hashsalt": "ratehold"}):  # the same figure is the same file
        for file in files:
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)
    return files
