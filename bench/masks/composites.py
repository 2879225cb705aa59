"""Frames whose object's place is known because we put it there: a photograph in a round window.

Around it either one colour, where any detail gives the object away, or *texture*: the photograph's own
spectrum with random phases, so as much detail of every scale and direction as in the object, and no object.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frame = NDArray[np.uint8]
SHARE = 0.75  # of the frame's side: the window's diameter. Smaller photographs are seldom recognised.


@dataclass(frozen=True)
class Composite:
    """A frame, uint8 (S, S, 3), and the window that the photograph has in it, bool (S, S)."""

    frame: Frame
    window: NDArray[np.bool_]


def composite(square: Frame, seed: int, textured: bool) -> Composite:
    """The photograph ``square``, uint8 (S, S, 3), shrunk into a window anywhere in a frame of the same size.

    The same seed gives the same place with and without texture. Texture is the photograph's; without, it is
    the photograph's mean colour.
    """
    rng = np.random.default_rng(seed)
    size = len(square)
    side = round(SHARE * size)
    top, left = rng.integers(0, size - side + 1, 2)
    shrunk = Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC)
    photo = np.asarray(shrunk)
    if textured:
        frame = np.pad(scrambled(photo, rng), ((0, size - side), (0, size - side), (0, 0)), mode="wrap")
    else:
        frame = np.broadcast_to(photo.mean(axis=(0, 1)).round().astype(np.uint8), square.shape).copy()
    disc = _disc(side)
    frame[top : top + side, left : left + side][disc] = photo[disc]
    window = np.zeros((size, size), dtype=bool)
    window[top : top + side, left : left + side] = disc
    return Composite(frame, window)


def scrambled(photo: Frame, rng: np.random.Generator) -> Frame:
    """``scramble`` as uint8; nothing but clipping and rounding changes the spectrum."""
    return np.rint(np.clip(scramble(photo.astype(np.float64), rng), 0, 255)).astype(np.uint8)


def scramble(photo: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(h, w, c) with the phases of white noise added to its own: mean and amplitudes stay, no object does.

    The same phases for all channels, so that their correlation stays too. The result is periodic, like any
    inverse Fourier transform: it continues past its borders without a seam.
    """
    noise = np.fft.fft2(rng.normal(size=photo.shape[:2]))
    turn = noise / np.abs(noise)
    turn[0, 0] = 1  # the mean keeps its sign
    turned = np.fft.fft2(photo, axes=(0, 1)) * turn[:, :, None]
    return np.fft.ifft2(turned, axes=(0, 1)).real


def _disc(side: int) -> NDArray[np.bool_]:
    from_centre = np.arange(side) - (side - 1) / 2
    inside: NDArray[np.bool_] = np.hypot(from_centre[:, None], from_centre) <= side / 2
    return inside
