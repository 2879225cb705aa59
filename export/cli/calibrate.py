"""``calibrate`` and ``build``: from a classifier and photographs to bundles."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.cli.options import (
    DEFAULT_BACKBONE,
    add_backbone,
    add_least_side,
    add_output,
    add_photos,
    add_threads,
    command_line,
    positive,
    subcommand,
)
from export.errors import CalibrationError, CutError
from export.plans import HyperpriorPlan
from export.rates import RATES

if TYPE_CHECKING:
    from export.build import Builder
    from export.calibrate.backbones import Backbone
    from export.calibrate.transform import Transform


def add_parsers(commands: Any) -> None:
    """Add ``calibrate`` and ``build``."""
    calibrate = subcommand(commands, "calibrate", "fit the transform; print bytes and agreement by rate")
    add_common(calibrate)
    calibrate.set_defaults(run=_calibrate)
    build = subcommand(commands, "build", "write bundles, calibrating first where needed")
    add_common(build)
    build.add_argument(
        "--prior", nargs="+", choices=("fp", "mshp"), default=["fp", "mshp"],
        help="factorized (fp), mean-scale hyperprior (mshp) (default: both)",
    )  # fmt: skip
    build.add_argument(
        "--rate", nargs="+", type=int, choices=RATES, default=RATES,
        help="1 has most bytes and 4 fewest (default: all)",
    )  # fmt: skip
    build.add_argument(
        "--steps", type=positive, default=HyperpriorPlan.float_steps, metavar="N",
        help="steps that train a hyperprior (default: %(default)s)",
    )  # fmt: skip
    build.add_argument(
        "--transform", type=Path, metavar="FILE", help="tuned transform of the one --rate, from finetune"
    )
    build.set_defaults(run=_build)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options of every subcommand that calibrates."""
    add_backbone(parser)
    add_photos(parser)
    add_least_side(parser)
    add_output(parser)
    add_threads(parser)


def builder_for(options: argparse.Namespace, plan: HyperpriorPlan | None = None) -> Builder:
    """A builder with its calibration, which stays in the output folder for the next command."""
    from export.build import Builder
    from export.calibrate.calibration import load_or_calibrate
    from export.calibrate.images import photographs_of

    backbone = _backbone(options)
    photographs = photographs_of(options.photos, backbone.size, options.least_side)
    cache = options.output / "calibration.pt"
    return Builder(
        backbone=backbone,
        calibrated=load_or_calibrate(backbone, photographs, options.photos, cache, options.patch),
        out=options.output,
        command=command_line(options),
        photographs=photographs,
        plan=plan or HyperpriorPlan(),
    )


def _calibrate(options: argparse.Namespace) -> None:
    from export.calibrate.rate_table import rate_table

    builder = builder_for(options)
    print(rate_table(builder.backbone, builder.calibrated, _transforms(builder)))


def _transforms(builder: Builder) -> Iterator[tuple[int, Transform]]:
    """The transform of each rate that this network can have; stderr says why it lacks the others."""
    from export.progress import say

    for rate in RATES:
        try:
            yield rate, builder.transform(rate)
        except CalibrationError as error:
            if rate == RATES[0]:
                raise
            say(f"no rate {rate}: {error}")


def _build(options: argparse.Namespace) -> None:
    from export.calibrate.calibration import step_for_loss
    from export.calibrate.finetune import load_transform

    builder = builder_for(options, HyperpriorPlan(float_steps=options.steps))
    for rate in options.rate:  # refuse an impossible rate before the others take minutes
        step_for_loss(builder.calibrated, builder.loss(rate))
    for rate in options.rate:
        for prior in options.prior:
            transform = builder.transform(rate)
            if options.transform is not None:
                transform = load_transform(options.transform, transform)
            print(builder.build(prior, rate, transform))


def _backbone(options: argparse.Namespace) -> Backbone:
    from export.calibrate.backbones import BACKBONES, from_factory

    if options.backbone in BACKBONES:
        if options.cut is None:
            return BACKBONES[options.backbone]()
        if options.backbone != DEFAULT_BACKBONE:
            return BACKBONES[options.backbone](options.cut)
        if not options.cut.isdecimal():
            raise CutError(f"--cut of {options.backbone} is the number of a block, not {options.cut!r}")
        return BACKBONES[options.backbone](int(options.cut))
    if ":" not in options.backbone or options.cut is None:
        raise CutError("your own backbone needs --backbone package.module:function and --cut MODULE")
    return from_factory(options.backbone, options.cut, options.size)
