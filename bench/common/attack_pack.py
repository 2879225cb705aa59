"""The attack pack: attacked sample photographs, so that a device without torch can measure an attack.

``python -m bench.attacks`` makes it. Each file is the prepared square of a photograph that
``bench.common.photos`` finds, perturbed by PGD-E, as PNG. Photographs whose licence does not allow
redistribution are not in it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import ImageError
from runtime.pictures import read_image

FOLDER = Path(__file__).parent / "attacked_photos"
ABOUT = "pack.json"

REDISTRIBUTABLE = {
    "astronaut": "NASA, public domain",
    "cat": "Stefan van der Walt, CC0",
    "china": "danielbuechele on Flickr, CC BY 2.0; cropped, scaled, perturbed",
    "coffee": "Rachel Michetti, CC0",
    "flower": "vultilion on Flickr, CC BY 2.0; cropped, scaled, perturbed",
    "hopper": "U.S. Navy, public domain",
    "rocket": "SpaceX, CC0",
}
"""Photographs of ``photos.CARRIED`` whose perturbed versions may be passed on, and their owners."""


@dataclass(frozen=True)
class Pack:
    """How the pack was made: against which bundle, by which threat, eps of 255, steps, seed."""

    bundle: str
    threat: str
    eps: int
    steps: int
    seed: int
    photographs: dict[str, str]


def read_pack(folder: Path = FOLDER) -> Pack:
    """How the pack was made. Raises ImageError when there is none."""
    try:
        return Pack(**json.loads((folder / ABOUT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ImageError(
            f"{folder / ABOUT}: no attack pack: {error}; make it: python -m bench.attacks"
        ) from error


def write_pack(pack: Pack, frames: dict[str, NDArray[np.uint8]], folder: Path = FOLDER) -> None:
    """Write frames, uint8 (S, S, 3) by photograph, and how they were made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in frames.items():
        Image.fromarray(frame).save(folder / f"{name}.png", optimize=True)
    (folder / ABOUT).write_text(json.dumps(asdict(pack), indent=1) + "\n", encoding="utf-8")


def attacked(name: str, square: NDArray[np.uint8], folder: Path = FOLDER) -> NDArray[np.uint8] | None:
    """The attacked version of a photograph's prepared square, uint8 (S, S, 3); None where the pack has none.

    It is None, too, when the pack's version is not within eps of ``square``: then this is another photograph
    of that name, or another size.
    """
    path = folder / f"{name}.png"
    if not path.exists():
        return None
    frame = read_image(path)
    if frame.shape != square.shape:
        return None
    change = np.abs(frame.astype(np.int16) - square).max()
    return frame if change <= read_pack(folder).eps else None
