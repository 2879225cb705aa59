"""Command line: ``python -m export VERB``; ``--help`` names the verbs.

Progress goes to stderr, results to stdout.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from export.build import LOSS_OF_RATE, Builder
from export.calibrate.backbones import BACKBONES, Backbone, efficientnet_lite0, from_factory
from export.calibrate.calibration import load_or_calibrate
from export.calibrate.finetune import FinetunePlan, finetune, load_transform
from export.calibrate.images import find_images, photographs_of
from export.calibrate.rate_table import rate_table
from export.errors import CutError
from export.graphs.fp16 import write_half_graphs
from export.graphs.fp16_drift import drifts
from export.paper.architectures import ARCHITECTURES, BETAS
from export.paper.build import Imported, calibration_photographs, normalised, write_bundle
from export.paper.checkpoint import load_checkpoint
from export.paper.seeded import FITTED_TO, STEPS, seeded_network
from export.prior.hyperprior import TrainingPlan
from export.progress import say
from export.robust.adapt import AdaptPlan, train_adapted
from export.robust.alarm import alarm_frames
from export.robust.bundle import family, provenance, write_adapted, write_alarm, write_robust
from export.robust.shield import RobustPlan, train_shield
from export.triton.repository import write_repository
from runtime.bundle import load
from runtime.cli import tensorrt
from runtime.cli.program import keep, prog, program
from runtime.preprocess import read_image

RATES = sorted(LOSS_OF_RATE)
RESUMED = ("calibrate", "build", "finetune", "adapt")


@program("export")
def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status (``runtime.cli.program`` lists them)."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.command in RESUMED:
        keep(f"finished steps are kept in {options.output}")
    options.run(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog("export"), description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _command(commands, "calibrate", "fit the transform; print bytes and agreement by rate", _calibrate)
    build = _command(commands, "build", "write bundles, calibrating first where needed", _build)
    build.add_argument("--prior", nargs="+", choices=("fp", "mshp"), default=["fp", "mshp"])
    build.add_argument("--rate", nargs="+", type=int, choices=RATES, default=RATES, help="1: most bytes")
    build.add_argument("--steps", type=int, default=TrainingPlan.float_steps, help="of hyperprior training")
    build.add_argument("--transform", type=Path, metavar="FILE", help="what finetune made for the one --rate")
    tune = _command(commands, "finetune", "teach one rate's transform, or a family's shield", _finetune)
    what = tune.add_mutually_exclusive_group(required=True)
    what.add_argument("--rate", type=int, choices=RATES, help="distil into this rate's transform")
    what.add_argument(
        "--robust", action="store_true", help="train a shield by latent matching; write NAME-robust bundles"
    )
    tune.add_argument(
        "--bundle", default="efficientnet_lite0-fp-r1",
        help="of --robust: the factorized bundle to train on; all beside it with its backbone get the shield",
    )  # fmt: skip
    tune.add_argument(
        "--steps", type=int, default=argparse.SUPPRESS,
        help="in all, earlier runs included "
        f"(default: {FinetunePlan.steps}, with --robust {RobustPlan.steps})",
    )  # fmt: skip
    _alarm_command(commands)
    _adapt_command(commands)
    _import_command(commands)
    _triton_command(commands)
    _fp16_command(commands)
    tensorrt.add_parser(commands)
    return parser


def _alarm_command(commands: Any) -> None:
    text = "fit the alarm of robust bundles to photographs: of your own camera, or of another scene"
    command = commands.add_parser(
        "alarm", help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.add_argument(
        "--bundle", default="efficientnet_lite0-fp-r1",
        help="factorized: its head is attacked; all robust bundles beside it with its backbone are fitted",
    )  # fmt: skip
    command.add_argument("--data", type=Path, required=True, help="folder of photographs, labels not needed")
    command.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    command.add_argument("--threads", type=int, help="of torch")
    command.set_defaults(run=_alarm)


def _adapt_command(commands: Any) -> None:
    text = "train the head that looks again at corrupted frames, for robust bundles"
    command = commands.add_parser(
        "adapt", help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.add_argument(
        "--bundle", default="efficientnet_lite0-fp-r1",
        help="factorized: its head is trained; all robust bundles beside it with its backbone get the result",
    )  # fmt: skip
    command.add_argument("--data", type=Path, required=True, help="folder of photographs, labels not needed")
    command.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    command.add_argument("--steps", type=int, default=AdaptPlan.steps, help="in all, earlier runs included")
    command.add_argument("--threads", type=int, help="of torch")
    command.set_defaults(run=_adapt)


def _import_command(commands: Any) -> None:
    text = "write the bundle of one of the paper's networks, its h_s made exact"
    command = commands.add_parser(
        "import", help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    weights = command.add_mutually_exclusive_group(required=True)
    weights.add_argument(
        "checkpoint", type=Path, nargs="?", metavar="CHECKPOINT",
        help="file of sc2bench or supervised-compression",
    )  # fmt: skip
    weights.add_argument(
        "--seed", type=int,
        help="where no checkpoint is at hand: random weights, their prior fitted to the photographs",
    )  # fmt: skip
    command.add_argument("--arch", choices=sorted(ARCHITECTURES), default="resnet50")
    command.add_argument("--prior", choices=("fp", "mshp"), default="mshp")
    command.add_argument(
        "--beta",
        type=float,
        help=f"rate-distortion factor, for the name; published: {', '.join(map(str, BETAS))}",
    )
    command.add_argument("--steps", type=int, default=STEPS, help="of fitting the prior of --seed")
    command.add_argument("--data", type=Path, required=True, help="folder of photographs, labels not needed")
    command.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    command.add_argument("--threads", type=int, help="of torch")
    command.set_defaults(run=_import)


def _triton_command(commands: Any) -> None:
    text = "write a bundle's server half as a model repository of Triton Inference Server"
    command = commands.add_parser("triton", help=text, description=text)
    command.add_argument("bundle", metavar="BUNDLE", help="installed name or folder")
    command.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    command.add_argument(
        "--plan", type=Path, metavar="FILE",
        help="TensorRT engine for the tail, built by trtexec from the tail/1/model.onnx of an earlier run",
    )  # fmt: skip
    command.set_defaults(run=_triton, threads=None)


def _fp16_command(commands: Any) -> None:
    text = "write a bundle's heads in half precision beside it; print what that costs in bytes and logits"
    command = commands.add_parser("fp16", help=text, description=text)
    command.add_argument("bundle", metavar="BUNDLE", help="installed name or folder")
    command.add_argument("--data", type=Path, required=True, help="folder of photographs, labels not needed")
    command.add_argument("--threads", type=int, help="of the engine")
    command.set_defaults(run=_fp16)


def _command(commands: Any, name: str, text: str, run: Callable[..., None]) -> argparse.ArgumentParser:
    """A command with the options that all have."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.add_argument(
        "--backbone", default="efficientnet_lite0",
        help=f"{', '.join(BACKBONES)}, or package.module:function that returns your own classifier",
    )  # fmt: skip
    command.add_argument("--cut", help="block number, or in your own classifier the module to cut behind")
    command.add_argument("--size", type=int, default=224, help="input side of your own classifier, pixels")
    command.add_argument(
        "--patch", type=int, help="side of the patches of features (default: as large as fits)"
    )
    command.add_argument("--data", type=Path, required=True, help="folder of photographs, labels not needed")
    command.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    command.add_argument("--threads", type=int, help="of torch")
    command.set_defaults(run=run)
    return command


