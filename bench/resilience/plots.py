"""The figures of a campaign's page, as SVG text."""

from __future__ import annotations

import io
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


def rate_against_eps(outcomes: Outcomes) -> str | None:
    """Bytes relative to clean over eps, one panel a bundle, 95 % intervals; None without attacks."""
    subjects = [subject for subject in outcomes.subjects if outcomes.of(subject, "attack")]
    if not subjects:
        return None
    figure, panels = _figure(len(subjects))
    for axes, subject in zip(panels, subjects, strict=True):
        for name, sender, threat, setting in CURVES:
            curve = _curve(outcomes, subject, sender, threat, setting)
            if curve:
                ratios = [outcome.ratio for outcome in curve]
                errors = [
                    [outcome.ratio - outcome.ratio_ci[0] for outcome in curve],
                    [outcome.ratio_ci[1] - outcome.ratio for outcome in curve],
                ]
                levels = [outcome.cell.input.level for outcome in curve]
                axes.errorbar(levels, ratios, yerr=errors, marker="o", capsize=2, label=name)
        axes.axhline(1, color="grey", linestyle=":")
        levels = sorted({outcome.cell.input.level for outcome in outcomes.of(subject, "attack")})
        axes.set(title=subject.name, xlabel="eps, of 255", ylabel="bytes, relative to clean", xticks=levels)
        axes.legend(fontsize="small")
    return _svg(figure)


def accuracy_against_bytes(outcomes: Outcomes, eps: int) -> str | None:
    """Top-1 over relative bytes of every sender under un-masked PGD-E; None where there is none."""
    subjects = [s for s in outcomes.subjects if outcomes.find(s, UNDEFENDED, RATE, eps, "unmasked")]
    if not subjects:
        return None
    figure, panels = _figure(len(subjects))
    for axes, subject in zip(panels, subjects, strict=True):
        for outcome in outcomes.of(subject, "attack"):
            given, name = outcome.cell.input, outcome.cell.sender.name
            if (given.name, given.level, given.setting) == (RATE, eps, "unmasked"):
                ours = outcome.cell.sender.guard is not None
                point = (outcome.ratio, 100 * outcome.top1)
                axes.plot(*point, "o" if ours else "s", color="tab:red" if ours else "tab:blue")
                axes.annotate(
                    name, point, xytext=(3, 3), textcoords="offset points", fontsize="x-small", rotation=30
                )
        clean = outcomes.find(subject, UNDEFENDED, "clean")
        if clean is not None:
            axes.plot(1, 100 * clean.top1, "*", color="black", markersize=10)
            axes.annotate("clean", (1, 100 * clean.top1), xytext=(3, 3), textcoords="offset points")
        axes.set(title=f"{subject.name}, eps {eps}/255", xlabel="bytes, relative to clean", ylabel="top-1, %")
    return _svg(figure)


def _curve(outcomes: Outcomes, subject: Subject, sender: str, threat: str, setting: str) -> list[Outcome]:
    wanted = (sender, threat, setting)
    found = [
        outcome
        for outcome in outcomes.of(subject, "attack")
        if (outcome.cell.sender.name, outcome.cell.input.name, outcome.cell.input.setting) == wanted
    ]
    return sorted(found, key=lambda outcome: outcome.cell.input.level)


def _figure(panels: int) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, panels, figsize=(5.5 * panels, 4), layout="constrained", squeeze=False)
    for one in axes[0]:
        one.grid(alpha=0.3)
    return figure, axes[0]


def _svg(figure: Any) -> str:
    from matplotlib import pyplot

    text = io.StringIO()
    with pyplot.rc_context({"svg.hashsalt": "ratehold"}):  # the same figure is the same text
        figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]
