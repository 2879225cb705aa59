"""NV12: what cameras and video decoders hand over before anyone asks for RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from native_denoise.vectors.fixed_point import MATRIX_BITS
from runtime.errors import ImageError

Matrix = Literal["bt601", "bt709"]

LUMA_OF = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Kr and Kb of each standard."""


@dataclass(frozen=True, eq=False)
class Nv12:
    """A frame of NV12: a plane of Y, and one of U and V by turns at half its height and width.

    luma: uint8 (H, W), H and W even. chroma: uint8 (H/2, W/2, 2). Both may be views; rows may be apart.
    matrix: of BT.601 or BT.709, in the range of video (Y 16..235, U and V 16..240).

    Raises ImageError for planes that do not fit together.
    """

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]
    matrix: Matrix = "bt601"

    def __post_init__(self) -> None:
        for plane in (self.luma, self.chroma):
            if not isinstance(plane, np.ndarray) or plane.dtype != np.uint8:
                raise ImageError("the planes of NV12 are uint8 arrays")
        height, width = self.luma.shape if self.luma.ndim == 2 else (0, 0)
        wanted = (height // 2, width // 2, 2)
        if 0 in wanted or height % 2 or width % 2 or self.chroma.shape != wanted:
            raise ImageError(
                f"NV12 has Y of (H, W), both even, and UV of (H/2, W/2, 2), not {self.luma.shape} and "
                f"{self.chroma.shape}"
            )
        if self.matrix not in get_args(Matrix):
            raise ImageError(f"the matrix of NV12 is bt601 or bt709, not {self.matrix!r}")

    @classmethod
    def of(cls, frame: NDArray[np.uint8], matrix: Matrix = "bt601") -> Nv12:
        """Views of one array, uint8 (3/2 H, W) or (3/2 H, W, 1): Y, and below it UV, as OpenCV has it.

        Raises ImageError for another shape.
        """
        if isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 1:
            frame = frame[:, :, 0]
        if not isinstance(frame, np.ndarray) or frame.ndim != 2 or frame.shape[0] % 3 or frame.shape[1] % 2:
            raise ImageError("NV12 in one array has 3/2 times the picture's height, and an even width")
        height = frame.shape[0] // 3 * 2
        below = frame[height:]
        return cls(frame[:height], _pairs(below), matrix)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the picture as RGB: (H, W, 3)."""
        return (*self.luma.shape, 3)  # type: ignore[return-value]

    @property
    def coefficients(self) -> NDArray[np.int32]:
        """int32 (5,), in units of 2**-20: Y in all; V in R; U and V in G; U in B.

        Those of BT.601 are rounded to three decimals first, as OpenCV and much else has them.
        """
        kr, kb = LUMA_OF[self.matrix]
        kg, light, colour = 1 - kr - kb, 255 / 219, 255 / 112
        exact = [light, (1 - kr) * colour, -(1 - kb) * colour * kb / kg, -(1 - kr) * colour * kr / kg]
        exact.append((1 - kb) * colour)
        if self.matrix == "bt601":
            exact = [1.164, 1.596, -0.391, -0.813, 2.018]
        return np.rint(np.array(exact) * (1 << MATRIX_BITS)).astype(np.int32)

    def rgb(self) -> NDArray[np.uint8]:
        """The picture as uint8 (H, W, 3) RGB; chroma is repeated, not interpolated."""
        y, rv, gu, gv, bu = (int(k) for k in self.coefficients)
        light = np.maximum(self.luma.astype(np.int32) - 16, 0) * y + (1 << (MATRIX_BITS - 1))
        wide = self.chroma.repeat(2, axis=0).repeat(2, axis=1).astype(np.int32) - 128
        u, v = wide[..., 0], wide[..., 1]
        levels = np.stack((light + rv * v, light + gu * u + gv * v, light + bu * u), axis=-1)
        return np.clip(levels >> MATRIX_BITS, 0, 255).astype(np.uint8)


def _pairs(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, 2 w) -> (h, w, 2), without a copy."""
    height, width = rows.shape
    down, along = rows.strides
    return np.lib.stride_tricks.as_strided(rows, (height, width // 2, 2), (down, 2 * along, along))
