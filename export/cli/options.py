"""Options that several subcommands share, each with one meaning and one line of help."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.calibrate.backbones import BACKBONES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.bundle import Bundle

DEFAULT_BACKBONE = "efficientnet_lite0"
FAMILY = "efficientnet_lite0-fp-r1"
"""The factorized bundle that heads and alarms are trained on by default."""


def subcommand(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    """Add the subcommand ``name``, which ``text`` describes in one line."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text}.")
    parser.set_defaults(threads=None)
    return parser


def add_photos(parser: argparse.ArgumentParser) -> None:
    """Add ``--photos``, the folder of unlabelled photographs."""
    parser.add_argument(
        "--photos", "--data", type=Path, required=True, metavar="DIR",
        help="folder of photographs, subfolders included; no labels are read (--data is the same)",
    )  # fmt: skip


def add_least_side(parser: argparse.ArgumentParser) -> None:
    """Add ``--least-side``, for networks whose input is larger than the photographs at hand."""
    parser.add_argument(
        "--least-side", type=positive, metavar="PIXELS",
        help="leave out photographs whose shorter side is smaller (default: 1.125 times the input's side)",
    )  # fmt: skip


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add ``-o``, the folder to write to."""
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write to, made if missing"
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add ``--threads``."""
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="CPU threads to compute with (default: the libraries choose)",
    )


def add_family(parser: argparse.ArgumentParser, kind: str) -> None:
    """Add ``--bundle``, which stands for its family; ``kind``: which bundles of it get the result."""
    parser.add_argument(
        "--bundle", default=FAMILY, metavar="BUNDLE",
        help="factorized bundle to train on, installed name or folder; all "
        f"{kind} bundles beside it with its backbone get the result (default: %(default)s)",
    )  # fmt: skip


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the positional ``BUNDLE``."""
    parser.add_argument("bundle", metavar="BUNDLE", help="installed name or folder")


def add_backbone(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which classifier is split, and where."""
    parser.add_argument(
        "--backbone", default=DEFAULT_BACKBONE, metavar="NAME",
        help=f"{', '.join(BACKBONES)}, or package.module:function that returns your own classifier "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--cut", metavar="WHERE",
        help=f"cut behind this block of {DEFAULT_BACKBONE} (default: 4), or this module of another network",
    )  # fmt: skip
    parser.add_argument(
        "--size", type=positive, default=224, metavar="PIXELS",
        help="side of your own classifier's input (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--patch", type=positive, metavar="N",
        help="side of the patches of features (default: the largest that fits)",
    )  # fmt: skip


def positive(text: str) -> int:
    """An integer of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def command_line(options: argparse.Namespace) -> str:
    """The command that was typed, for the provenance of bundles."""
    return shlex.join(["python", "-m", "export", *options.typed])


def photographs_for(bundle: Bundle, options: argparse.Namespace) -> list[NDArray[np.uint8]]:
    """The photographs under ``--photos`` that are usable for a bundle, uint8 (H, W, 3) each."""
    from export.calibrate.images import usable

    found = usable(options.photos, bundle.manifest.preprocess.size, options.least_side)
    return [image for _, image in found]
