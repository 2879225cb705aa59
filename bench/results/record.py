"""Measurements under docs/measured, and where they come from; what is missing is an error with a name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from runtime.errors import RateholdError


class ResultsError(RateholdError):
    """A measurement is missing, says not where it comes from, or lacks a key that the page shows."""


class Node(Mapping[str, Any]):
    """An object of a JSON file; a missing key raises a ResultsError that names file and key."""

    def __init__(self, values: dict[str, Any], where: str):
        self._values, self._where = values, where

    def __getitem__(self, key: str) -> Any:
        if key not in self._values:
            raise ResultsError(f"{self._where}: no key {key!r}, which docs/results.md shows")
        value = self._values[key]
        return Node(value, f"{self._where}, {key}") if isinstance(value, dict) else value

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or ``default`` where there is none."""
        return self._values.get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True)
class Provenance:
    """Where a measurement comes from.

    command: None where it is not known, which only a recovered provenance may have.
    recovered: reconstructed from git and the documents of the time, because the benchmark did not write it.
    """

    commit: str
    date: str
    command: str | None
    machine: str
    recovered: bool

    @property
    def day(self) -> str:
        """The date without the time."""
        return self.date[:10]

    @property
    def short_commit(self) -> str:
        """Seven digits of the commit, with ``+changes`` where the tree had some."""
        digits, plus, changes = self.commit.partition("+")
        return digits if " " in digits else digits[:7] + plus + changes


class Record:
    """One report of a benchmark: ``record["summary"]["key"]``, ``record.row(prior="fp", rate=1)``."""

    def __init__(self, path: Path):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ResultsError(f"{path}: there is no such measurement") from error
        except ValueError as error:
            raise ResultsError(f"{path}: not JSON: {error}") from error
        self.name = path.name
        self._node = Node(values, path.name)
        self.provenance = _provenance(path.name, values.get("provenance"))

    def __getitem__(self, key: str) -> Any:
        return self._node[key]

    @cached_property
    def _rows(self) -> list[Node]:
        return [Node(row, f"{self.name}, row {number}") for number, row in enumerate(self._node["rows"])]

    def rows(self, **match: Any) -> list[Node]:
        """The rows whose fields have these values; at least one, or ResultsError."""
        found = [row for row in self._rows if all(row.get(key) == value for key, value in match.items())]
        if not found:
            raise ResultsError(f"{self.name}: no row has {match}")
        return found

    def row(self, **match: Any) -> Node:
        """The only row whose fields have these values. Raises ResultsError for none or several."""
        found = self.rows(**match)
        if len(found) > 1:
            raise ResultsError(f"{self.name}: {len(found)} rows have {match}")
        return found[0]


class Measured:
    """The folder of measurements: ``measured["accuracy"]`` is the record of accuracy.json."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._records: dict[str, Record] = {}

    def __getitem__(self, name: str) -> Record:
        if name not in self._records:
            self._records[name] = Record(self._folder / f"{name}.json")
        return self._records[name]


def _provenance(name: str, told: Any) -> Provenance:
    told = told if isinstance(told, dict) else {}
    recovered = bool(told.get("recovered"))
    machine = told.get("machine") or {}
    lacking = [key for key in ("commit", "date") if not told.get(key)]
    lacking += ["command"] * (not told.get("command") and not recovered)
    lacking += ["machine"] * (not machine.get("cpu"))
    if lacking:
        raise ResultsError(
            f"{name}: its provenance lacks {', '.join(lacking)}; measure it again with a benchmark of today"
        )
    command = told.get("command_today") or told.get("command")
    return Provenance(told["commit"], told["date"], command, _machine(machine), recovered)


def _machine(machine: dict[str, Any]) -> str:
    parts = [machine["cpu"].replace("(R)", ""), _cores(machine.get("cores"))]
    return ", ".join(filter(None, [*parts, machine.get("gpu")]))


def _cores(cores: int | None) -> str:
    return f"{cores} core{'s' * (cores != 1)}" if cores else ""
