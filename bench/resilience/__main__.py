"""Resilience: bytes and top-1 under attacks and corruptions, undefended, guarded, behind trivial filters.

    python -m bench.resilience --data DIR --preset bars [--limit N] [--json PATH] [--csv PATH] [--html PAGE]
    python -m bench.resilience --data DIR --threat pgd_e pgd_c --eps 2 4 8 --defence none ours blur-1.0
    python -m bench.resilience --data DIR --preset corruptions --workers 2

Bytes are those of real packets, headers included, beside those of the same images clean and undefended;
top-1 is the server's. Intervals are 95 %, over images. An attack sees the prepared square; its frames are
rounded to 8 bits inside the budget. Finished cells and attacked frames stay in ``--output``, so a campaign
that was stopped goes on where it was; after a change of the code itself, name another folder.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.common import bundle_options, report
from bench.common.errors import CampaignError, MissingPackage
from bench.common.photos import labelled
from bench.resilience import plans
from bench.resilience.bars import BARS, summarise
from bench.resilience.campaign import Campaign
from bench.resilience.cell import Cell, Store, Subject, fingerprint
from bench.resilience.outcomes import Outcomes
from bench.resilience.page import page
from bench.resilience.workers import Run, in_process, in_processes, on_ray
from export.robust.corruptions import CORRUPTIONS, SEVERITIES
from runtime.bundle import installed
from runtime.cli.program import keep, prog, program
from runtime.guard.decision import MODES

QUICK_LIMIT = 20
SETTINGS = ("unmasked", "released")


def default_bundles() -> list[str]:
    """FP and MSHP at the first rate; robust ones where installed, whose plain head is the plain bundle's."""
    names = set(installed())
    plain = [f"efficientnet_lite0-{prior}-r1" for prior in ("fp", "mshp")]
    return [f"{name}-robust" if f"{name}-robust" in names else name for name in plain]


def plan(options: argparse.Namespace, subjects: list[Subject]) -> list[Cell]:
    """The plan that was asked for."""
    eps = tuple(options.eps) if options.eps else None
    effort = plans.Effort(eps, options.steps, options.restarts, tuple(dict.fromkeys(options.seeds)))
    if options.preset:
        return plans.PRESETS[options.preset](subjects, effort)
    corrupting = CORRUPTIONS if options.corruption == ["all"] else options.corruption
    senders = plans.senders(options.defence, options.guard, options.budget)
    return plans.custom(
        subjects, effort, options.threat, options.setting, corrupting, options.severity, senders
    )


def workers(options: argparse.Namespace) -> Run:
    """Where the tasks run."""
    if options.ray:
        return on_ray(options.ray)
    return in_process if options.workers == 1 else in_processes(options.workers)


def run(options: argparse.Namespace) -> tuple[Outcomes, dict[str, Any]]:
    """The outcomes of the campaign and its settings. Raises a RateholdError when something is missing."""
    limit = options.limit or (QUICK_LIMIT if options.preset == "quick" else None)
    samples = labelled(options.data)[:limit]
    if not samples:
        raise CampaignError(f"{options.data}: no images in it")
    wanted = plan(options, [Subject.of(bundle) for bundle in bundle_options.bundles(options)])
    if plans.needs_attacks(wanted):
        _require_torch()
    campaign = Campaign(
        samples, Store(options.output, fingerprint(samples)), workers(options), bundle_options.engine(options)
    )
    outcomes = Outcomes(campaign.measure(wanted))
    settings = {"preset": options.preset, "images": len(samples), "steps": options.steps}
    settings |= {"restarts": options.restarts, "seeds": options.seeds, "threads": options.threads}
    return outcomes, settings


def _require_torch() -> None:
    try:
        import bench.attacks  # noqa: F401
    except ImportError as error:
        raise MissingPackage(f"attacks need torch ({error}): pip install 'ratehold[export]'") from error


