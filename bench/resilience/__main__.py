"""Resilience: bytes and top-1 under attacks and corruptions, undefended, guarded, behind trivial filters.

    python -m bench.resilience --data DIR --preset bars [--limit N] [--json PATH] [--csv PATH] [--html PAGE]
    python -m bench.resilience --data DIR --threat pgd_e pgd_c --eps 2 4 8 --defence none ours blur-1.0
    python -m bench.resilience --data DIR --preset corruptions --workers 2

Bytes are those of real packets, headers included, beside those of the same images clean and undefended;
top-1 is the server's. Intervals are 95 %, over images. An attack sees the prepared square; its frames are
rounded to 8 bits inside the eps ball. Finished cells and attacked frames stay in ``--output``, so a campaign
that was stopped goes on where it was; after a change of the code itself, name another folder.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import attacks
from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.errors import CampaignError, MissingPackage
from bench.common.options import positive
from bench.common.photos import labelled
from bench.resilience import plans
from bench.resilience.bars import summarise
from bench.resilience.campaign import Campaign
from bench.resilience.catalogue import corruptions, trivial_defences
from bench.resilience.cell import Cell, Subject
from bench.resilience.outcomes import Outcomes, Row
from bench.resilience.page import page
from bench.resilience.printed import show, show_bars
from bench.resilience.store import Store, fingerprint
from bench.resilience.workers import Run, in_process, in_processes, on_ray
from export import references
from export.robust.corruptions import CORRUPTIONS, SEVERITIES
from runtime.bundle import installed
from runtime.cli.guard_options import budget
from runtime.cli.program import keep, program
from runtime.engines import DEFAULT, ENGINES
from runtime.guard import Guard
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
    guard = Guard(budget=options.budget[0]) if options.budget else Guard()
    effort = plans.Effort(eps, options.steps, options.restarts, tuple(dict.fromkeys(options.seeds)), guard)
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
    samples = labelled(options.data, limit)
    if not samples:
        raise CampaignError(f"{options.data}: no images in it")
    wanted = plan(options, [Subject.of(bundle) for bundle in bundle_options.bundles(options)])
    if plans.needs_attacks(wanted):
        _require_torch()
    _resolve(wanted)
    campaign = Campaign(
        samples, Store(options.output, fingerprint(samples)), workers(options), bundle_options.engine(options)
    )
    outcomes = Outcomes(campaign.measure(wanted))
    settings = {"preset": options.preset, "images": len(samples), "steps": options.steps}
    settings |= {"restarts": options.restarts, "seeds": options.seeds, "threads": options.threads}
    return outcomes, settings


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingPackage(f"attacks need torch ({error}): pip install 'ratehold[export]'") from error


def _resolve(cells: list[Cell]) -> None:
    """Find a caller's own threats now: a campaign must not fail after hours. Raises ExtensionError."""
    for name in dict.fromkeys(cell.input.name for cell in cells if cell.input.kind == "attack"):
        if name not in attacks.THREATS:
            attacks.threat_named(name)


def write_csv(path: Path, rows: list[Row]) -> None:
    """One line a row; intervals in two columns."""
    flat = [_flat(row) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(flat[0]))
        writer.writeheader()
        writer.writerows(flat)


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in vars(row).items():
        if isinstance(value, tuple):
            flat[f"{key}_low"], flat[f"{key}_high"] = value
        else:
            flat[key] = value
    return flat


def _parser() -> argparse.ArgumentParser:
    parser = options_of.parser("bench.resilience", __doc__)
    parser.epilog = _listing()
    options_of.add_data(parser)
    parser.add_argument(
        "--preset", choices=list(plans.PRESETS), help="a ready plan, instead of the options below"
    )
    options_of.add_limit(parser)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", default=Path("out/resilience"),
        help="folder of finished cells and attacked frames",
    )  # fmt: skip
    bundle_options.add_bundles(parser, default_bundles())
    parser.add_argument("--engine", choices=ENGINES, default=DEFAULT, help="engine that runs the graphs")
    options_of.add_threads(parser, 1, "the engine and of torch, in each process")
    _add_plan(
        parser.add_argument_group("plan, without --preset; eps, steps, restarts and seeds also with it")
    )
    where = parser.add_argument_group("where it runs").add_mutually_exclusive_group()
    where.add_argument("--workers", type=positive, default=1, metavar="N", help="processes")
    where.add_argument("--ray", metavar="ADDRESS", help="a Ray cluster; 'local' starts one here")
    options_of.add_bars(parser)
    options_of.add_json(parser)
    parser.add_argument("--csv", type=Path, metavar="PATH", help="write the rows as CSV")
    parser.add_argument("--html", type=Path, metavar="PATH", help="write one page with tables and plots")
    return parser


