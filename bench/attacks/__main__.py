"""Make the pack of attacked photographs that benchmarks without torch use.

python -m bench.attacks [--bundle NAME] [--eps N] [-o DIR]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from bench.attacks import threat_named
from bench.attacks.budget import to_uint8
from bench.attacks.differentiable.target import Target
from bench.common import bundle_options
from bench.common import options as options_of
from bench.common.attack_pack import FOLDER, REDISTRIBUTABLE, Pack, write_pack
from bench.common.options import positive
from bench.common.photos import photos
from runtime.bundle import load
from runtime.cli.program import program

THREAT = "pgd_e"


@program("bench.attacks")
def main(arguments: list[str] | None = None) -> int:
    """Run it; 0, or 1 when the bundle or the photographs cannot be had."""
    parser = options_of.parser("bench.attacks", __doc__)
    bundle_options.add_bundle(parser)
    parser.add_argument(
        "--eps", type=positive, metavar="N", default=4, help="largest change of a value, of 255"
    )
    parser.add_argument("--steps", type=positive, metavar="N", default=40, help="gradients of the attack")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", default=FOLDER, help="folder of the pack")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    bundle = load(options.bundle)
    square = bundle.manifest.preprocess.square
    clean = {name: square(image) for name, image in photos() if name in REDISTRIBUTABLE}
    originals = np.stack(list(clean.values()))
    images = torch.from_numpy(originals.transpose(0, 3, 1, 2).copy()).float() / 255
    eps = options.eps / 255
    unknown = torch.zeros(len(images), dtype=torch.int64)  # the attack on the rate does not look at labels
    moved = threat_named(THREAT)(Target.open(bundle), images, unknown, eps, steps=options.steps, seed=0)
    frames = dict(zip(clean, to_uint8(moved, originals, eps), strict=True))
    owners = {name: REDISTRIBUTABLE[name] for name in clean}
    write_pack(
        Pack(bundle.manifest.name, THREAT, options.eps, options.steps, 0, owners), frames, options.output
    )
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
