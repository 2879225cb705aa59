"""The figures of a campaign's page, as SVG text whose colours follow the page."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.resilience.bars import ADAPTIVE, GUARDED, RATE
from bench.resilience.cell import UNDEFENDED, Subject
from bench.resilience.outcomes import Outcome, Outcomes

CURVES = (
    ("undefended, un-masked PGD-E", UNDEFENDED, RATE, "unmasked"),
    ("undefended, PGD-E as released", UNDEFENDED, RATE, "released"),
    ("guarded, un-masked PGD-E", GUARDED, RATE, "unmasked"),
    ("guarded, adaptive", GUARDED, ADAPTIVE, "unmasked"),
)
"""Name, sender, threat, setting."""

COLOURS = ("#c8413b", "#b98362", "#3f7fc4", "#8a5cc2", "#2d9d63", "#e08a1e", "#2fa5a0", "#b0508f")
"""Colours that read on a light and on a dark ground."""

INK, GRID = "#010203", "#040506"
"""Placeholders: the page's text colour and its lines' replace them in the SVG."""

WIDTH = 5.2
"""Inches of a figure: on a narrow screen its text is still legible."""

LABEL_POINTS = 7.5
LINE_POINTS = 11
"""Size of a label and distance of two labels, in points."""

MARKERS = {True: ("o", "#c8413b"), False: ("s", "#3f7fc4"), None: ("D", INK)}
"""Marker and colour of a point: through our guard, through a filter, undefended."""

DODGE = 0.2
"""Octaves over which the curves are spread at each eps, so that their intervals lie side by side."""


@dataclass(frozen=True)
class FramePoint:
    """One sender under one attack.

    ratio: bytes relative to clean. top1: percent.
    ours: whether the frame goes through our guard; None for an undefended frame.
    """

    ratio: float
    top1: float
    name: str
    ours: bool | None


def rate_against_eps(outcomes: Outcomes, subject: Subject) -> str | None:
    """Bytes of one bundle relative to clean, over eps, with 95 % intervals; None without attacks."""
    found = curves(outcomes, subject)
    if not found:
        return None
    with rate_figure(found) as figure:
        return _svg(figure)


def accuracy_against_bytes(outcomes: Outcomes, subject: Subject, eps: int) -> str | None:
    """Top-1 of one bundle over relative bytes, a point a sender, under un-masked PGD-E; None without it."""
    found = points(outcomes, subject, eps)
    if not found:
        return None
    with accuracy_figure(found) as figure:
        return _svg(figure)


def curves(outcomes: Outcomes, subject: Subject) -> dict[str, list[Outcome]]:
    """The curves that were measured, by name: those of ``CURVES``, then guarded ones with a budget."""
    attacked = outcomes.of(subject, "attack")
    wanted = list(CURVES)
    for outcome in attacked:
        name = outcome.cell.sender.name
        if outcome.cell.budget is not None and all(name != sender for _, sender, _, _ in wanted):
            wanted.append((f"{name}, un-masked PGD-E", name, RATE, "unmasked"))
    found = {}
    for title, *key in wanted:
        curve = [
            outcome
            for outcome in attacked
            if [outcome.cell.sender.name, outcome.cell.input.name, outcome.cell.input.setting] == key
        ]
        if curve:
            found[title] = sorted(curve, key=lambda outcome: outcome.cell.input.level)
    return found


def points(outcomes: Outcomes, subject: Subject, eps: int) -> list[FramePoint]:
    """Every sender of one bundle under un-masked PGD-E, and clean, undefended frames."""
    found = [
        FramePoint(outcome.ratio, 100 * outcome.top1, outcome.cell.sender.name, _is_ours(outcome))
        for outcome in outcomes.of(subject, "attack")
        if _input(outcome) == (RATE, eps, "unmasked")
    ]
    clean = outcomes.find(subject, UNDEFENDED, "clean")
    if found and clean is not None:
        found.append(FramePoint(1.0, 100 * clean.top1, "clean, undefended", None))
    return found


@contextmanager
def rate_figure(found: dict[str, list[Outcome]]) -> Iterator[Any]:
    """A figure of curves. A curve with a budget has a line for it, relative to the mean clean frame."""
    with _figure(WIDTH, 3.4) as (figure, axes):
        for number, (name, curve) in enumerate(found.items()):
            colour = COLOURS[number % len(COLOURS)]
            shift = 2 ** (DODGE * ((number + 0.5) / len(found) - 0.5))
            errors = [
                [outcome.ratio - outcome.ratio_ci[0] for outcome in curve],
                [outcome.ratio_ci[1] - outcome.ratio for outcome in curve],
            ]
            axes.errorbar(
                [shift * outcome.cell.input.level for outcome in curve], [o.ratio for o in curve],
                yerr=errors, marker="o", markersize=4, capsize=2, color=colour, label=name,
            )  # fmt: skip
            budget = curve[0].cell.budget
            if budget is not None:
                share, label = budget / curve[0].clean_bytes.mean(), f"budget, {budget:,} bytes"
                axes.axhline(share, color=colour, linestyle="--", linewidth=1, label=label)
        axes.axhline(1, color=INK, linestyle=":", linewidth=1, label="clean, undefended")
        levels = sorted({outcome.cell.input.level for curve in found.values() for outcome in curve})
        axes.set_xscale("log", base=2)
        axes.set_xticks(levels, [f"{eps}/255" for eps in levels])
        axes.minorticks_off()
        axes.set(xlabel="eps", ylabel="bytes, relative to clean")
        axes.set_ylim(bottom=0)
        named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        order = [*found, *(label for label in named if label not in found)]  # curves first
        figure.legend(
            [named[label] for label in order], order,
            loc="outside lower left", ncols=2, frameon=False, fontsize=LABEL_POINTS,
        )  # fmt: skip
        yield figure


@contextmanager
def accuracy_figure(found: Sequence[FramePoint]) -> Iterator[Any]:
    """A figure of points. Their labels stand in a column beside them, one below another."""
    height = max(3.4, (len(found) + 4) * LINE_POINTS / 72)
    with _figure(WIDTH, height) as (figure, axes):
        for point in found:
            marker, colour = MARKERS[point.ours]
            axes.plot(point.ratio, point.top1, marker=marker, color=colour, markersize=6, linestyle="none")
        axes.set(xlabel="bytes, relative to clean", ylabel="top-1, %")
        axes.margins(0.06)
        _label_beside(figure, axes, found)
        yield figure


def _input(outcome: Outcome) -> tuple[str, int, str]:
    given = outcome.cell.input
    return given.name, given.level, given.setting


def _is_ours(outcome: Outcome) -> bool | None:
    sender = outcome.cell.sender
    return None if sender.guard is None and sender.before is None else sender.guard is not None


def _label_beside(figure: Any, axes: Any, found: Sequence[FramePoint]) -> None:
    """Name the points in a column on the right, each at its own height where that is free."""
    figure.draw_without_rendering()  # fixes where the axes are
    ordered = sorted(found, key=lambda point: (point.top1, point.ratio))
    heights = _spread(
        [float(axes.transData.transform((point.ratio, point.top1))[1]) for point in ordered],
        LINE_POINTS * figure.dpi / 72, axes.bbox.y0, axes.bbox.y1,
    )  # fmt: skip
    for point, height in zip(ordered, heights, strict=True):
        share = (height - axes.bbox.y0) / axes.bbox.height
        axes.annotate(
            point.name, (point.ratio, point.top1), xytext=(1.03, share), textcoords="axes fraction",
            va="center", fontsize=LABEL_POINTS, fontweight="bold" if point.ours else "normal",
            arrowprops={"arrowstyle": "-", "color": INK, "alpha": 0.3, "linewidth": 0.6, "shrinkB": 3},
            annotation_clip=False,
        )  # fmt: skip


def _spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Ascending places, each ``apart`` from the next, close to the ascending ``wanted``, from low to high.

    They end above ``high`` where there are too many of them.
    """
    places: list[float] = []
    for place in wanted:
        places.append(max(place, low if not places else places[-1] + apart))
    limit = max(high, low + apart * (len(places) - 1))
    for number in range(len(places) - 1, -1, -1):
        places[number] = min(places[number], limit)
        limit = places[number] - apart
    return places


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """A figure of so many inches with one pair of axes, closed at the end."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style: Any = dict.fromkeys(inked, INK)  # a dict; matplotlib lists its names as literals
    style |= {
        "grid.color": GRID,
        "font.size": 9.0,
        "svg.hashsalt": "ratehold",
    }  # a figure is always the same text
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
        axes.grid(linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        try:
            yield figure, axes
        finally:
            pyplot.close(figure)


def _svg(figure: Any) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    return svg.replace(INK, "currentColor").replace(GRID, "var(--line)")
