"""The figure of ``bench.accuracy``, as PNG and as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

OURS = {"fp": ("ratehold, FP", "#0072b2", "o"), "mshp": ("ratehold, MSHP", "#d55e00", "o")}
PICTURES = {
    "avif": ("AVIF", "#333333", "s"), "webp": ("WebP", "#666666", "^"), "jpeg": ("JPEG", "#999999", "v"),
}  # fmt: skip
"""Label, colour and marker by prior or format; colour-blind readers tell blue from vermilion, too."""

TICKS = [factor * 10**power for power in range(1, 6) for factor in (1, 2, 5)]
INCHES, DPI = (8.0, 4.8), 200
"""At 100 pixels an inch the figure is 800 wide, as a README shows it; PNG has twice that."""


def accuracy_against_bytes(rows: Sequence[Mapping[str, Any]], path: Path) -> list[Path]:
    """Top-1 over mean bytes, one curve a prior or format, with 95 % intervals; returns the files written."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context({"font.size": 13, "svg.hashsalt": "ratehold"}):  # the same figure is the same file
        figure, axes = pyplot.subplots(figsize=INCHES, layout="constrained")
        for prior in dict.fromkeys(row["prior"] for row in rows):
            curve = sorted(
                (row for row in rows if row["prior"] == prior), key=lambda row: row["bytes_mean"] or 0
            )
            if curve[0]["bytes_mean"] is None:
                axes.axhline(
                    100 * curve[0]["top1"], color="black", linestyle=":", linewidth=1.5, label="not coded"
                )
            else:
                _curve(axes, prior, curve)
        axes.set(xscale="log", xlabel="bytes an image, all headers included", ylabel="top-1 accuracy, %")
        left, right = axes.get_xlim()
        left = max([tick for tick in TICKS if tick <= left], default=left)
        axes.set_xlim(left, right)
        ticks = [tick for tick in TICKS if left <= tick <= right]
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", framealpha=0.9)
        path.parent.mkdir(parents=True, exist_ok=True)
        files = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
        for file in files:
            figure.savefig(file, dpi=DPI, metadata={"Date": None} if file.suffix == ".svg" else None)
        pyplot.close(figure)
    return files


def _curve(axes: Any, prior: str, curve: Sequence[Mapping[str, Any]]) -> None:
    label, colour, marker = (OURS | PICTURES).get(prior, (prior, "#009e73", "d"))
    top1 = [100 * row["top1"] for row in curve]
    low, high = zip(*(row["top1_ci"] for row in curve), strict=True)
    errors = [
        [max(0.0, t - 100 * value) for t, value in zip(top1, low, strict=True)],
        [max(0.0, 100 * value - t) for t, value in zip(top1, high, strict=True)],
    ]
    ours = prior in OURS
    axes.errorbar(
        [row["bytes_mean"] for row in curve], top1, yerr=errors, capsize=3, elinewidth=1, marker=marker,
        color=colour, label=label, markersize=8 if ours else 6, linewidth=2.5 if ours else 1.5,
        linestyle="-" if ours else "--", zorder=3 if ours else 2,
    )  # fmt: skip
