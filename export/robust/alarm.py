"""The alarm of a robust bundle: one discriminant a kind of frame that costs more than it should.

The corruptions are those of ImageNet-C, on other photographs and with other seeds than ``bench.resilience``
measures; a kind that is not among them is hardly seen (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from export.graphs.torch_graph import TorchGraph
from export.prior.table_bits import ChannelRate
from export.progress import bar
from export.robust.corruptions import SEVERITIES, corrupt
from export.robust.disturbances import Perturbation
from runtime.bundle import Bundle
from runtime.codec.tables import Tables
from runtime.guard.alarm import features
from runtime.head import Head

SHRINKAGE = 0.3
"""Of the covariance towards a multiple of the identity: there are about as many channels as frames."""


def discriminant(
    clean: NDArray[np.float32], unusual: NDArray[np.float32], held_out: NDArray[np.float32], pooled: bool
) -> NDArray[np.float32]:
    """Weights float32 (C,) of a score that is high for unusual frames, in standard deviations of clean ones.

    Args:
        clean, unusual: features (n, C) of frames to fit, as ``runtime.guard`` computes them.
        held_out: features of other clean frames, which set the unit.
        pooled: take the spread of both kinds, not only of clean frames. It finds more of a kind that always
            looks like the frames it was fitted to, and less of an attacker, who need not.
    """
    spread = np.cov(clean, rowvar=False)
    if pooled:
        spread = (spread + np.cov(unusual, rowvar=False)) / 2
    spread = (1 - SHRINKAGE) * spread
    spread[np.diag_indices_from(spread)] += SHRINKAGE * np.trace(spread) / len(spread) / (1 - SHRINKAGE)
    weights = np.linalg.solve(spread, unusual.mean(0) - clean.mean(0))
    unit: NDArray[np.float32] = (weights / (held_out @ weights).std()).astype(np.float32)
    return unit


ATTACK_STEPS = 12
ATTACKED = 200  # frames: the mean of the discriminant's other side

Kind = tuple[tuple[str, ...], tuple[int, ...]]
"""Corruptions, and at which severities."""

KINDS: dict[str, Kind] = {
    "noise": (("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"), (4, 5)),
    "snow": (("snow",), SEVERITIES),
    "water": (("spatter",), (1, 2, 3)),
    "mud": (("spatter",), (4, 5)),
    "codec": (("jpeg_compression",), SEVERITIES),
}
"""Corruptions that make frames dearer, by what they look like to the prior, and at which severities."""
CORRUPTED = 500  # frames of each corruption and severity

LIKE_CALM = "codec"
CALM: tuple[Kind, ...] = ((("gaussian_blur", "defocus_blur"), (1, 2, 3)), (("saturate",), (3, 4, 5)))
"""These cost little or nothing and are no business of the alarm, but a codec blurs too, and strong colours
have its edges: unless they stand beside the clean frames, one in twenty of them rings its alarm. Beside them
for all kinds, they would cost half of light snow."""
CALM_EACH = 100  # frames of each of those and severity: the clean ones stay the greater part

DEVIATIONS = 5.5
"""Threshold of the attack, in standard deviations above the mean of clean frames. Their tail is heavier than
Gaussian, and photographs of another origin than those of the fit sit higher: one in 250 is suspected."""
SURE = 0.05
"""Share of a kind's frames below the least of the sure ones. Where these are above all clean frames, the
threshold is half-way between: it costs nothing and spares clean frames of another origin a false alarm."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Corrupted:
    """Frames uint8 (n, S, S, 3) after one corruption."""

    name: str
    severity: int
    frames: Frames


@dataclass(frozen=True)
class AlarmFrames:
    """Frames to fit the alarm, uint8 (N, S, S, 3): clean, attacked, corrupted, and like clean ones."""

    clean: Frames
    attacked: Frames
    corrupted: Sequence[Corrupted]
    calm: Sequence[Corrupted]

    def __len__(self) -> int:
        cells = (*self.corrupted, *self.calm)
        return len(self.clean) + len(self.attacked) + sum(len(one.frames) for one in cells)