def _import(options: argparse.Namespace) -> None:
    architecture, photographs = ARCHITECTURES[options.arch], calibration_photographs(options.data)
    name = f"{options.arch}-{options.prior}" + (f"-beta{options.beta:g}" if options.beta is not None else "")
    if options.checkpoint is None:
        images = normalised(photographs[:FITTED_TO], architecture)
        network = seeded_network(architecture, options.prior, options.seed, images, options.steps)
        name, source = f"{name}-seed{options.seed}", f"random, seed {options.seed}, {options.steps} steps"
    else:
        network, source = architecture.build(options.prior), options.checkpoint.name
        load_checkpoint(network, options.checkpoint)
    imported = Imported(network, architecture, name, options.beta, source, _command_line())
    print(write_bundle(imported, photographs, options.output))


def _triton(options: argparse.Namespace) -> None:
    print(write_repository(load(options.bundle), options.output, options.plan))


def _fp16(options: argparse.Namespace) -> None:
    bundle = load(options.bundle)
    for path in write_half_graphs(bundle):
        say(str(path))
    for drift in drifts(bundle, find_images(options.data), options.threads):
        print(drift)


def _calibrate(options: argparse.Namespace) -> None:
    builder = _builder(options)
    transforms = ((rate, builder.transform(rate)) for rate in RATES)
    print(rate_table(builder.backbone, builder.calibrated, transforms))


