"""Where benchmarks print, and tables that fit there: columns are left out, numbers are never cut."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Column:
    """A column of a table.

    words: left-aligned text, which may be folded as a last resort; otherwise numbers, which never are.
    rank: 0 always stays; where the terminal is too narrow, the highest rank is left out first.
    """

    heading: str
    words: bool = False
    rank: int = 0


def open_console(stderr: bool = False) -> Console:
    """Standard output, or standard error. NO_COLOR and TERM=dumb get text without any escape code."""
    plain = bool(os.environ.get("NO_COLOR")) or _dumb()
    return Console(stderr=stderr, highlight=False, color_system=None if plain else "auto")


def print_table(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    title: str = "",
    legend: str = "",
    ends: Collection[int] = (),
    bold: Collection[int] = (),
) -> None:
    """Print ``title``, the table and ``legend``.

    ends: indices of rows that end a group. bold: indices of rows that stand out. Columns that do not fit are
    left out and named.
    """
    if title:
        console.print(f"\n{title}", style="bold")
    kept = list(range(len(columns)))
    while True:
        table = _table(console, [columns[i] for i in kept])
        for number, row in enumerate(rows):
            style = "bold" if number in bold else None
            table.add_row(*(Text(row[i]) for i in kept), style=style, end_section=number in ends)
        widest = max(kept, key=lambda i: (columns[i].rank, i))
        unlimited = console.options.update(max_width=1 << 16)
        if console.measure(table, options=unlimited).maximum <= console.width or not columns[widest].rank:
            break
        kept.remove(widest)
    console.print(table)
    if legend:
        console.print(legend, style="dim")
    if left_out := [column.heading for i, column in enumerate(columns) if i not in kept]:
        console.print(f"Left out at this width: {', '.join(left_out)}. --json has all.", style="dim")


def _dumb() -> bool:
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def _table(console: Console, columns: Sequence[Column]) -> Table:
    boxed = SIMPLE_HEAD if console.encoding.lower().startswith("utf") and not _dumb() else ASCII
    table = Table(box=boxed, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        if column.words:
            table.add_column(column.heading, overflow="fold")
        else:
            table.add_column(column.heading, justify="right", no_wrap=True, min_width=1)
    return table
