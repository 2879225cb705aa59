"""Frames to fit an alarm: clean photographs, the same attacked, and the same corrupted.

The corruptions are those of ImageNet-C, on other photographs and with other seeds than ``bench.resilience``
measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from export.calibrate.images import to_tensor
from export.graphs.torch_graph import TorchGraph
from export.prior.table_bits import ChannelRate
from export.progress import bar
from export.robust.corruptions import SEVERITIES, corrupt
from export.robust.disturbances import Perturbation
from runtime.bundle import Bundle
from runtime.codec.tables import Tables

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Kind:
    """Corruptions that look alike to the prior, and the severities at which an alarm learns them."""

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]


KINDS = {
    "noise": Kind(("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"), (4, 5)),
    "snow": Kind(("snow",), SEVERITIES),
    "water": Kind(("spatter",), (1, 2, 3)),
    "mud": Kind(("spatter",), (4, 5)),
    "codec": Kind(("jpeg_compression",), SEVERITIES),
}
"""Corruptions that cost bytes; the alarm has one discriminant for each kind."""

ORDINARY = (Kind(("gaussian_blur", "defocus_blur"), (1, 2, 3)), Kind(("saturate",), (3, 4, 5)))
"""Corruptions that cost few bytes or none: the alarm must not ring for them."""

CORRUPTED = 500  # frames of each corruption and severity of KINDS
ORDINARY_EACH = 100  # frames of each corruption and severity of ORDINARY: most of the clean side stays clean

ATTACK_STEPS = 12
ATTACKED = 200  # frames


@dataclass(frozen=True)
class CorruptedFrames:
    """Frames uint8 (n, S, S, 3) after one corruption."""

    name: str
    severity: int
    frames: Frames


@dataclass(frozen=True)
class AlarmFrames:
    """Frames to fit an alarm, uint8 (N, S, S, 3): clean, attacked, corrupted by KINDS and by ORDINARY."""

    clean: Frames
    attacked: Frames
    corrupted: Sequence[CorruptedFrames]
    ordinary: Sequence[CorruptedFrames]

    def __len__(self) -> int:
        groups = (*self.corrupted, *self.ordinary)
        return len(self.clean) + len(self.attacked) + sum(len(group.frames) for group in groups)


def alarm_frames(bundle: Bundle, squares: Sequence[Frames], seed: int = 0) -> AlarmFrames:
    """Make the frames from ``squares``, uint8 (S, S, 3), in any order.

    bundle: factorized; PGD-E at random eps attacks its head.
    """
    rng = np.random.default_rng(seed)
    chosen = np.stack([squares[i] for i in rng.permutation(len(squares))[:ATTACKED]])
    perturbed = torch.cat(list(_attacked(bundle, to_tensor(chosen), rng))).mul(255).round().byte()
    return AlarmFrames(
        clean=np.stack(squares),
        attacked=np.ascontiguousarray(perturbed.permute(0, 2, 3, 1).numpy()),
        corrupted=corrupted_frames(squares, KINDS.values(), CORRUPTED, rng),
        ordinary=corrupted_frames(squares, ORDINARY, ORDINARY_EACH, rng),
    )


def corrupted_frames(
    squares: Sequence[Frames], kinds: Iterable[Kind], count: int, rng: np.random.Generator
) -> list[CorruptedFrames]:
    """Corrupt ``count`` squares, drawn anew, for each corruption and severity of some kinds."""
    wanted = [(name, severity) for kind in kinds for name in kind.corruptions for severity in kind.severities]
    groups = []
    with bar(len(wanted), "corruptions for the alarm", "severity") as progress:
        for name, severity in wanted:
            origin = rng.permutation(len(squares))[:count]
            seeds = rng.integers(2**32, size=len(origin))
            frames = [
                corrupt(squares[i], name, severity, int(seed)) for i, seed in zip(origin, seeds, strict=True)
            ]
            groups.append(CorruptedFrames(name, severity, np.stack(frames)))
            progress.update(1)
    return groups


def _attacked(bundle: Bundle, images: torch.Tensor, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    head, rate = TorchGraph(bundle.graph("head")), ChannelRate(Tables.from_arrays(bundle.arrays("prior")))
    with bar(len(images), "attacks for the alarm", "frame") as progress:
        for batch in images.split(8):
            perturbation = Perturbation(batch, ATTACK_STEPS, rng)
            for _ in range(ATTACK_STEPS):
                perturbed = perturbation.images.requires_grad_(True)
                (gradient,) = torch.autograd.grad(rate(head(perturbed)[0]).sum(), perturbed)
                perturbation.grow(gradient)
            yield perturbation.images.detach()
            progress.update(len(batch))
