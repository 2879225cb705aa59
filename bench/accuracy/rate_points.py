"""One point of a rate-accuracy curve: many labelled images through one way of sending them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from bench.common.bootstrap import interval
from bench.common.image_codecs import ImageCodec
from bench.common.photos import Sample
from bench.common.unquantised import Unquantised
from runtime.bundle import Bundle
from runtime.codec.stream import SEAL_BITS
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.head import Head
from runtime.preprocess import Preprocess
from runtime.tail import Tail

Samples = Iterable[Sample]


class PointRow(TypedDict):
    """A row of the report; all sizes in bytes, None as in ``RatePoint``. top1_ci: 95 % interval."""

    bundle: str
    prior: str
    rate: int | None
    top1: float
    top1_ci: list[float]
    bytes_mean: float | None
    bytes_p50: float | None
    bytes_p95: float | None
    bytes_max: int | None
    information_bytes: float | None
    divergence_nats: float | None


@dataclass(frozen=True)
class RatePoint:
    """One value an image in each array.

    prior: ``fp``, ``mshp``, a picture format, or ``none`` where nothing is coded.
    rate: the bundle's, or the picture's quality.
    correct: bool (n,).
    logits: float32 (n, classes).
    divergence: float64 (n,), nats that the answer is away from the uncoded network's (``against``).
    bytes: int64 (n,), of all that is sent, headers included; None where nothing is coded.
    payload: int64 (n,), without header, CRC and the seal's two bytes; None without a bundle.
    information: float64 (n,), bytes of information content under the shipped tables; None likewise.
    """

    bundle: str
    prior: str
    rate: int | None
    correct: NDArray[np.bool_]
    logits: NDArray[np.float32]
    divergence: NDArray[np.float64] | None = None
    bytes: NDArray[np.int64] | None = None
    payload: NDArray[np.int64] | None = None
    information: NDArray[np.float64] | None = None

    @property
    def top1(self) -> float:
        """Share of the images classified right."""
        return float(self.correct.mean())

    def as_row(self) -> PointRow:
        """The point as a row of the report."""
        sizes, content, nats = self.bytes, self.information, self.divergence
        return PointRow(
            bundle=self.bundle,
            prior=self.prior,
            rate=self.rate,
            top1=self.top1,
            top1_ci=list(interval(self.correct)),
            bytes_mean=None if sizes is None else float(sizes.mean()),
            bytes_p50=None if sizes is None else float(np.percentile(sizes, 50)),
            bytes_p95=None if sizes is None else float(np.percentile(sizes, 95)),
            bytes_max=None if sizes is None else int(sizes.max()),
            information_bytes=None if content is None else float(content.mean()),
            divergence_nats=None if nats is None else float(nats.mean()),
        )

    def against(self, reference: RatePoint) -> RatePoint:
        """With the Kullback-Leibler divergence of each answer from ``reference``'s."""
        expected, found = _log_softmax(reference.logits), _log_softmax(self.logits)
        return replace(self, divergence=(np.exp(expected) * (expected - found)).sum(axis=1))


def of_bundle(
    bundle: Bundle, engine: EngineOptions, samples: Samples, guard: Guard | None = None
) -> RatePoint:
    """Every image encoded, guarded or not, sent as bytes, decoded and classified.

    Raises RuntimeError when the decoder returns other symbols than were encoded.
    """
    head, tail = Head(bundle, engine, guard=guard), Tail(bundle, engine)
    labels, answers, sizes, payloads, information = [], [], [], [], []
    for sample in samples:
        packet = head.encode(sample.image())
        data = packet.to_bytes()
        logits = tail.decode(data)
        assert head.report is not None and tail.report is not None
        sent, received = head.report.latent.streams, tail.report.streams
        if not all(np.array_equal(s.symbols, r.symbols) for s, r in zip(sent, received, strict=True)):
            raise RuntimeError(f"{bundle.manifest.name}, {sample.path.name}: decoded symbols differ")
        labels.append(sample.label)
        answers.append(logits)
        sizes.append(len(data))
        payloads.append(len(packet.payload) - SEAL_BITS // 8)
        information.append(head.report.latent.expected_bits / 8)
    manifest = bundle.manifest
    return RatePoint(
        bundle=manifest.name,
        prior=manifest.prior,
        rate=manifest.rate,
        correct=np.argmax(answers, axis=1) == labels,
        logits=np.array(answers),
        bytes=np.array(sizes),
        payload=np.array(payloads),
        information=np.array(information),
    )


def of_network(
    network: Unquantised, prepare: Preprocess, pictures: Sequence[tuple[ImageCodec, int]], samples: Samples
) -> list[RatePoint]:
    """Without coding, which is the ceiling; then with each of ``pictures``, (format, quality), in between."""
    labels: list[int | None] = []
    answers: list[list[NDArray[np.float32]]] = [[] for _ in range(len(pictures) + 1)]
    sizes: list[list[int]] = [[] for _ in pictures]
    for sample in samples:
        square = prepare.square(sample.image())
        labels.append(sample.label)
        answers[0].append(network.logits(square))
        for (codec, quality), found, size in zip(pictures, answers[1:], sizes, strict=True):
            data = codec.encode(square, quality)
            found.append(network.logits(codec.decode(data)))
            size.append(len(data))

    def point(name: str, prior: str, rate: int | None, number: int) -> RatePoint:
        logits = np.array(answers[number])
        size = np.array(sizes[number - 1]) if number else None
        return RatePoint(name, prior, rate, logits.argmax(axis=1) == labels, logits, bytes=size)

    return [point("unquantised (no coding)", "none", None, 0)] + [
        point(f"{codec.name}-q{quality}", codec.name, quality, number)
        for number, (codec, quality) in enumerate(pictures, start=1)
    ]


def told(bar: Any, name: str, samples: Samples) -> Iterator[Sample]:
    """Yield ``samples``, and move the progress bar after each."""
    bar.set_description(name)
    for sample in samples:
        yield sample
        bar.update()


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalised: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised
