"""What a campaign prints: the verdict, a table a bundle, and with ``--bars`` the project's own bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from bench.common.bootstrap import FEW, about_few
from bench.common.terminal import Column, print_table
from bench.resilience.bars import BARS
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
        guarded = [one for one in found if one.cell.sender.guard is not None]
        if not plain and not guarded:
            continue
        sentences = [_sentence(who, of) for who, of in (("undefended", plain), ("behind the guard", guarded))]
        return f"{subject.name}: {' '.join(filter(None, sentences))}{_about_budget(guarded)}"
    return ""


def _sentence(who: str, found: Sequence[Outcome]) -> str:
    """The dearest outcome, and the least accurate one where it is another."""
    if not found:
        return f"Nothing was measured {who}."
    dearest = max(found, key=lambda one: one.ratio)
    wrongest = min(found, key=lambda one: one.top1)
    said = f"{_input(dearest)} costs {_bytes(dearest)} bytes {_name(who, dearest)}"
    if wrongest.top1 < dearest.top1:
        return f"{said}; {_input(wrongest)} leaves {_answers(wrongest)}."
    return f"{said} and leaves {_answers(dearest)}."


def _name(who: str, one: Outcome) -> str:
    """``behind the guard (auto)``: which of several guards it was."""
    return who if one.cell.sender.name in (UNDEFENDED, "auto") else f"{who} ({one.cell.sender.name})"


def _input(one: Outcome) -> str:
    return one.cell.input.label


def _bytes(one: Outcome) -> str:
    return f"{100 * (one.ratio - 1):+.0f} %"


def _answers(one: Outcome) -> str:
    return f"{100 * one.top1:.0f} % right answers, clean {100 * float(one.clean_correct.mean()):.0f} %"


def _about_budget(guarded: Sequence[Outcome]) -> str:
    """How often a packet was larger than the budget that its guard has."""
    limits = [(one, one.cell.sender.guard.budget) for one in guarded if one.cell.sender.guard is not None]
    known = [(one, budget) for one, budget in limits if budget is not None]
    if not known:
        return ""
    largest = max(one.largest / budget for one, budget in known)
    return f" The largest packet took {100 * largest:.0f} % of its budget."


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
