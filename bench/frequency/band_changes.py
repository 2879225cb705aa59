"""Changes of one frame, a band at a time; their effect on bytes and answer; rows over the images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from bench.attacks import threat_named
from bench.attacks.differentiable.target import Target
from bench.common.bootstrap import interval
from bench.frequency.dct_bands import Planes, band_index, bands, energy_by_band, keep, noise
from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.head import Head
from runtime.tail import Tail

ALL = -1
"""Band of changes to all bands at once: none, of the clean frame, and the whole attack."""


@dataclass(frozen=True)
class Change:
    """One change of one frame, and its effect.

    kind, band: as ``bench.frequency`` lists them; ``clean`` and ``attack e`` have the band ``ALL``.
    growth: bytes over the clean frame's, less 1.
    energy: float64 (COUNT,), share of the disturbance's energy in each band; of the frame's own if clean.
    rms: of the disturbance, of 255.
    """

    kind: str
    band: int
    growth: float
    correct: bool
    energy: NDArray[np.float64]
    rms: float


class BandSender:
    """Sends frames through one bundle: bytes and whether the answer is right."""

    def __init__(self, bundle: Bundle, engine: EngineOptions):
        self.bundle = bundle
        self.target = Target.open(bundle)
        self._head, self._tail = Head(bundle, engine), Tail(bundle, engine)

    def send(self, planes: Planes, label: int) -> tuple[int, bool]:
        """One frame, float64 (3, S, S) in 0..255, already rounded."""
        data = self._head.encode(planes.astype(np.uint8).transpose(1, 2, 0)).to_bytes()
        return len(data), int(self._tail.decode(data).argmax()) == label


def disturbed(planes: Planes, eps: list[int], seed: int) -> Iterator[tuple[str, int, Planes]]:
    """Kind, band and the frame (3, S, S), not yet rounded, for everything but the attack."""
    size = planes.shape[-1]
    index = band_index(size)
    rng = np.random.default_rng(seed)
    for band in bands(size):
        yield "remove", band, keep(planes, index != band)
        for e in eps:
            limited = noise(size, band, e, rng)
            yield f"noise {e}", band, planes + limited
            signs: Planes = np.where(limited < 0, -1.0, 1.0)
            yield f"sign {e}", band, planes + e * signs


def attacked(planes: Planes, target: Target, eps: list[int], seed: int) -> Iterator[tuple[str, int, Planes]]:
    """Kind, band and the frame, not yet rounded, for un-masked PGD-E and its parts."""
    size = planes.shape[-1]
    index = band_index(size)
    image = torch.from_numpy(planes / 255).float()[None]
    no_label = torch.zeros(1, dtype=torch.int64)  # PGD-E does not look at it
    for e in eps:
        tensor = threat_named("pgd_e")(target, image, no_label, e / 255, seed=seed)
        found: Planes = (tensor[0].double() * 255).numpy()
        yield f"attack {e}", ALL, found
        change = found - planes
        for band in bands(size):
            yield f"only {e}", band, planes + keep(change, index == band)
            yield f"without {e}", band, planes + keep(change, index != band)


def changes(
    sender: BandSender, square: NDArray[np.uint8], label: int, eps: list[int], seed: int
) -> list[Change]:
    """All changes of one frame, uint8 (S, S, 3); the clean frame first."""
    planes = square.transpose(2, 0, 1).astype(np.float64)
    clean, right = sender.send(planes, label)
    found = [Change("clean", ALL, 0.0, right, energy_by_band(planes), 0.0)]
    frames = chain(disturbed(planes, eps, seed), attacked(planes, sender.target, eps, seed))
    for kind, band, frame in frames:
        rounded = np.rint(np.clip(frame, 0, 255))
        size, correct = sender.send(rounded, label)
        left = rounded - planes
        rms = float(np.sqrt(np.mean(left**2)))
        found.append(Change(kind, band, size / clean - 1, correct, energy_by_band(left), rms))
    return found


@dataclass(frozen=True)
class BandRow:
    """One kind of change and band, over the images; its fields are the keys of the JSON.

    bytes_change: mean growth, of 1. top1: share of right answers. top1_change: against the clean frames, of
    1. energy: share of the disturbance's energy in each band. rms: of the disturbance, of 255. *_ci: 95 %
    interval over images.
    """

    bundle: str
    kind: str
    band: int
    images: int
    bytes_change: float
    bytes_change_ci: tuple[float, float]
    top1: float
    top1_change: float
    top1_change_ci: tuple[float, float]
    energy: list[float]
    rms: float


def rows(bundle: str, of_images: list[list[Change]]) -> list[BandRow]:
    """One row a kind and band."""
    groups: dict[tuple[str, int], list[Change]] = defaultdict(list)
    for of_image in of_images:
        for change in of_image:
            groups[change.kind, change.band].append(change)
    clean = np.array([change.correct for change in groups["clean", ALL]], dtype=float)
    found = []
    for (kind, band), group in groups.items():
        growth = np.array([change.growth for change in group])
        correct = np.array([change.correct for change in group], dtype=float)
        energy = np.mean([change.energy for change in group], axis=0)
        found.append(
            BandRow(
                bundle, kind, band, len(group), float(growth.mean()), interval(growth),
                float(correct.mean()), float((correct - clean).mean()), interval(correct - clean),
                energy.tolist(), float(np.mean([change.rms for change in group])),
            )
        )  # fmt: skip
    return found
