"""Corruptions by name: the 19 of ImageNet-C (``export.robust.corruptions``), and a caller's own."""

from __future__ import annotations

import inspect
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.common.errors import CampaignError
from bench.resilience.catalogue.trivial_defences import check_image
from export.errors import ExtensionError
from export.references import installed, is_reference, resolve
from export.robust.corruptions import CORRUPTIONS, corrupt

Image = NDArray[np.uint8]

GROUP = "ratehold.corruptions"
"""Entry points of this group add corruptions by name."""

LINES = {
    "gaussian_noise": "normal noise in every value",
    "shot_noise": "photon noise: Poisson, larger where it is bright",
    "impulse_noise": "salt and pepper",
    "defocus_blur": "a disc, as of a lens out of focus",
    "glass_blur": "pixels change places with their neighbours",
    "motion_blur": "a line, as of a moving camera",
    "zoom_blur": "the mean over a zoom towards the middle",
    "snow": "flakes in motion, and a brighter scene",
    "frost": "photographs of frost laid over it",
    "fog": "a bright fractal veil",
    "brightness": "values raised",
    "contrast": "values drawn towards the mean",
    "elastic_transform": "small regions stretched and moved",
    "pixelate": "fewer, larger pixels",
    "jpeg_compression": "JPEG of low quality",
    "speckle_noise": "normal noise, larger where it is bright",
    "gaussian_blur": "a Gaussian",
    "spatter": "drops of water or mud on the lens",
    "saturate": "colours weaker or stronger",
}
"""What each of ``CORRUPTIONS`` does, for ``--help``."""


class Corruption(Protocol):
    """Harms a frame without an attacker."""

    def __call__(self, image: Image, severity: int, seed: int) -> Image:
        """A prepared square, uint8 (S, S, 3), and a severity, 1 to 5 -> uint8 (S, S, 3).

        seed: 0 to 2^32 - 1; the same seed is the same result.
        """


def known() -> dict[str, str]:
    """Corruptions of installed packages: name -> ``module:name``. Ours win a name."""
    return {name: where for name, where in installed(GROUP).items() if name not in CORRUPTIONS}


def located(name: str) -> str | None:
    """``module:name`` of a caller's or a package's corruption; None for ours.

    Raises CampaignError for a name that is neither.
    """
    if name in CORRUPTIONS:
        return None
    where = name if is_reference(name) else known().get(name)
    if where is None:
        names = ", ".join((*CORRUPTIONS, *known()))
        raise CampaignError(f"no corruption {name!r}: there are {names}, and module:name")
    return where


def corruption_named(name: str) -> Corruption:
    """A corruption by its name or as ``module:name``.

    Raises CampaignError for an unknown name, ExtensionError for a reference to nothing that takes an image, a
    severity and a seed. One that is not ours also raises it when its result is no image.
    """
    where = located(name)
    if where is None:
        return lambda image, severity, seed: corrupt(image, name, severity, seed)
    given: Corruption = resolve(where)
    try:
        inspect.signature(given).bind(None, 1, 0)
    except TypeError as error:
        raise ExtensionError(
            f"corruption {name}: {error}; a corruption takes (image, severity, seed)"
        ) from error

    def checked(image: Image, severity: int, seed: int) -> Image:
        return check_image(f"corruption {name}", given(image.copy(), severity, seed), image)

    return checked
