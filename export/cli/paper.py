"""``import``: the bundle of one of the paper's networks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from export.cli.options import add_output, add_photos, add_threads, command_line, positive, subcommand
from export.paper.architectures import ARCHITECTURES, BETAS
from export.plans import SEEDED_STEPS


def add_parser(commands: Any) -> None:
    """Add ``import``."""
    parser = subcommand(
        commands, "import", "write the bundle of one of the paper's networks, with an exact h_s"
    )
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument(
        "checkpoint", type=Path, nargs="?", metavar="CHECKPOINT",
        help="checkpoint file of sc2bench or supervised-compression",
    )  # fmt: skip
    weights.add_argument(
        "--seed", type=int, metavar="N",
        help="instead of a checkpoint: random weights with a prior fitted to the photographs",
    )  # fmt: skip
    parser.add_argument(
        "--arch", choices=sorted(ARCHITECTURES), default="resnet50", help="default: %(default)s"
    )
    parser.add_argument(
        "--prior", choices=("fp", "mshp"), default="mshp",
        help="factorized (fp) or mean-scale hyperprior (mshp) (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--beta", type=float,
        help=f"rate-distortion factor of the training, for the name; published: {', '.join(map(str, BETAS))}",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=positive, default=SEEDED_STEPS, metavar="N",
        help="with --seed: steps that fit the prior (default: %(default)s)",
    )  # fmt: skip
    add_photos(parser)
    add_output(parser)
    add_threads(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from export.paper.build import Imported, calibration_photographs, normalised, write_bundle
    from export.paper.checkpoint import load_checkpoint
    from export.paper.seeded import FITTED_TO, seeded_network

    architecture, photographs = ARCHITECTURES[options.arch], calibration_photographs(options.photos)
    name = f"{options.arch}-{options.prior}" + (f"-beta{options.beta:g}" if options.beta is not None else "")
    if options.checkpoint is None:
        images = normalised(photographs[:FITTED_TO], architecture)
        network = seeded_network(architecture, options.prior, options.seed, images, options.steps)
        name, source = f"{name}-seed{options.seed}", f"random, seed {options.seed}, {options.steps} steps"
    else:
        network, source = architecture.build(options.prior), options.checkpoint.name
        load_checkpoint(network, options.checkpoint)
    imported = Imported(network, architecture, name, options.beta, source, command_line(options))
    print(write_bundle(imported, photographs, options.output))
