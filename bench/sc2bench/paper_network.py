"""One of the paper's networks as a bundle to measure: from a checkpoint, or of random weights by a seed.

A seeded network's prior is fitted to the photographs (``export.paper.seeded``): times and bytes then mean
what they mean for trained weights, classes do not.

Torch is imported where a network is built and not before: a device without it has other benchmarks to run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from bench.common.errors import BenchError, MissingPackage
from bench.common.photos import photos
from runtime.bundle import Bundle, load

if TYPE_CHECKING:
    from export.paper.build import Imported

STEPS = 300  # of fitting a seeded network's prior


@dataclass(frozen=True)
class PaperNetwork:
    """A network, the bundle that was written of it, and the photographs that calibrated both."""

    imported: Imported
    bundle: Bundle
    photographs: list[Path]


def add_arguments(parser: argparse.ArgumentParser, arch: str | None) -> None:
    """Add ``--arch`` (``arch`` is its default), ``--prior``, ``--checkpoint`` and ``--seed``."""
    parser.add_argument(
        "--arch", metavar="NAME", default=arch,
        help="one of the paper's networks, e.g. resnet50, as a bundle of its own",
    )  # fmt: skip
    parser.add_argument("--prior", choices=("fp", "mshp"), default="mshp", help="prior of --arch")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE",
        help="weights, as python -m export import reads them; random ones where this is missing",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of random weights, without --checkpoint")


def build(options: argparse.Namespace, folder: Path, say: Callable[[str], object]) -> PaperNetwork:
    """Build what ``options`` ask for in an empty ``folder``; photographs are those of ``options.photos``.

    Torch is left with one thread. Raises BenchError for an unknown network, MissingPackage without torch, and
    what the checkpoint or the photographs raise.
    """
    try:
        import torch

        from export.paper.architectures import ARCHITECTURES
        from export.paper.build import Imported, calibration_photographs, normalised, write_bundle
        from export.paper.checkpoint import load_checkpoint
        from export.paper.seeded import FITTED_TO, seeded_network
    except ImportError as error:
        raise MissingPackage(f"--arch builds a network: pip install 'ratehold[export]' ({error})") from error
    if options.arch not in ARCHITECTURES:
        raise BenchError(f"unknown network {options.arch!r}; there are: {', '.join(sorted(ARCHITECTURES))}")
    architecture = ARCHITECTURES[options.arch]
    paths = calibration_photographs(options.photos or _sample_photographs(folder))
    origin = "checkpoint" if options.checkpoint else "seeded"
    name = f"{options.arch}-{options.prior}-{origin}"
    # Hundreds of small steps: on a busy machine a second thread is waited for much longer than it helps.
    torch.set_num_threads(1)
    say(f"{name}: weights and bundle, from {len(paths)} photographs")
    if options.checkpoint is None:
        images = normalised(paths[:FITTED_TO], architecture)
        network = seeded_network(architecture, options.prior, options.seed, images, STEPS)
    else:
        network = architecture.build(options.prior)
        load_checkpoint(network, options.checkpoint)
    imported = Imported(network, architecture, name, None, origin, "bench.sc2bench.paper_network")
    return PaperNetwork(imported, load(write_bundle(imported, paths, folder)), paths)


def _sample_photographs(folder: Path) -> Path:
    """The sample photographs as files."""
    data = folder / "photographs"
    data.mkdir()
    for name, image in photos():
        Image.fromarray(image).save(data / f"{name}.png")
    return data
