"""One HTML page about a campaign: the result in words, plots, the paper's tables beside ours, every row.

The page is complete in itself: it loads and links nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from bench.common.report import environment
from bench.resilience import paper_figures as paper
from bench.resilience.bars import BARS, GUARDED, RATE
from bench.resilience.cell import UNDEFENDED, Subject
from bench.resilience.outcomes import Outcome, Outcomes, Row
from bench.resilience.plots import accuracy_against_bytes, rate_against_eps
from bench.resilience.result import headline, sentences

STYLE = """
:root {
  color-scheme: light dark; --ground: #fff; --panel: #f3f5f8; --line: #d5dae1;
  --text: #1b2430; --dim: #5d6978; --yes: #1f7a4a; --no: #b3312a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #11151b; --panel: #1a2028; --line: #343d49;
    --text: #e4e9ef; --dim: #98a4b3; --yes: #4cc186; --no: #f07a73;
  }
}
* { box-sizing: border-box }
body {
  font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums;
  max-width: 75rem; margin: 1.5rem auto; padding: 0 1rem; background: var(--ground); color: var(--text);
}
h1 { font-size: 1.6rem; margin: 0 0 .8rem } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem }
h3 { font-size: 1rem; margin: 0 0 .3rem; overflow-wrap: anywhere }
.result { background: var(--panel); border: 1px solid var(--line); border-radius: 8px }
.result { padding: .7rem 1rem } .result p { margin: .3rem 0 }
.headline { font-size: 1.15rem; max-width: 75ch }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)) }
.figures { gap: 1rem 1.5rem }
figure { margin: 0; min-width: 0 } svg { display: block; width: 100%; height: auto; max-width: 40rem }
.scroll { overflow: auto; max-width: 100% } .tall { max-height: 40rem }
.tall th { position: sticky; top: 0; background: var(--ground) }
table { border-collapse: collapse; font-size: 14px }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap }
th { color: var(--dim); font-weight: 500; border-bottom: 2px solid var(--line) }
td { border-bottom: 1px solid var(--line) } tr > :first-child { text-align: left; padding-left: 0 }
.yes { color: var(--yes) } .no { color: var(--no) } .small { color: var(--dim); font-size: 13px }
"""


def page(outcomes: Outcomes, settings: dict[str, Any], rows: Sequence[Row], summary: dict[str, Any]) -> str:
    """The page's HTML."""
    said = ", ".join(f"{key} {_plain(value)}" for key, value in settings.items() if value is not None)
    machine = environment()
    parts = [
        f'<p class="headline">{escape(headline(outcomes))}</p>',
        '<div class="figures">',
        *(_result(outcomes, subject) for subject in outcomes.subjects),
        "</div>",
        f'<p class="small">Settings: {escape(said)}. Bytes are those of real packets, headers included, '
        "relative to the same images clean and undefended. Intervals are 95 %, over images.</p>",
        *_plots(outcomes),
        _bars(summary),
        *(_beside_paper(outcomes, subject) for subject in outcomes.subjects),
        _corruptions(outcomes),
        _rows(rows),
        f'<p class="small">{escape(machine["processor"])}, {machine["cores"]} cores; '
        f"{escape(', '.join(f'{name} {version}' for name, version in machine['packages'].items()))}</p>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>ratehold: resilience</title><style>{STYLE}</style></head>\n<body>\n<h1>Resilience</h1>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _result(outcomes: Outcomes, subject: Subject) -> str:
    """The result of one bundle in a few sentences."""
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences(outcomes, subject))
    return f'<div class="result"><h3>{escape(subject.name)}</h3>{said}</div>'


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


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
    yield from _figures("Bytes against eps", [(s, rate_against_eps(outcomes, s)) for s in outcomes.subjects])
    for eps in levels:
        drawn = [(subject, accuracy_against_bytes(outcomes, subject, eps)) for subject in outcomes.subjects]
        yield from _figures(f"Accuracy against bytes under un-masked PGD-E at eps {eps}/255", drawn)


def _figures(title: str, drawn: Sequence[tuple[Subject, str | None]]) -> Iterable[str]:
    """One figure a bundle, side by side where there is room."""
    figures = [f"<figure><h3>{escape(subject.name)}</h3>\n{svg}</figure>" for subject, svg in drawn if svg]
    if figures:
        yield f'<h2>{escape(title)}</h2>\n<div class="figures">{"".join(figures)}</div>'


def _beside_paper(outcomes: Outcomes, subject: Subject) -> str:
    """The paper's table of its network under PGD-E, with our figures beside it."""
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
    """A line a corruption: mean change of bytes and mean top-1 over the severities, of every bundle."""
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


def _rows(rows: Sequence[Row]) -> str:
    heads = ["bundle", "input", "sender", "bytes", "ratio", "95 %", "top-1 %", "drop", "95 %", "defended %"]
    lines = [
        [
            row.bundle, row.input, row.sender,
            f"{row.bytes_mean:,.0f}", f"{row.bytes_ratio:.3f}",
            "{:.3f} to {:.3f}".format(*row.bytes_ratio_ci), f"{100 * row.top1:.1f}",
            f"{row.top1_drop:+.1f}", "{:+.1f} to {:+.1f}".format(*row.top1_drop_ci),
            f"{100 * row.defended_share:.0f}",
        ]
        for row in rows
    ]  # fmt: skip
    return _table("Every row", heads, lines, "drop: points of top-1 below clean and undefended", "tall")


def _table(
    title: str, heads: Sequence[str], lines: Sequence[Sequence[str]], note: str = "", shape: str = ""
) -> str:
    """A table that scrolls where it is wide. A cell is text, or already an element."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "\n".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in line)}</tr>" for line in lines)
    under = f'<p class="small">{escape(note)}</p>' if note else ""
    table = f"<table>\n<tr>{head}</tr>\n{body}\n</table>"
    return f'<h2>{escape(title)}</h2>\n<div class="scroll {shape}">{table}</div>{under}'


def _text(cell: str) -> str:
    return cell if cell.startswith("<span") else escape(cell)


def _kilobytes(outcome: Outcome | None) -> str:
    return "" if outcome is None else f"{outcome.bytes.mean() / 1000:.2f} ({outcome.ratio:.2f})"


def _value(value: Any) -> str:
    return "" if value is None else str(value) if isinstance(value, bool) else f"{value:.4g}"
