"""What a campaign prints: the verdict, a table a bundle, and with ``--bars`` the project's own bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from bench.common.bootstrap import FEW, about_few
from bench.common.terminal import Column, print_table
from bench.resilience.bars import BARS, GUARDED
from bench.resilience.cell import UNDEFENDED, Subject
from bench.resilience.outcomes import Outcome, Outcomes, Row


def verdict(outcomes: Outcomes) -> str:
    """A line a bundle: what the worst attack cost, undefended and behind the guard.

    Without attacks it is the worst corruption; empty without either.
    """
    return "\n".join(filter(None, (_of_bundle(outcomes, subject) for subject in outcomes.subjects)))


def _of_bundle(outcomes: Outcomes, subject: Subject) -> str:
    for kind in ("attack", "corruption"):
        found = outcomes.of(subject, kind)
        plain = [one for one in found if one.cell.sender.name == UNDEFENDED]
        guarded = [one for one in found if one.cell.sender.guard and not _tightened(one)]
        limited = [one for one in found if one.cell.budget is not None]
        sentences = [*_worst(kind, plain, guarded), *_budgets(limited)]
        if sentences:
            return f"{subject.name}: {' '.join(sentences)}"
    return ""


def _worst(kind: str, plain: Sequence[Outcome], guarded: Sequence[Outcome]) -> list[str]:
    """The dearest input undefended and the same behind the guard; then the dearest behind the guard."""
    said = []
    if plain:
        worst = max(plain, key=lambda one: one.ratio)
        same = [one for one in guarded if one.cell.input == worst.cell.input]
        clean = f"clean: {100 * float(worst.clean_correct.mean()):.0f} %"
        text = f"The dearest {kind}, {worst.cell.input.label}, costs {_effect(worst)} right answers ({clean})"
        guarded = [one for one in guarded if one.cell.input != worst.cell.input]
        said.append(f"{text}; {_behind(same[0])}: {_effect(same[0])}." if same else f"{text}.")
    if guarded:
        worst = max(guarded, key=lambda one: one.ratio)
        also = "Of the others" if said else f"Of each {kind}"
        said.append(f"{also} the dearest {_behind(worst)} is {worst.cell.input.label}: {_effect(worst)}.")
    return said


def _effect(one: Outcome) -> str:
    return f"{100 * (one.ratio - 1):+.0f} % bytes and leaves {100 * one.top1:.0f} %"


def _behind(one: Outcome) -> str:
    name = one.cell.sender.name
    return "behind the guard" if name == GUARDED else f"behind the guard ({name})"


def _budgets(limited: Sequence[Outcome]) -> list[str]:
    """The largest packet of guards with a budget."""
    shares = [one.largest / budget for one in limited if (budget := one.cell.budget) is not None]
    return [f"The largest packet with a budget took {100 * max(shares):.0f} % of it."] if shares else []


def _tightened(one: Outcome) -> bool:
    """Whether the sender has a budget that is not the bundle's."""
    guard = one.cell.sender.guard
    return guard is not None and isinstance(guard.budget, int)


COLUMNS = (
    Column("input", words=True), Column("sender", words=True), Column("bytes"), Column("ratio"),
    Column("95 %", rank=1), Column("top-1 %"), Column("drop", rank=3), Column("defended %", rank=2),
)  # fmt: skip
LEGEND = "ratio, drop: bytes and points of top-1 against the same images, clean and undefended."


def show(outcomes: Outcomes, rows: Sequence[Row], console: Console) -> None:
    """The verdict, then a table of the rows of each bundle."""
    for text in filter(None, (about_few(rows[0].images), verdict(outcomes))):
        console.print(text)
    names = list(dict.fromkeys(row.bundle for row in rows))
    for name in names:
        found = [row for row in rows if row.bundle == name]
        few = found[0].images < FEW
        columns = [column for column in COLUMNS if column.heading != "95 %" or not few]
        cells = [_cells(row, few) for row in found]
        print_table(console, columns, cells, name, LEGEND if name == names[-1] else "", _ends(found))


def _ends(rows: Sequence[Row]) -> list[int]:
    """Indices of the last row of each input."""
    return [i for i in range(len(rows) - 1) if rows[i].input != rows[i + 1].input]


def _cells(row: Row, few: bool) -> list[str]:
    interval = [] if few else ["{:.3f}-{:.3f}".format(*row.bytes_ratio_ci)]
    return [
        row.input, row.sender, f"{row.bytes_mean:,.0f}", f"{row.bytes_ratio:.3f}", *interval,
        f"{100 * row.top1:.1f}", f"{row.top1_drop:+.1f}", f"{100 * row.defended_share:.0f}",
    ]  # fmt: skip


def show_bars(summary: dict[str, Any], console: Console) -> None:
    """Each of the project's own bars whose figure was measured, and whether it is met."""
    rows = [
        (bar.key, _value(summary[bar.key]), bar.text, "met" if bar.cleared(summary[bar.key]) else "NOT MET")
        for bar in BARS
        if bar.key in summary
    ]
    columns = [Column("figure", words=True), Column("measured"), Column("bar"), Column("verdict", words=True)]
    print_table(console, columns, rows, "The project's own acceptance bars")


def _value(value: Any) -> str:
    return str(value) if isinstance(value, bool) else f"{value:.4g}"
