"""Options that benchmarks share: one meaning, defaults where there is one, old spellings that go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.common import bundle_options, options


def test_help_shows_the_defaults_that_there_are_and_no_others() -> None:
    parser = options.parser("bench.x", "What x is.\n\nMore.")
    options.add_photos(parser, "--data")
    options.add_limit(parser, 8, "images", "--images")
    options.add_threads(parser, None, "the engine")
    bundle_options.add_bundles(parser, ["a", "b"])
    options.add_bars(parser)
    options.add_json(parser)
    text = " ".join(parser.format_help().split())
    assert "What x is." in text and "More." not in text
    assert text.count("(default:") == 2
    assert "the first N images only (default: 8)" in text and "(default: a b)" in text
    assert "--data" not in text and "--images" not in text


def test_lists_of_names_wrap_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    parser = options.parser("bench.x", "x")
    parser.epilog = "names:\n  one    short\n  three  " + "many words " * 9 + "\n"
    lines = parser.format_help().split("names:\n")[1].splitlines()
    assert lines[:2] == ["  one    short", "  three  many words many words many"]
    assert len(lines) > 3 and all(line.startswith(" " * 9) and len(line) <= 40 for line in lines[2:])


def test_earlier_spellings_go_on_working() -> None:
    parser = options.parser("bench.x", "x")
    options.add_photos(parser, "--data")
    options.add_limit(parser, 8, "images", "--images")
    given = parser.parse_args(["--data", "a", "--images", "3"])
    assert (given.photos, given.limit) == (Path("a"), 3)
    assert parser.parse_args(["--photos", "a", "--limit", "3"]) == given
    assert parser.parse_args([]).limit == 8


def test_bundles_add_up_and_replace_the_default() -> None:
    parser = options.parser("bench.x", "x")
    bundle_options.add_bundles(parser, ["default"])
    assert parser.parse_args([]).bundle == ["default"]
    assert parser.parse_args(["--bundle", "a", "b", "--bundle", "c"]).bundle == ["a", "b", "c"]
    assert parser.parse_args(["--all"]).bundle == [bundle_options.ALL]


@pytest.mark.parametrize("text", ["0", "-1", "x"])
def test_counts_are_positive(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = options.parser("bench.x", "x")
    options.add_runs(parser, 5, "frames")
    with pytest.raises(SystemExit) as refused:
        parser.parse_args(["--runs", text])
    assert refused.value.code == 2
