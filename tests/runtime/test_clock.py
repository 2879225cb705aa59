"""Durations: from clocks that nobody adjusts."""

from __future__ import annotations

import ast
from pathlib import Path

from runtime.clock import Clock

ROOT = Path(__file__).parents[2]


def test_laps_of_a_stage_add_up() -> None:
    clock = Clock()
    for stage in ("head", "guard", "head"):
        clock.lap(stage)
    assert list(clock.seconds) == ["head", "guard"] and all(s >= 0 for s in clock.seconds.values())


def test_the_date_is_told_and_never_measured_with() -> None:
    """``time.time()`` may stand in a log line, and in no difference and no comparison."""
    for package in ("runtime", "native_denoise"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                difference = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub)
                if difference or isinstance(node, ast.Compare | ast.AugAssign):
                    assert "time.time()" not in ast.unparse(node), f"{file}:{node.lineno}"
