"""One page about a campaign: bars, the paper's tables beside ours, plots, every row. Nothing is linked to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from bench.common.report import environment
from bench.resilience import paper_figures as paper
from bench.resilience.bars import BARS, GUARDED, RATE
from bench.resilience.cell import UNDEFENDED, Subject
from bench.resilience.outcomes import Outcome, Outcomes
from bench.resilience.plots import accuracy_against_bytes, rate_against_eps

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .2rem .6rem; text-align: right }
th:first-child, td:first-child, td.text { text-align: left } tr { border-bottom: 1px solid #ddd }
.yes { color: #060 } .no { color: #a00 } svg { max-width: 100%; height: auto } .small { color: #555 }
"""


def page(
    outcomes: Outcomes, settings: dict[str, Any], rows: list[dict[str, Any]], summary: dict[str, Any]
) -> str:
    """The page's HTML, complete in itself."""
    said = ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)
    machine = environment()
    parts = [
        f"<p>{escape(said)}. Bytes are of real packets, headers included, relative to the same images clean "
        "and undefended; intervals are 95 %, over images.</p>",
        _bars(summary),
        *_plots(outcomes),
        *(_beside_paper(outcomes, subject) for subject in outcomes.subjects),
        _corruptions(outcomes),
        _rows(rows),
        f'<p class="small">{escape(machine["processor"])}, {machine["cores"]} cores; '
        f"{escape(', '.join(f'{name} {version}' for name, version in machine['packages'].items()))}</p>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>ratehold: resilience</title>'
        f"<style>{STYLE}</style></head>\n<body>\n<h1>Resilience</h1>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _bars(summary: dict[str, Any]) -> str:
    names = list(summary["bundles"])
    lines = []
    for bar in BARS:
        if bar.key in summary:
            each = [_value(summary["bundles"][name].get(bar.key)) for name in names]
            verdict = "yes" if bar.cleared(summary[bar.key]) else "no"
            lines.append([bar.key, bar.text, *each, f'<span class="{verdict}">{verdict}</span>'])
    return _table("Bars", ["key", "bar", *names, "cleared by all"], lines) if lines else ""


def _plots(outcomes: Outcomes) -> Iterable[str]:
    levels = sorted({o.cell.input.level for o in outcomes.all if o.cell.input.kind == "attack"})
    drawn = [("Rate against eps", rate_against_eps(outcomes))]
    drawn += [
        (f"Accuracy against bytes at eps {eps}/255", accuracy_against_bytes(outcomes, eps)) for eps in levels
    ]
    return [f"<h2>{escape(title)}</h2>\n{svg}" for title, svg in drawn if svg]


def _beside_paper(outcomes: Outcomes, subject: Subject) -> str:
    """The paper's table of one network under PGD-E, its figures beside ours."""
    clean = outcomes.find(subject, UNDEFENDED, "clean")
    levels = sorted({o.cell.input.level for o in outcomes.of(subject, "attack") if o.cell.input.name == RATE})
    if clean is None or not levels:
        return ""
    lines = [["clean", f"{paper.CLEAN_KB}", "", "", _kilobytes(clean), "", "", "", ""]]
    for eps in levels:
        attacked = outcomes.find(subject, UNDEFENDED, RATE, eps, "unmasked")
        released = outcomes.find(subject, UNDEFENDED, RATE, eps, "released")
        defended = outcomes.find(subject, GUARDED, RATE, eps, "unmasked")
        adaptive = outcomes.find(subject, GUARDED, "adaptive", eps, "unmasked")
        theirs = [paper.ATTACKED_KB.get(eps), paper.DEFENDED_KB.get(eps)]
        lines.append(
            [f"{eps}/255", "", *(f"{kb} ({kb / paper.CLEAN_KB:.2f})" if kb else "" for kb in theirs), ""]
            + [_kilobytes(outcome) for outcome in (released, attacked, defended, adaptive)]
        )
    heads = [
        "eps",
        "paper: clean",
        "attacked",
        "defended",
        "ours: clean",
        "released",
        "un-masked",
        "defended",
        "adaptive",
    ]
    note = f"KB (relative to clean). Left: {paper.NETWORK}. Right: {subject.name}."
    return _table(f"The paper's table, beside {subject.name}", heads, lines, note)


def _corruptions(outcomes: Outcomes) -> str:
    """Mean change of bytes over the severities, and of top-1, a corruption and bundle."""
    names = list(dict.fromkeys(o.cell.input.name for o in outcomes.all if o.cell.input.kind == "corruption"))
    if not names:
        return ""
    heads, lines = ["corruption", "paper"], []
    for subject in outcomes.subjects:
        heads += [f"{subject.prior}: undefended", "top-1", "guarded", "top-1"]
    for name in names:
        theirs = paper.CORRUPTION_CHANGE.get(name)
        line = [name, "" if theirs is None else f"{theirs:+.1f} %"]
        for subject in outcomes.subjects:
            for sender in (UNDEFENDED, GUARDED):
                found = [
                    o for o in outcomes.of(subject, "corruption")
                    if (o.cell.input.name, o.cell.sender.name) == (name, sender)
                ]  # fmt: skip
                line += _means(found)
        lines.append(line)
    return _table("Corruptions, means over severities", heads, lines, f"Paper: {paper.NETWORK}, bytes only.")


def _means(found: Sequence[Outcome]) -> list[str]:
    if not found:
        return ["", ""]
    change = sum(outcome.ratio - 1 for outcome in found) / len(found)
    top1 = sum(outcome.top1 for outcome in found) / len(found)
    return [f"{100 * change:+.1f} %", f"{100 * top1:.1f} %"]


def _rows(rows: list[dict[str, Any]]) -> str:
    heads = ["bundle", "input", "sender", "bytes", "ratio", "95 %", "top-1 %", "drop", "95 %", "defended %"]
    lines = [
        [
            row["bundle"], row["input"], row["sender"],
            f"{row['bytes_mean']:,.0f}", f"{row['bytes_ratio']:.3f}",
            "{:.3f} to {:.3f}".format(*row["bytes_ratio_ci"]), f"{100 * row['top1']:.1f}",
            f"{row['top1_drop']:+.1f}", "{:+.1f} to {:+.1f}".format(*row["top1_drop_ci"]),
            f"{100 * row['defended_share']:.0f}",
        ]
        for row in rows
    ]  # fmt: skip
    return _table("Every row", heads, lines, "drop: points of top-1 below clean and undefended")


def _table(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]], note: str = "") -> str:
    """Cells are text, but for those that are already an element."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "\n".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in line)}</tr>" for line in lines)
    under = f'<p class="small">{escape(note)}</p>' if note else ""
    return f"<h2>{escape(title)}</h2>\n<table>\n<tr>{head}</tr>\n{body}\n</table>{under}"


def _text(cell: str) -> str:
    return cell if cell.startswith("<span") else escape(cell)


def _kilobytes(outcome: Outcome | None) -> str:
    return "" if outcome is None else f"{outcome.bytes.mean() / 1000:.2f} ({outcome.ratio:.2f})"


def _value(value: Any) -> str:
    return "" if value is None else str(value) if isinstance(value, bool) else f"{value:.4g}"
