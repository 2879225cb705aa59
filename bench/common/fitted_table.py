"""Tables that fit the console: columns are left out where they do not, and numbers are never cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

FEW = 10
"""Images below which a 95 % interval over images says nothing: it is left out."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    cells: text of each row.
    spare: 0 for a column that stays; of the others those with the largest number go first.
    left: whether it is text, aligned left, or numbers.
    """

    name: str
    cells: Sequence[str]
    spare: int = 0
    left: bool = False


def fitted(title: str, columns: Sequence[Column], console: Console) -> Table:
    """A table of the columns that fit the console's width; its caption names those that do not."""
    kept, gone = list(columns), list[Column]()
    table = _table(title, kept, gone)
    while console.measure(table).maximum > console.width and any(column.spare for column in kept):
        last = max(kept, key=lambda column: column.spare)
        kept.remove(last)
        gone.append(last)
        table = _table(title, kept, gone)
    return table


def _table(title: str, columns: Sequence[Column], gone: Sequence[Column]) -> Table:
    table = Table(
        title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        table.add_column(
            column.name, justify="left" if column.left else "right", no_wrap=not column.left, overflow="fold"
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    if gone:
        names = ", ".join(dict.fromkeys(column.name for column in reversed(gone)))
        table.caption, table.caption_justify = f"left out, too wide: {names}", "left"
    return table


def about_count(images: int) -> str:
    """What to say of so few images; empty where they are enough."""
    if images >= FEW:
        return ""
    several = "1 image" if images == 1 else f"{images} images"
    return f"{several}: too few for a statement about others; intervals are left out."