def _build(options: argparse.Namespace) -> None:
    builder = _builder(options, TrainingPlan(float_steps=options.steps))
    for rate in options.rate:
        for prior in options.prior:
            transform = builder.transform(rate)
            if options.transform is not None:
                transform = load_transform(options.transform, transform)
            print(builder.build(prior, rate, transform))


def _finetune(options: argparse.Namespace) -> None:
    if options.robust:
        _finetune_robust(options)
        return
    builder = _builder(options)
    checkpoint = options.output / f"transform-r{options.rate}.pt"
    finetune(
        builder.transform(options.rate),
        builder.calibrated.features,
        builder.backbone.tail,
        FinetunePlan(**_steps(options)),
        checkpoint,
    )
    print(checkpoint)


def _finetune_robust(options: argparse.Namespace) -> None:
    bundle, plan = load(options.bundle), RobustPlan(**_steps(options))
    photographs = [read_image(path) for path in photographs_of(options.data, bundle.manifest.preprocess.size)]
    weights = train_shield(bundle, photographs, plan, options.output / "robust.pt")
    frames = alarm_frames(bundle, [bundle.manifest.preprocess.square(image) for image in photographs])
    notes = provenance(_command_line(), len(photographs), steps=plan.steps)
    for plain in family(bundle):
        print(write_robust(plain, weights, frames, options.output, notes))


def _adapt(options: argparse.Namespace) -> None:
    bundle, plan = load(options.bundle), AdaptPlan(options.steps)
    photographs = [read_image(path) for path in photographs_of(options.data, bundle.manifest.preprocess.size)]
    weights = train_adapted(bundle, photographs, plan, options.output / "adapted.pt")
    notes = provenance(_command_line(), len(photographs), steps=plan.steps)
    for robust in family(bundle, robust=True):
        print(write_adapted(robust, weights, options.output, notes))


def _alarm(options: argparse.Namespace) -> None:
    bundle = load(options.bundle)
    prepare = bundle.manifest.preprocess
    photographs = [read_image(path) for path in photographs_of(options.data, prepare.size)]
    frames = alarm_frames(bundle, [prepare.square(image) for image in photographs])
    notes = provenance(_command_line(), len(photographs))
    for robust in family(bundle, robust=True):
        print(write_alarm(robust, frames, options.output, notes))


def _steps(options: argparse.Namespace) -> dict[str, int]:
    return {"steps": options.steps} if "steps" in options else {}


def _builder(options: argparse.Namespace, plan: TrainingPlan | None = None) -> Builder:
    """Calibrated and ready to build; the calibration is kept in the output folder for the next command."""
    backbone = _backbone(options)
    calibrated = load_or_calibrate(backbone, options.data, options.output / "calibration.pt", options.patch)
    photographs = photographs_of(options.data, backbone.size)
    return Builder(
        backbone=backbone,
        calibrated=calibrated,
        out=options.output,
        command=_command_line(),
        photographs=photographs,
        plan=plan or TrainingPlan(),
    )


def _command_line() -> str:
    return shlex.join(["python", "-m", "export", *sys.argv[1:]])


def _backbone(options: argparse.Namespace) -> Backbone:
    if options.backbone == "efficientnet_lite0":
        return efficientnet_lite0(4 if options.cut is None else int(options.cut))
    if ":" not in options.backbone or options.cut is None:
        raise CutError("your own backbone needs --backbone package.module:function and --cut MODULE")
    return from_factory(options.backbone, options.cut, options.size)


if __name__ == "__main__":
    sys.exit(main())
