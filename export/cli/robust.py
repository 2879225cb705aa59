"""``alarm``, ``adapt`` and ``budget``: what bundles get after they are built."""

from __future__ import annotations

import argparse
from typing import Any

from export.cli.options import (
    FAMILY,
    add_family,
    add_least_side,
    add_output,
    add_photos,
    add_threads,
    command_line,
    photographs_for,
    positive,
    subcommand,
)
from export.plans import AdaptPlan


def add_parsers(commands: Any) -> None:
    """Add ``alarm``, ``adapt`` and ``budget``."""
    alarm = subcommand(commands, "alarm", "fit the alarm of robust bundles to photographs of your own scene")
    adapt = subcommand(commands, "adapt", "train the adapted head of robust bundles, for corrupted frames")
    for parser in (alarm, adapt):
        add_family(parser, "robust")
        add_photos(parser)
        add_least_side(parser)
        add_output(parser)
        add_threads(parser)
    adapt.add_argument(
        "--steps", type=positive, default=AdaptPlan.steps, metavar="N",
        help="steps in all, earlier runs included (default: %(default)s)",
    )  # fmt: skip
    budget = subcommand(commands, "budget", "give bundles the budget that half of their clean frames keep")
    budget.add_argument(
        "--bundle", default=FAMILY, metavar="BUNDLE",
        help="installed name or folder; all bundles beside it with its backbone (default: %(default)s)",
    )  # fmt: skip
    add_output(budget)
    budget.set_defaults(run=_budget)
    alarm.set_defaults(run=_alarm)
    adapt.set_defaults(run=_adapt)


def _alarm(options: argparse.Namespace) -> None:
    from export.robust.alarm_frames import alarm_frames
    from export.robust.bundle import family, provenance, replace_alarm
    from runtime.bundle import load

    bundle = load(options.bundle)
    photographs = photographs_for(bundle, options)
    frames = alarm_frames(bundle, [bundle.manifest.preprocess.square(image) for image in photographs])
    notes = provenance(command_line(options), len(photographs))
    for robust in family(bundle, robust=True):
        print(replace_alarm(robust, frames, options.output, notes))


def _adapt(options: argparse.Namespace) -> None:
    from export.robust.adapt import train_adapted
    from export.robust.bundle import family, provenance, replace_adapted_head
    from runtime.bundle import load

    bundle, plan = load(options.bundle), AdaptPlan(options.steps)
    photographs = photographs_for(bundle, options)
    weights = train_adapted(bundle, photographs, plan, options.output / "adapted.pt")
    notes = provenance(command_line(options), len(photographs), steps=plan.steps)
    for robust in family(bundle, robust=True):
        print(replace_adapted_head(robust, weights, options.output, notes))


def _budget(options: argparse.Namespace) -> None:
    from export.robust.bundle import family, replace_budget
    from runtime.bundle import load

    bundle, notes = load(options.bundle), {"command": command_line(options)}
    for one in (*family(bundle), *family(bundle, robust=True)):
        print(replace_budget(one, options.output, notes))