def show(rows: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """A table of the rows of each bundle, then the bars."""
    for bundle in dict.fromkeys(row["bundle"] for row in rows):
        table = Table(
            title=bundle, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
        )
        for column in ("input", "sender", "bytes", "ratio", "95 %", "top-1 %", "drop", "defended %"):
            left = column in ("input", "sender")
            table.add_column(column, justify="left" if left else "right", no_wrap=not left)
        for row in rows:
            if row["bundle"] == bundle:
                table.add_row(*_cells(row))
        console.print(table)
    for bar in BARS:
        if bar.key in summary:
            value = summary[bar.key]
            said = str(value) if isinstance(value, bool) else f"{value:.4g}"
            verdict = "[green]clears[/]" if bar.cleared(value) else "[red]misses[/]"
            console.print(f"{bar.key:28} {said:>8}  {verdict} {bar.text}")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    low, high = row["bytes_ratio_ci"]
    return (
        row["input"], row["sender"], f"{row['bytes_mean']:,.0f}", f"{row['bytes_ratio']:.3f}",
        f"{low:.3f}-{high:.3f}", f"{100 * row['top1']:.1f}", f"{row['top1_drop']:+.1f}",
        f"{100 * row['defended_share']:.0f}",
    )  # fmt: skip


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """One line a row; intervals in two columns."""
    flat = [_flat(row) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, list):
            flat[f"{key}_low"], flat[f"{key}_high"] = value
        else:
            flat[key] = value
    return flat


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog("bench.resilience"), description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", required=True, help="folder with images/ and labels.csv"
    )
    parser.add_argument(
        "--preset", choices=list(plans.PRESETS), help="a ready plan; default: the options below"
    )
    parser.add_argument("--limit", type=bundle_options.positive, metavar="N", help="the first N images only")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", default=Path("out/resilience"),
        help="where finished cells and attacked frames are kept (default: %(default)s)",
    )  # fmt: skip
    bundle_options.add_arguments(parser, "")
    parser.set_defaults(bundle=default_bundles(), threads=1)
    _add_plan(
        parser.add_argument_group("plan, without --preset; eps, steps, restarts and seeds also with it")
    )
    where = parser.add_argument_group("where it runs").add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=bundle_options.positive,
        default=1,
        metavar="N",
        help="processes (default: %(default)s)",
    )
    where.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster; 'local' starts one here")
    report.add_json_argument(parser)
    parser.add_argument("--csv", type=Path, metavar="PATH", help="write the rows as CSV")
    parser.add_argument("--html", type=Path, metavar="PAGE", help="write one page with tables and plots")
    return parser


def _add_plan(group: Any) -> None:
    def several(name: str, default: list[Any], text: str, **more: Any) -> None:
        shown = " ".join(map(str, default)) or "none"
        group.add_argument(name, nargs="+", default=default, help=f"{text} (default: {shown})", **more)

    several("--threat", [], "attacks, as bench.attacks names them", metavar="NAME")
    several("--setting", ["unmasked"], "of the attacks", choices=SETTINGS)
    several("--corruption", [], "of ImageNet-C, or 'all'", metavar="NAME")
    several("--severity", list(SEVERITIES), "of the corruptions", type=int, choices=SEVERITIES)
    several(
        "--defence", ["none", "ours"],
        "none, ours, ours:weight=0.02,..., a trivial filter's name, or all filters: baselines",
        metavar="NAME",
    )  # fmt: skip
    several("--guard", ["auto"], "modes in which ours runs", choices=MODES)
    several("--budget", [], "bytes, with which ours runs besides", type=bundle_options.positive, metavar="N")
    several("--seeds", [0], "each is an attack of its own; rows are means over them", type=int, metavar="N")
    group.add_argument(
        "--eps", nargs="+", type=bundle_options.positive, metavar="N", help="budgets, of 255 (default: 2 4 8)"
    )
    group.add_argument(
        "--steps", type=bundle_options.positive, default=20, help="gradients (default: %(default)s)"
    )
    group.add_argument(
        "--restarts", type=bundle_options.positive, default=1, help="runs of an attack (default: %(default)s)"
    )


@program("bench.resilience")
def main(arguments: list[str] | None = None) -> int:
    """Run the campaign; 0, or 1 when something that it needs cannot be had."""
    options = _parser().parse_args(arguments)
    keep(f"finished cells and attacked frames are kept in {options.output}")
    outcomes, settings = run(options)
    rows, summary = [outcome.as_row() for outcome in outcomes.all], summarise(outcomes)
    show(rows, summary, bundle_options.console(options))
    if options.csv:
        write_csv(options.csv, rows)
    if options.html:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        options.html.write_text(page(outcomes, settings, rows, summary), encoding="utf-8")
    report.write(options.json, "resilience", settings, rows, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
