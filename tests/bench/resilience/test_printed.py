"""The verdict comes first and says what the cells say; tables fit 80 columns; bars on demand only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.resilience.__main__ import main as resilience
from bench.resilience.cell import Cell, Input, MeasuredCell, Subject, Treatment
from bench.resilience.outcomes import Outcomes
from bench.resilience.plans import AUTO, PLAIN
from bench.resilience.printed import verdict
from runtime.guard import Guard

NET = Subject("net", "fp", "01" * 8, "net")


def attack(name: str, eps: int) -> Input:
    return Input("attack", name, eps, "unmasked", 20, 1)


def measured(size: int, right: int, count: int = 4) -> MeasuredCell:
    correct = np.arange(count) < right
    return MeasuredCell(np.full(count, size), correct, np.full(count, "plain"), np.full(count, 4))


def test_the_verdict_has_the_dearest_attack_both_ways_and_the_dearest_behind_the_guard() -> None:
    limited = Treatment("auto budget=120", guard=Guard(budget=120))
    said = verdict(
        Outcomes(
            {
                Cell(NET, Input(), PLAIN): measured(100, 4),
                Cell(NET, attack("pgd_e", 4), PLAIN): measured(150, 3),
                Cell(NET, attack("pgd_e", 8), PLAIN): measured(180, 2),
                Cell(NET, attack("pgd_e", 8), AUTO): measured(90, 3),
                Cell(NET, attack("adaptive", 8), AUTO): measured(130, 1),
                Cell(NET, attack("pgd_e", 8), limited): measured(108, 3),
            }
        )
    )
    assert said == (
        "net: The dearest attack, pgd_e 8/255, costs +80 % bytes and leaves 50 % right answers "
        "(clean: 100 %); "
        "behind the guard: -10 % bytes and leaves 75 %. Of the others the dearest behind the guard is "
        "adaptive 8/255: +30 % bytes and leaves 25 %. The largest packet with a budget took 90 % of it."
    )


def test_without_attacks_it_is_the_dearest_corruption_and_without_both_nothing() -> None:
    snow = Input("corruption", "snow", 5)
    cells = {Cell(NET, Input(), PLAIN): measured(100, 4), Cell(NET, snow, PLAIN): measured(120, 3)}
    assert verdict(Outcomes(cells)).startswith("net: The dearest corruption, snow 5, costs +20 % bytes")
    assert verdict(Outcomes({Cell(NET, Input(), PLAIN): measured(100, 4)})) == ""


@pytest.mark.parametrize("plain", [{"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_it_prints_80_columns_without_escapes_and_says_that_images_are_few(
    plain: dict[str, str],
    tiny_bundles: dict[str, Path],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    arguments = ["--data", str(data), "--bundle", str(tiny_bundles["fp"]), "--output", str(tmp_path)]
    arguments += ["--threat", "low_frequency", "--eps", "8", "--steps", "1", "--defence", "none"]
    arguments += ["ours:weight=0.02,coarseness=2"]
    assert resilience([*arguments, "--bars"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("Too few images (4) for intervals") and "95 %" not in said
    assert "tiny-fp: The dearest attack, low_frequency 8/255" in said
    assert "acceptance bars" in said and "\x1b" not in said
    assert max(map(len, lines)) <= 80
    assert resilience(arguments) == 0
    assert "acceptance bars" not in capsys.readouterr().out
