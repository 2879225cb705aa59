"""The 19 corruptions of ImageNet-C at five severities (Hendrycks and Dietterich, ICLR 2019).

17 come from the library ``imagecorruptions``, with the published formulas and parameters. To install it, take
the maintained ``imagecorruptions-imaug``: the original no longer imports with current setuptools and SciPy.

Two are ours, because the library changed them. Its elastic transform, made for detection (Michaelis et al.,
2019), has other amplitudes and no random affine map. Its frost adds a sixth picture and enlarges all. The
package ``corrupt-tta`` is no alternative: it changed motion blur, snow, fog, spatter and glass blur.

As in ImageNet-C, values are cut off, not rounded, when they become uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from export.errors import CorruptionError
from export.robust.elastic import elastic_transform

Image = NDArray[np.uint8]

NOISE = ("gaussian_noise", "shot_noise", "impulse_noise")
BLUR = ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")
WEATHER = ("snow", "frost", "fog", "brightness")
DIGITAL = ("contrast", "elastic_transform", "pixelate", "jpeg_compression")
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
CORRUPTIONS = NOISE + BLUR + WEATHER + DIGITAL + EXTRA
SEVERITIES = (1, 2, 3, 4, 5)

INSTALL = "pip install opencv-python-headless && pip install --no-deps imagecorruptions-imaug"
"""Without its dependencies: it asks for opencv-python, the same module with libraries for a display."""

SEEDED_BY_ARGUMENT = ("glass_blur", "impulse_noise")
"""The library seeds these by an argument; it draws the others from NumPy's global generator."""

FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
"""By severity: share of the image, share of the frost."""
FROST_PICTURES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")


def corrupt(image: Image, name: str, severity: int, seed: int = 0) -> Image:
    """Corrupt ``image``, uint8 (S, S, 3); the same seed, 0..2^32 - 1, gives the same result.

    Raises CorruptionError for an unknown corruption or severity, and where the library is missing.
    """
    if name not in CORRUPTIONS or severity not in SEVERITIES:
        raise CorruptionError(
            f"no corruption {name!r} of severity {severity}: each of {', '.join(CORRUPTIONS)} has 1 to 5"
        )
    own = OWN.get(name)
    values = own(image, severity, seed) if own else _of_library(image, name, severity, seed)
    return np.asarray(values).astype(np.uint8)


def _of_library(image: Image, name: str, severity: int, seed: int) -> Any:
    function = getattr(_library(), name)
    if name in SEEDED_BY_ARGUMENT:
        return function(Pillow.fromarray(image), severity, seed=seed)
    with _global_seed(seed):
        return function(Pillow.fromarray(image), severity)


def _library() -> Any:
    try:
        from imagecorruptions import corruptions
    except ImportError as error:
        raise CorruptionError(f"the corruptions need a package ({error}): {INSTALL}") from error
    return corruptions


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, and restore its state afterwards."""
    state = np.random.get_state()  # noqa: NPY002 - the library knows no other generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _frost(image: Image, severity: int, seed: int) -> NDArray[np.floating]:
    """Blend a random part of a photograph of frost over the image."""
    share, frost_share = FROST[severity - 1]
    rng = np.random.default_rng(seed)
    picture = _frost_picture(FROST_PICTURES[rng.integers(len(FROST_PICTURES))])
    height, width = image.shape[:2]
    top, left = (
        rng.integers(0, have - need) for have, need in zip(picture.shape, (height, width), strict=False)
    )
    return np.clip(share * image + frost_share * picture[top : top + height, left : left + width], 0, 255)


def _frost_picture(name: str) -> Image:
    """One of the published pictures, from the library's folder."""
    package = find_spec("imagecorruptions")
    if package is None or package.origin is None:
        raise CorruptionError(f"the corruptions need the package imagecorruptions: {INSTALL}")
    with Pillow.open(Path(package.origin).parent / "frost" / name) as picture:
        return np.asarray(picture.convert("RGB"))


OWN: dict[str, Callable[[Image, int, int], NDArray[np.floating]]] = {
    "elastic_transform": elastic_transform,
    "frost": _frost,
}