def _add_plan(group: Any) -> None:
    def several(name: str, default: list[Any], text: str, **more: Any) -> None:
        group.add_argument(name, nargs="+", default=default, help=text, **more)

    several("--threat", [], "attacks, see below; your own as module:name", metavar="NAME")
    several("--setting", ["unmasked"], "of the attacks: every gradient, or as released", choices=SETTINGS)
    several("--corruption", [], "see below; 'all' of ImageNet-C; your own as module:name", metavar="NAME")
    several("--severity", list(SEVERITIES), "of the corruptions", type=int, choices=SEVERITIES)
    several("--defence", ["none", "ours"], "see below; your own filter as module:name", metavar="NAME")
    several("--guard", ["auto"], "modes of the guard in 'ours'", choices=MODES)
    several(
        "--budget",
        [],
        "bytes of a packet, or none; 'ours' runs with each, and with the bundle's own",
        type=budget,
        metavar="N",
    )
    several(
        "--seeds", [0], "attacks and corruptions run once with each; rows are means", type=int, metavar="N"
    )
    group.add_argument(
        "--eps",
        nargs="+",
        type=positive,
        metavar="N",
        help="largest change of a value by an attack, of 255 (default: 2 4 8)",
    )
    group.add_argument("--steps", type=positive, metavar="N", default=20, help="gradients of a run")
    group.add_argument("--restarts", type=positive, metavar="N", default=1, help="runs of an attack")


def _listing() -> str:
    """Threats, corruptions, filters and defences with a line each. Imports none of them."""
    lines = [(name, references.first_line(where)) for name, where in attacks.known().items()]
    text = _section(
        "presets (--preset)", [(k, (v.__doc__ or "").split("\n")[0]) for k, v in plans.PRESETS.items()]
    )
    text += _section("threats (--threat); those named adaptive... are told the defence", lines)
    found = [(name, references.first_line(where)) for name, where in corruptions.known().items()]
    text += _section("corruptions (--corruption)", [*corruptions.LINES.items(), *found])
    found = [(name, references.first_line(where)) for name, where in trivial_defences.known().items()]
    text += _section(
        "defences (--defence)",
        [
            (plans.NONE, "the frame as it comes"),
            (plans.OURS, "the guard, with its default defence"),
            (f"{plans.OURS}:KEY=VALUE,...", "the guard with another one: weight=0.02, mode=rof, ..."),
            (plans.UNSPLIT.name, "nothing is sent: the network's own answers to the same frames"),
            (trivial_defences.TWO_WAY, "the shorter packet of the frame and of it after a random transform"),
            (plans.EVERY_BASELINE, "all filters of this list, and two-way"),
        ],
    )
    return text + _section("filters (--defence)", [*trivial_defences.described().items(), *found])


def _section(title: str, lines: list[tuple[str, str]]) -> str:
    width = 2 + max(len(name) for name, _ in lines)
    return f"{title}:\n" + "".join(f"  {name:{width}}{line}".rstrip() + "\n" for name, line in lines) + "\n"


@program("bench.resilience")
def main(arguments: list[str] | None = None) -> int:
    """Run the campaign; 0, or 1 when something that it needs cannot be had."""
    options = _parser().parse_args(arguments)
    keep(f"finished cells and attacked frames are kept in {options.output}")
    outcomes, settings = run(options)
    rows, summary = [outcome.as_row() for outcome in outcomes.all], summarise(outcomes)
    console = bundle_options.console(options)
    show(outcomes, rows, console)
    if options.bars:
        show_bars(summary, console)
    if options.csv:
        write_csv(options.csv, rows)
    if options.html:
        options.html.parent.mkdir(parents=True, exist_ok=True)
        options.html.write_text(page(outcomes, settings, rows, summary), encoding="utf-8")
    report.write(options.json, "resilience", settings, [asdict(row) for row in rows], summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
