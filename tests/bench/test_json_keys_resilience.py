"""Keys of the JSON of the resilience family of benches stay: json_keys_resilience.json holds them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

KEYS = json.loads((Path(__file__).parent / "json_keys_resilience.json").read_text(encoding="utf-8"))


def keys_of(report: dict[str, Any]) -> dict[str, list[str]]:
    """Keys of a report by place; each row's keys are in one order, so a list says it."""
    orders = {tuple(row) for row in report["rows"]}
    assert len(orders) == 1, "rows with different keys"
    (row,) = orders
    return {"settings": list(report["settings"]), "row": list(row), "summary": list(report["summary"])}


@pytest.mark.parametrize("bench", KEYS)
def test_the_keys_are_the_published_ones(
    bench: str, tiny_bundles: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    path, expected = tmp_path / "report.json", KEYS[bench]
    arguments = ["--data", str(data), "--json", str(path), "--bundle", str(tiny_bundles["fp"])]
    arguments += [word.replace("TEMPORARY", str(tmp_path)) for word in expected["arguments"]]
    try:
        main = importlib.import_module(f"{bench}.__main__").main
    except ModuleNotFoundError:
        main = importlib.import_module(bench).main
    assert main(arguments) == 0
    report = json.loads(path.read_text(encoding="utf-8"))
    assert {"bench", "environment", "settings", "rows", "summary"} <= set(report)
    assert report["bench"] == bench.removeprefix("bench.")
    found = keys_of(report)
    for place in ("settings", "row", "summary"):
        assert found[place] == expected[place], place
    if "bundle_summary" in expected:
        assert list(report["summary"]["bundles"]["tiny-fp"]) == expected["bundle_summary"]
