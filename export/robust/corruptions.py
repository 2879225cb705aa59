"""The 19 corruptions of ImageNet-C at five severities (Hendrycks and Dietterich, ICLR 2019).

17 of them are from ``imagecorruptions`` (the maintained ``imagecorruptions-imaug``: the original no longer
imports with current setuptools and SciPy); their parameters and formulas are the published ones. Two are
ours, because the library's are others: its elastic transform, made for detection (Michaelis et al., 2019),
has no random affine map and other amplitudes, and its frost adds a sixth picture and enlarges all.
``corrupt-tta`` was not taken: its motion blur, snow, fog, spatter and glass blur are not the published ones.

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

Image = NDArray[np.uint8]

NOISE = ("gaussian_noise", "shot_noise", "impulse_noise")
BLUR = ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")
WEATHER = ("snow", "frost", "fog", "brightness")
DIGITAL = ("contrast", "elastic_transform", "pixelate", "jpeg_compression")
EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
CORRUPTIONS = NOISE + BLUR + WEATHER + DIGITAL + EXTRA
SEVERITIES = (1, 2, 3, 4, 5)

INSTALL = "pip install opencv-python-headless && pip install --no-deps imagecorruptions-imaug"
"""Without its dependencies: it asks for opencv-python, the same module with a display's libraries."""

SEEDED_BY_ARGUMENT = ("glass_blur", "impulse_noise")
"""The library draws these from a generator of their own; the others from NumPy's global one."""

ELASTIC = ((2.0, 0.7, 0.1), (2.0, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
"""By severity: amplitude of the displacement, its smoothing, reach of the affine map; in units of 244 pixels,
which the published code has where its images are 224 wide."""
ELASTIC_UNIT = 244

FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
"""By severity: share of the image, share of the frost."""
FROST_PICTURES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")


def corrupt(image: Image, name: str, severity: int, seed: int = 0) -> Image:
    """``image``, uint8 (S, S, 3), after one corruption; the same seed, 0..2^32 - 1, is the same result.

    Raises CorruptionError for a corruption or severity that is not there, and without the library.
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
    """NumPy's global generator seeded, and afterwards as it was."""
    state = np.random.get_state()  # noqa: NPY002 - the library knows no other generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _elastic_transform(image: Image, severity: int, seed: int) -> NDArray[np.floating]:
    """A random affine map, then a smooth random displacement of each pixel; both bilinear."""
    from scipy.ndimage import map_coordinates

    rng = np.random.default_rng(seed)
    grid = np.indices(image.shape[:2], dtype=np.float64)
    reach = ELASTIC_UNIT * ELASTIC[severity - 1][2]
    places = _affine(grid, rng.uniform(-reach, reach, (3, 2)))
    mapped = [map_coordinates(image[..., c] / 255, places, order=1, mode="mirror") for c in range(3)]
    places = grid + _displacement(grid.shape[1:], severity, rng)
    moved = [map_coordinates(channel, places, order=1, mode="reflect") for channel in mapped]
    return np.clip(np.stack(moved, axis=-1), 0, 1) * 255


def _displacement(shape: tuple[int, ...], severity: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """How far each pixel of an image of ``shape`` (H, W) moves: float64 (2, H, W), rows and columns."""
    from scipy.ndimage import gaussian_filter

    amplitude, smoothing, _ = (ELASTIC_UNIT * value for value in ELASTIC[severity - 1])
    draws = [rng.uniform(-1, 1, shape) for _ in range(2)]
    return amplitude * np.stack([gaussian_filter(d, smoothing, mode="reflect", truncate=3) for d in draws])


def _affine(grid: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each pixel of ``grid`` (2, H, W) comes from when three points move by ``shift``, in pixels."""
    height, width = grid.shape[1:]
    centre, side = np.array([height // 2, width // 2]), min(height, width) // 3
    before = centre + side * np.array([[1, 1], [-1, 1], [-1, -1]])
    after = np.column_stack([before + shift, np.ones(3)])
    matrix = np.linalg.solve(after, before)  # [row, column, 1] after -> [row, column] before
    return np.einsum("ij,ihw->jhw", matrix[:2], grid) + matrix[2][:, None, None]


def _frost(image: Image, severity: int, seed: int) -> NDArray[np.floating]:
    """A random part of a photograph of frost over the image."""
    share, frost_share = FROST[severity - 1]
    rng = np.random.default_rng(seed)
    picture = _frost_picture(FROST_PICTURES[rng.integers(len(FROST_PICTURES))])
    height, width = image.shape[:2]
    top, left = (
        rng.integers(0, have - need) for have, need in zip(picture.shape, (height, width), strict=False)
    )
    return np.clip(share * image + frost_share * picture[top : top + height, left : left + width], 0, 255)


def _frost_picture(name: str) -> Image:
    """One of the published pictures, which the library carries."""
    package = find_spec("imagecorruptions")
    if package is None or package.origin is None:
        raise CorruptionError(f"the corruptions need the package imagecorruptions: {INSTALL}")
    with Pillow.open(Path(package.origin).parent / "frost" / name) as picture:
        return np.asarray(picture.convert("RGB"))


OWN: dict[str, Callable[[Image, int, int], NDArray[np.floating]]] = {
    "elastic_transform": _elastic_transform,
    "frost": _frost,
}
