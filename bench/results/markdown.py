"""Figures, tables and paragraphs as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from statistics import median as _median

WIDTH = 110

Interval = Sequence[float]


def count(value: float) -> str:
    """2860.066 -> '2,860'."""
    return f"{value:,.0f}"


def share(value: float, digits: int = 1) -> str:
    """0.906 -> '90.6 %'."""
    return f"{100 * value:.{digits}f} %"


def share_within(value: float, interval: Interval) -> str:
    """0.906, (0.88, 0.932) -> '90.6 % (88.0 to 93.2)'."""
    low, high = interval
    return f"{share(value)} ({100 * low:.1f} to {100 * high:.1f})"


def change(ratio: float, digits: int = 1) -> str:
    """1.361 -> '+36.1 %': a ratio to the clean, undefended value as a change."""
    return f"{signed(100 * (ratio - 1), digits)} %"


def change_within(ratio: float, interval: Interval, digits: int = 1) -> str:
    """1.361, (1.341, 1.385) -> '+36.1 % (+34.1 to +38.5)'."""
    low, high = (signed(100 * (end - 1), digits) for end in interval)
    return f"{change(ratio, digits)} ({low} to {high})"


def signed(value: float, digits: int = 1) -> str:
    """36.1 -> '+36.1'; zero has no sign."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text


def fixed(value: float, digits: int = 2) -> str:
    """1.2345 -> '1.23'."""
    return f"{value:,.{digits}f}"


def spread(values: Iterable[float], digits: int = 1) -> str:
    """The least and the greatest: '5.1 to 6.1'."""
    found = sorted(values)
    return f"{found[0]:.{digits}f} to {found[-1]:.{digits}f}"


def median(values: Iterable[float]) -> float:
    """The median."""
    return _median(values)


def listed(names: Sequence[str]) -> str:
    """['a', 'b', 'c'] -> 'a, b and c'."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    lines = [_line(header), "|---|" + "--:|" * (len(header) - 1)]
    return "\n".join([*lines, *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def paragraph(text: str) -> str:
    """Text in lines of at most ``WIDTH`` characters."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def bullets(items: Iterable[str]) -> str:
    """A list with a line or more an item."""
    return "\n".join(
        textwrap.fill(
            " ".join(item.split()), WIDTH, initial_indent="- ", subsequent_indent="  ",
            break_long_words=False, break_on_hyphens=False,
        )
        for item in items
    )  # fmt: skip


def shell(commands: Sequence[str]) -> str:
    """Commands in a fenced block; long ones are broken before an option."""
    return "\n".join(["```sh", *map(_broken, commands), "```"])


def _broken(command: str) -> str:
    lines = [""]
    for word in _options(command):
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) <= WIDTH - 2 or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    return " \\\n    ".join(lines)


def _options(command: str) -> list[str]:
    """An option with its first value stays together; later values may begin a line."""
    found: list[str] = []
    words = command.split(" ")
    for before, word in zip(["", *words], words, strict=False):
        if before.startswith("--") and not word.startswith("--"):
            found[-1] += f" {word}"
        else:
            found.append(word)
    return found
