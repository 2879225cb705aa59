"""One point of a rate-accuracy curve: many labelled images through one way of sending them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.bootstrap import interval
from bench.image_codecs import ImageCodec
from bench.photos import Sample
from bench.unquantised import Unquantised
from runtime.bundle import Bundle
from runtime.coder.stream import SEAL_BITS
from runtime.engines import EngineOptions
from runtime.head import Head
from runtime.preprocess import Preprocess
from runtime.tail import Tail

Samples = Iterable[Sample]


@dataclass(frozen=True)
class Point:
    """One value an image in each array.

    prior: ``fp``, ``mshp``, a picture format, or ``none`` where nothing is coded.
    rate: the bundle's, or the picture's quality.
    correct: bool (n,).
    bytes: int64 (n,), of all that is sent, headers included; None where nothing is coded.
    payload: int64 (n,), without header, CRC and the seal's two bytes; None without a bundle.
    information: float64 (n,), bytes of information content under the shipped tables; None likewise.
    """

    bundle: str
    prior: str
    rate: int | None
    correct: NDArray[np.bool_]
    bytes: NDArray[np.int64] | None = None
    payload: NDArray[np.int64] | None = None
    information: NDArray[np.float64] | None = None

    @property
    def top1(self) -> float:
        """Share of the images classified right."""
        return float(self.correct.mean())

    def as_row(self) -> dict[str, Any]:
        """Fields of a row of the report; all sizes in bytes."""
        row: dict[str, Any] = {"bundle": self.bundle, "prior": self.prior, "rate": self.rate}
        row |= {"top1": self.top1, "top1_ci": list(interval(self.correct))}
        sizes: list[float | None] = [None] * 4
        if self.bytes is not None:
            p50, p95 = np.percentile(self.bytes, (50, 95))
            sizes = [float(self.bytes.mean()), float(p50), float(p95), int(self.bytes.max())]
        row |= dict(zip(("bytes_mean", "bytes_p50", "bytes_p95", "bytes_max"), sizes, strict=True))
        content = None if self.information is None else float(self.information.mean())
        return row | {"information_bytes": content}


def of_bundle(bundle: Bundle, engine: EngineOptions, samples: Samples) -> Point:
    """Every image encoded, sent as bytes, decoded and classified.

    Raises RuntimeError when the decoder returns other symbols than were encoded.
    """
    head, tail = Head(bundle, engine), Tail(bundle, engine)
    correct, sizes, payloads, information = [], [], [], []
    for sample in samples:
        packet = head.encode(sample.image())
        data = packet.to_bytes()
        logits = tail.decode(data)
        assert head.report is not None and tail.report is not None
        sent, received = head.report.latent.streams, tail.report.streams
        if not all(np.array_equal(s.symbols, r.symbols) for s, r in zip(sent, received, strict=True)):
            raise RuntimeError(f"{bundle.manifest.name}, {sample.path.name}: decoded symbols differ")
        correct.append(int(logits.argmax()) == sample.label)
        sizes.append(len(data))
        payloads.append(len(packet.payload) - SEAL_BITS // 8)
        information.append(head.report.latent.expected_bits / 8)
    manifest = bundle.manifest
    return Point(
        manifest.name, manifest.prior, manifest.rate,
        np.array(correct), np.array(sizes), np.array(payloads), np.array(information),
    )  # fmt: skip


def of_network(
    network: Unquantised, prepare: Preprocess, pictures: Sequence[tuple[ImageCodec, int]], samples: Samples
) -> list[Point]:
    """Without coding, which is the ceiling; then with each of ``pictures``, (format, quality), in between."""
    correct: list[list[bool]] = [[] for _ in range(len(pictures) + 1)]
    sizes: list[list[int]] = [[] for _ in pictures]
    for sample in samples:
        square = prepare.square(sample.image())
        correct[0].append(_right(network, square, sample))
        for (codec, quality), hits, size in zip(pictures, correct[1:], sizes, strict=True):
            data = codec.encode(square, quality)
            hits.append(_right(network, codec.decode(data), sample))
            size.append(len(data))
    points = [Point("unquantised (no coding)", "none", None, np.array(correct[0]))]
    for (codec, quality), hits, size in zip(pictures, correct[1:], sizes, strict=True):
        points.append(Point(f"{codec.name}-q{quality}", codec.name, quality, np.array(hits), np.array(size)))
    return points


def _right(network: Unquantised, square: NDArray[np.uint8], sample: Sample) -> bool:
    return int(network.logits(square).argmax()) == sample.label
