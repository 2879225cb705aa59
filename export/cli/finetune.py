"""``finetune``: train the transform of one rate, or with ``--robust`` the shield of a family."""

from __future__ import annotations

import argparse
from typing import Any

from export.cli.calibrate import add_common, builder_for
from export.cli.options import FAMILY, command_line, photographs_for, positive, subcommand
from export.errors import ExportError
from export.plans import FinetunePlan, ShieldPlan
from export.rates import RATES


def add_parser(commands: Any) -> None:
    """Add ``finetune``."""
    parser = subcommand(
        commands, "finetune", "train one rate's transform, or a shield for a family of bundles"
    )
    add_common(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--rate", type=int, choices=RATES, help="distil the unsplit network into this transform"
    )
    what.add_argument(
        "--robust", action="store_true", help="train a shield by latent matching; write NAME-robust bundles"
    )
    parser.add_argument(
        "--bundle", default=FAMILY, metavar="BUNDLE",
        help="with --robust: factorized bundle to train on, installed name or folder; all plain bundles "
        "beside it with its backbone get the shield (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=positive, metavar="N",
        help="steps in all, earlier runs included "
        f"(default: {FinetunePlan.steps}, with --robust {ShieldPlan.steps})",
    )  # fmt: skip
    parser.set_defaults(run=_run, preset=parser.get_default)


def _run(options: argparse.Namespace) -> None:
    _check(options)
    if options.robust:
        _train_shield(options)
    else:
        _tune_transform(options)


def _check(options: argparse.Namespace) -> None:
    """Raise ExportError for an option that the other half of this subcommand reads."""
    unread = ("backbone", "cut", "size", "patch") if options.robust else ("bundle",)
    given = [f"--{name}" for name in unread if getattr(options, name) != options.preset(name)]
    if not given:
        return
    cure = "backbone and cut are those of --bundle" if options.robust else "--bundle belongs to --robust"
    chosen = "--robust" if options.robust else "--rate"
    raise ExportError(f"{chosen} does not read {', '.join(given)}: {cure}")


def _tune_transform(options: argparse.Namespace) -> None:
    from export.calibrate.finetune import finetune

    builder = builder_for(options)
    checkpoint = options.output / f"transform-r{options.rate}.pt"
    plan = FinetunePlan(steps=options.steps or FinetunePlan.steps)
    transform = builder.transform(options.rate)
    features = builder.calibrated.features
    objective = builder.backbone.objective(features[:1])
    finetune(transform, features, builder.backbone.tail, objective, plan, checkpoint)
    print(checkpoint)


def _train_shield(options: argparse.Namespace) -> None:
    from export.robust.alarm_frames import alarm_frames
    from export.robust.bundle import family, provenance, write_robust_bundle
    from export.robust.shield import train_shield
    from runtime.bundle import load

    bundle, plan = load(options.bundle), ShieldPlan(steps=options.steps or ShieldPlan.steps)
    photographs = photographs_for(bundle, options)
    weights = train_shield(bundle, photographs, plan, options.output / "robust.pt")
    frames = alarm_frames(bundle, [bundle.manifest.preprocess.square(image) for image in photographs])
    notes = provenance(command_line(options), len(photographs), steps=plan.steps)
    for plain in family(bundle):
        print(write_robust_bundle(plain, weights, frames, options.output, notes))
