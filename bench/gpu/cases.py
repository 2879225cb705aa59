"""Cases that need a GPU: each runs or is skipped with a reason; one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Console

Row = dict[str, Any]

progress = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class GpuCase:
    """One row of a report. ``missing``: why it cannot run on this machine, None where it can."""

    part: str
    name: str
    run: Callable[[], Row]
    missing: str | None = None


def no_gpu() -> str | None:
    """Why nothing can run here, or None."""
    try:
        from native_denoise.cuda.device import require_gpu

        require_gpu()
        return None
    except Exception as error:  # a broken driver may raise anything: the report must say it and go on
        return f"{type(error).__name__}: {error}"


def run_all(
    cases: Iterable[GpuCase], after: Callable[[list[Row], list[dict[str, str]]], None] = lambda *_: None
) -> tuple[list[Row], list[dict[str, str]]]:
    """Rows of the cases that ran, each with its ``part`` and ``case``, and the others with the reason.

    after: called with both whenever a case has run, so that a run that is cut off has lost one case.
    """
    rows: list[Row] = []
    skipped: list[dict[str, str]] = []
    for case in cases:
        reason = case.missing
        if reason is None:
            try:
                rows.append({"part": case.part, "case": case.name} | case.run())
                progress.print(f"done: {case.part}: {case.name}", markup=False)
                after(rows, skipped)
                continue
            except Exception as error:  # out of memory, say
                reason = f"{type(error).__name__}: {error}"
        skipped.append({"part": case.part, "case": case.name, "reason": reason})
    for reason, names in by_reason(skipped).items():
        progress.print(f"skipped {len(names)} cases: {reason}", markup=False)
    return rows, skipped


def by_reason(skipped: list[dict[str, str]]) -> dict[str, list[str]]:
    """Reason -> the cases that were skipped for it."""
    cases: dict[str, list[str]] = {}
    for one in skipped:
        cases.setdefault(one["reason"], []).append(one["case"])
    return cases
