"""What anybody would try first against noise: filters of the frame before it is encoded.

Each takes a prepared square, uint8 (S, S, 3), and returns another. The network that looks at it is the plain
one; nothing decides whether a frame needs it. A defence of ours has to beat all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from bench.common.image_codecs import JPEG

Image = NDArray[np.uint8]


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


TRIVIAL: dict[str, Callable[[Image], Image]] = {
    **{f"blur-{sigma}": partial(gaussian_blur, sigma=sigma) for sigma in (0.5, 0.7, 1.0, 1.4)},
    "median-3": partial(median, side=3),
    **{f"bits-{bits}": partial(bit_depth, bits=bits) for bits in (4, 5)},
    **{f"jpeg-{quality}": partial(jpeg, quality=quality) for quality in (50, 75)},
    **{f"tv-{weight}": partial(total_variation, weight=weight) for weight in (0.02, 0.05, 0.1)},
    **{f"resize-{share}": partial(resized, share=share) for share in (0.5, 0.75)},
}
