"""JPEG and WebP at our packets' size: the peer sends the picture and the server runs the whole network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common.image_codecs import JPEG, WEBP, ImageCodec
from bench.common.timing import Timing, measure_side_by_side
from bench.common.unquantised import Unquantised

PICTURES = (JPEG, WEBP)
"""AVIF is left to ``bench.accuracy``: it would take most of this benchmark's time."""


@dataclass(frozen=True)
class Baseline:
    """One codec on one clean photo, at the quality nearest in bytes to our packet.

    encode, decode: of the prepared square; resizing before and the network after are not in them.
    top1: class index that the uncoded network gives to the decoded picture.
    """

    codec: str
    photo: str
    quality: int
    bytes: int
    encode: Timing
    decode: Timing
    top1: int

    def as_row(self, bundle: str) -> dict[str, Any]:
        """Fields of a row of the report."""
        row: dict[str, Any] = {"bundle": bundle, "codec": self.codec, "photo": self.photo, "variant": "clean"}
        row |= {"quality": self.quality, "bytes": self.bytes, "top1": self.top1}
        return row | self.encode.as_row("encode_") | self.decode.as_row("decode_")


def measure_baseline(
    codec: ImageCodec, photo: str, square: NDArray[np.uint8], target: int, network: Unquantised, runs: int
) -> Baseline:
    """Code ``square`` at the quality whose file is nearest to ``target`` bytes."""
    quality = codec.nearest_quality(square, target)
    data = codec.encode(square, quality)
    timings = measure_side_by_side(
        {"encode": lambda: codec.encode(square, quality), "decode": lambda: codec.decode(data)}, runs
    )
    top1 = int(network.logits(codec.decode(data)).argmax())
    return Baseline(codec.name, photo, quality, len(data), timings["encode"], timings["decode"], top1)