def alarm_frames(bundle: Bundle, squares: Sequence[Frames], seed: int = 0) -> AlarmFrames:
    """Frames to fit the alarm.

    bundle: factorized; PGD-E at random eps attacks its head. squares: uint8 (S, S, 3), in any order.
    """
    rng = np.random.default_rng(seed)
    chosen = np.stack([squares[i] for i in rng.permutation(len(squares))[:ATTACKED]])
    images = torch.from_numpy(chosen.transpose(0, 3, 1, 2).copy()).float() / 255
    perturbed = torch.cat(list(_attacked(bundle, images, rng))).mul(255).round().byte()
    return AlarmFrames(
        clean=np.stack(squares),
        attacked=np.ascontiguousarray(perturbed.permute(0, 2, 3, 1).numpy()),
        corrupted=corrupted_frames(squares, KINDS.values(), CORRUPTED, rng),
        calm=corrupted_frames(squares, CALM, CALM_EACH, rng),
    )


def corrupted_frames(
    squares: Sequence[Frames], kinds: Iterable[Kind], count: int, rng: np.random.Generator
) -> list[Corrupted]:
    """Each corruption of some kinds at each of its severities, of ``count`` squares each."""
    wanted = [(name, severity) for names, some in kinds for name in names for severity in some]
    cells = []
    with bar(len(wanted), "corruptions for the alarm", "severity") as progress:
        for name, severity in wanted:
            origin = rng.permutation(len(squares))[:count]
            seeds = rng.integers(2**32, size=len(origin))
            frames = [
                corrupt(squares[i], name, severity, int(seed)) for i, seed in zip(origin, seeds, strict=True)
            ]
            cells.append(Corrupted(name, severity, np.stack(frames)))
            progress.update(1)
    return cells


def fit_alarm(bundle: Bundle, frames: AlarmFrames) -> dict[str, NDArray[np.float32]]:
    """The arrays of guard.npz. A third of the clean (and calm) frames is kept for the thresholds."""
    head = Head(bundle)
    with bar(len(frames), f"{bundle.manifest.name}: alarm", "frame") as progress:

        def look(some: Frames) -> NDArray[np.float32]:
            progress.update(len(some))
            return np.stack([features(head.analyse(frame)) for frame in some])

        clean, attacked = look(frames.clean), look(frames.attacked)
        corrupted = {(one.name, one.severity): look(one.frames) for one in frames.corrupted}
        calm = np.concatenate([clean, *(look(one.frames) for one in frames.calm)])
    fit, held_out = _thirds(clean)
    weights = [discriminant(fit, attacked, held_out, pooled=False)]
    thresholds = [(held_out @ weights[0]).mean() + DEVIATIONS]
    for kind, (names, severities) in KINDS.items():
        fit, held_out = _thirds(calm if kind == LIKE_CALM else clean)
        unusual = np.concatenate([corrupted[name, severity] for name in names for severity in severities])
        weights.append(discriminant(fit, unusual, held_out, pooled=True))
        scores, highest = unusual @ weights[-1], (held_out @ weights[-1]).max()
        thresholds.append((highest + max(highest, np.quantile(scores, SURE))) / 2)
    return {"discriminants": np.stack(weights), "bias": -np.array(thresholds, dtype=np.float32)}


def _thirds(some: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two to fit, one to set the threshold."""
    kept = np.arange(len(some)) % 3 == 0
    return some[~kept], some[kept]


def _attacked(bundle: Bundle, images: torch.Tensor, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    head, rate = TorchGraph(bundle.path("head")), ChannelRate(Tables.from_arrays(bundle.arrays("prior")))
    with bar(len(images), "attacks for the alarm", "frame") as progress:
        for batch in images.split(8):
            perturbation = Perturbation(batch, ATTACK_STEPS, rng)
            for _ in range(ATTACK_STEPS):
                perturbed = perturbation.images.requires_grad_(True)
                (gradient,) = torch.autograd.grad(rate(head(perturbed)[0]).sum(), perturbed)
                perturbation.grow(gradient)
            yield perturbation.images.detach()
            progress.update(len(batch))
