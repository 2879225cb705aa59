"""``finetune``: each half refuses the options of the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.__main__ import main

UNREAD = [
    ["--robust", "--backbone", "regnet"],
    ["--robust", "--cut", "3"],
    ["--robust", "--size", "96"],
    ["--robust", "--patch", "2"],
    ["--rate", "1", "--bundle", "other"],
]


@pytest.mark.parametrize("words", UNREAD, ids=lambda words: words[-2])
def test_options_that_are_not_read_are_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", *words, "--photos", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert f"does not read {words[-2]}: " in said and "--bundle" in said
    assert not (tmp_path / "out").exists()
