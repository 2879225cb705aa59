"""bench.blind, masks and frequency on a dumb terminal: verdict, legends, 80 columns, few images said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import blind
from bench.frequency import __main__ as frequency
from bench.masks import __main__ as masks

CASES = {
    "blind": (blind.main, ["--limit", "2", "--queries", "2"], "black_box: found by queries alone"),
    "masks": (masks.main, ["--occlude", "0", "--limit", "1", "--threads", "1"], "surprise    ours"),
    "frequency": (frequency.main, ["--limit", "1", "--eps", "4", "--threads", "1"], "remove      the frame"),
}


@pytest.mark.parametrize("bench", CASES)
def test_what_is_printed(
    bench: str,
    tiny_bundles: dict[str, Path],
    data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main: Callable[[list[str]], int]
    main, arguments, legend = CASES[bench]
    monkeypatch.setenv("TERM", "dumb")
    assert main(["--data", str(data), "--bundle", str(tiny_bundles["fp"]), *arguments]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80 and "\x1b" not in said
    assert "Too few images" in said.split("AUC")[0] and "95 %" not in said
    assert legend in said
