"""Tables fit the terminal by leaving columns out; plain terminals get plain text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bench.common.terminal import Column, open_console, print_table

COLUMNS = [Column("name", words=True), Column("first"), Column("second", rank=1), Column("third", rank=2)]
ROWS = [["a long name", "123,456.7", "234,567.8", "345,678.9"], ["b", "1.0", "2.0", "3.0"]]


def printed(width: int, rows: list[list[str]] = ROWS) -> str:
    console = Console(width=width, file=io.StringIO())
    print_table(console, COLUMNS, rows, "Title", "legend", bold=[0], ends=[0])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_all_columns_are_there_where_they_fit() -> None:
    text = printed(60)
    assert all(cell in text for row in ROWS for cell in row) and "Left out" not in text


@pytest.mark.parametrize("width", [24, 34, 44, 54])
def test_the_highest_ranks_go_first_and_no_number_is_cut(width: int) -> None:
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    there = [heading for heading in ("first", "second", "third") if heading in text.split("Left out")[0]]
    assert there == ["first", "second", "third"][: len(there)] and there
    assert all(row[1 + i] in text for row in ROWS for i in range(len(there)))
    assert ("Left out" in text) == (len(there) < 3)


def test_words_are_folded_before_a_number_is_cut() -> None:
    text = printed(26, [["a very long name indeed", "123,456.7", "2", "3"]])
    assert "123,456.7" in text and "…" not in text


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_plain_terminals_get_no_escape_codes(
    variable: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_table(open_console(), COLUMNS, ROWS, "Title", bold=[0])
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv(*variable)
    print_table(open_console(), COLUMNS, ROWS, "Title", bold=[0])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "123,456.7" in printed
    assert printed.isascii() == (variable == ("TERM", "dumb"))


def test_an_ascii_terminal_gets_ascii() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    print_table(Console(file=file, width=80), COLUMNS, ROWS, "Title", "legend", ends=[0])
    file.flush()
    assert isinstance(file.buffer, io.BytesIO) and b"123,456.7" in file.buffer.getvalue()
