"""Trivial defences: filters of every frame before it is encoded, which anybody would try first against noise.

The head behind a filter is the plain one, and nothing decides whether a frame needs the filter. A defence of
ours has to beat all of them. ``filter_named`` also finds a caller's own.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from bench.common.errors import CampaignError
from bench.common.image_codecs import JPEG
from bench.resilience.catalogue.random_transforms import LINES, RANDOM
from export.errors import ExtensionError
from export.references import installed, is_reference, resolve

Image = NDArray[np.uint8]

TWO_WAY = "two-way"
"""The defence that also encodes the frame after a random transform, and sends the shorter packet."""

GROUP = "ratehold.filters"
"""Entry points of this group add filters by name."""


class Filter(Protocol):
    """Changes a frame before it is encoded."""

    def __call__(self, image: Image, /) -> Image:
        """A prepared square, uint8 (S, S, 3), which stays as it is -> another of its shape and dtype."""


def gaussian_blur(image: Image, sigma: float) -> Image:
    """Gaussian of ``sigma`` pixels, replicated border; the paper's released denoiser is about one of 1.2."""
    from scipy.ndimage import gaussian_filter

    return _rounded(gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), mode="nearest"))


def median(image: Image, side: int) -> Image:
    """Median of ``side`` x ``side`` pixels a channel, replicated border."""
    from scipy.ndimage import median_filter

    filtered: Image = median_filter(image, (side, side, 1), mode="nearest")
    return filtered


def bit_depth(image: Image, bits: int) -> Image:
    """The nearest of 2^bits evenly spaced levels, black and white among them (Xu et al., NDSS 2018)."""
    steps = 2**bits - 1
    return _rounded(np.rint(image * (steps / 255)) * (255 / steps))


def jpeg(image: Image, quality: int) -> Image:
    """Encoded and decoded as JPEG (Das et al., 2017)."""
    return JPEG.decode(JPEG.encode(image, quality))


def total_variation(image: Image, weight: float) -> Image:
    """scikit-image's Chambolle denoiser, without a mask; a larger ``weight`` smooths more (default: 0.1)."""
    from skimage.restoration import denoise_tv_chambolle

    return _rounded(255 * denoise_tv_chambolle(image.astype(np.float32) / 255, weight, channel_axis=-1))


def resized(image: Image, share: float) -> Image:
    """Down to ``share`` of its side and up again, bicubic with antialiasing."""
    height, width = image.shape[:2]
    small = (max(1, round(share * width)), max(1, round(share * height)))
    down = Pillow.fromarray(image).resize(small, Pillow.Resampling.BICUBIC)
    return np.asarray(down.resize((width, height), Pillow.Resampling.BICUBIC))


def _rounded(values: NDArray[np.floating]) -> Image:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


TRIVIAL: dict[str, Filter] = {
    **{f"blur-{sigma}": partial(gaussian_blur, sigma=sigma) for sigma in (0.5, 0.7, 1.0, 1.4)},
    "median-3": partial(median, side=3),
    **{f"bits-{bits}": partial(bit_depth, bits=bits) for bits in (4, 5)},
    **{f"jpeg-{quality}": partial(jpeg, quality=quality) for quality in (50, 75)},
    **{f"tv-{weight}": partial(total_variation, weight=weight) for weight in (0.02, 0.05, 0.1)},
    **{f"resize-{share}": partial(resized, share=share) for share in (0.5, 0.75)},
    **RANDOM,
}
"""By the name that ``bench.resilience --defence`` takes."""


def known() -> dict[str, str]:
    """Filters of installed packages: name -> ``module:name``. Ours win a name."""
    return {name: where for name, where in installed(GROUP).items() if name not in TRIVIAL}


def located(name: str) -> str | None:
    """``module:name`` of a caller's or a package's filter; None for ours.

    Raises CampaignError for a name that is neither.
    """
    if name in TRIVIAL:
        return None
    where = name if is_reference(name) else known().get(name)
    if where is None:
        raise CampaignError(
            f"no filter {name!r}: there are {', '.join((*TRIVIAL, *known()))}, and module:name"
        )
    return where


def filter_named(name: str) -> Filter:
    """A filter by its name or as ``module:name``.

    Raises CampaignError for an unknown name, ExtensionError for a reference to nothing that takes one
    image. A filter that is not ours also raises it when its result has another shape or dtype than the
    frame.
    """
    where = located(name)
    if where is None:
        return TRIVIAL[name]
    given: Filter = resolve(where)
    try:
        inspect.signature(given).bind(None)
    except TypeError as error:
        raise ExtensionError(f"filter {name}: {error}; a filter takes (image)") from error

    def checked(image: Image, /) -> Image:
        return check_image(f"filter {name}", given(image.copy()), image)

    return checked


def check_image(who: str, result: Any, image: Image) -> Image:
    """``result``, once it is known to be a frame like ``image``. Raises ExtensionError where it is not."""
    if not isinstance(result, np.ndarray):
        kind = f"{type(result).__module__}.{type(result).__qualname__}"
        raise ExtensionError(f"{who}: it returned a {kind}, not a numpy.ndarray")
    if result.shape != image.shape or result.dtype != np.uint8:
        raise ExtensionError(
            f"{who}: it returned {result.dtype} {result.shape} for {image.dtype} {image.shape}"
        )
    return result


def described() -> dict[str, str]:
    """Name and a line of each of ours, for ``--help``."""
    return {
        "blur-SIGMA": "Gaussian: 0.5, 0.7, 1.0 or 1.4 pixels",
        "median-3": "median of 3 x 3 pixels",
        "bits-N": "fewer levels: 4 or 5 bits a value",
        "jpeg-Q": "encoded and decoded as JPEG of quality 50 or 75",
        "tv-WEIGHT": "total variation without a mask: 0.02, 0.05 or 0.1",
        "resize-SHARE": "down and up again: 0.5 or 0.75 of the side",
        **LINES,
    }
