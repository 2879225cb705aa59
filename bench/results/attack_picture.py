"""The picture of an attacked frame's bytes, undefended and behind the guard, as deterministic SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from bench.results.markdown import change, count, share
from bench.results.record import Measured, Node, Record
from bench.results.sections.attacks import BUDGET, BUDGETED, GUARD, UNDEFENDED

PRIOR, EPS = "mshp", 4
WIDTH, LEFT, RIGHT, TOP, STEP, BAR = 800, 276, 178, 62, 36, 24
HEADING = 28
"""Height of a group's heading, above its bars."""

LARGEST = 1.8
"""Bytes over those of clean frames at the right end of the axis."""

GREY, RED, BLUE, INK, FAINT = "#9aa0a6", "#d1495b", "#2e6f9e", "#222222", "#6b7075"


@dataclass(frozen=True)
class Bar:
    """One bar: what was sent and how, bytes over clean, and the share of right answers."""

    label: str
    ratio: float
    top1: float
    colour: str


@dataclass(frozen=True)
class Group:
    """Bars of the same photographs, under a heading that says how many there are."""

    heading: str
    bars: tuple[Bar, ...]


def draw(measured: Measured) -> str:
    """The whole picture."""
    clean = measured["resilience_clean"].row(prior=PRIOR, kind="clean", sender=UNDEFENDED)
    groups = _groups(measured["resilience_attack"], measured["resilience_adaptive_guard"])
    bottom = TOP + sum(HEADING + STEP * len(group.bars) for group in groups)
    height = bottom + 28
    budget = BUDGET / clean["bytes_mean"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="Helvetica, Arial, sans-serif" font-size="14" fill="{INK}">',
        "<title>Bytes of an attacked photograph, undefended and behind the guard</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 26, f"Bytes a photograph under a rate attack of {EPS}/255", size=17, weight="bold"),
        _text(WIDTH - RIGHT + 14, TOP - 10, "bytes", colour=FAINT),
        _text(WIDTH - 16, TOP - 10, "right answers", anchor="end", colour=FAINT),
    ]
    top = TOP
    for group in groups:
        parts.append(_text(16, top + 15, group.heading, weight="bold"))
        top += HEADING
        for bar in group.bars:
            parts += _row(bar, top)
            top += STEP
    parts += [
        f'<line x1="{_x(budget)}" y1="{TOP - 4}" x2="{_x(budget)}" y2="{bottom - 8}" stroke="{INK}" '
        'stroke-width="1.5" stroke-dasharray="5 4"/>',
        _text(_x(budget), bottom + 10, f"budget: no packet over {count(BUDGET)} bytes", anchor="middle"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _groups(attack: Record, knowing: Record) -> tuple[Group, ...]:
    at = {"prior": PRIOR, "level": EPS}
    clean, clean_few = (
        record.row(prior=PRIOR, kind="clean", sender=UNDEFENDED) for record in (attack, knowing)
    )
    return (
        Group(
            f"The attacker knows the network ({clean['images']} photographs)",
            (
                _bar("clean", clean, GREY),
                _bar("attacked, undefended", attack.row(**at, sender=UNDEFENDED), RED),
                _bar("attacked, guard", attack.row(**at, sender=GUARD), BLUE),
            ),
        ),
        Group(
            f"The attacker knows the guard too ({clean_few['images']} photographs)",
            (
                _bar("clean", clean_few, GREY),
                _bar("attacked, guard", knowing.row(**at, sender=GUARD), RED),
                _bar("guard, budget unknown to attacker", knowing.row(**at, sender=BUDGETED), BLUE),
            ),
        ),
    )


def _bar(label: str, row: Node, colour: str) -> Bar:
    return Bar(label, row["bytes_ratio"], row["top1"], colour)


def _row(bar: Bar, top: int) -> list[str]:
    middle = top + BAR // 2 + 5
    bytes_text = "100 %" if bar.ratio == 1 else change(bar.ratio, 0)
    return [
        _text(LEFT - 12, middle, bar.label, anchor="end"),
        f'<rect x="{LEFT}" y="{top}" width="{_x(bar.ratio) - LEFT:.1f}" height="{BAR}" rx="2" '
        f'fill="{bar.colour}"/>',
        _text(WIDTH - RIGHT + 14, middle, bytes_text),
        _text(WIDTH - 16, middle, share(bar.top1, 0), anchor="end"),
    ]


def _x(ratio: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * ratio / LARGEST, 1)


def _text(
    x: float, y: float, text: str, anchor: str = "start", colour: str = INK, size: int = 14, weight: str = ""
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" font-size="{size}"{bold}>'
        f"{escape(text)}</text>"
    )
