"""The alarm of a robust bundle: one discriminant a kind of frame that costs more than it should.

The corruptions are those of ImageNet-C, on other photographs and with other seeds than ``bench.resilience``
measures; a kind that is not among them is hardly seen (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.corruptions import corrupt
from export.disturb import Perturbation
from export.progress import bar
from export.suspicion import discriminant
from export.table_bits import ChannelRate
from export.torch_graph import TorchGraph
from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.guard import features
from runtime.head import Head
from runtime.latent import Latent
from runtime.prior import Prior, Stream, open_prior
from runtime.tables import Tables

ATTACK = "attack"
ATTACK_STEPS = 12
ATTACKED = 200  # frames: the mean of the discriminant's other side

KINDS = {
    "noise": (("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"), (4, 5)),
    "snow": (("snow",), (1, 2, 3, 4, 5)),
    "water": (("spatter",), (1, 2, 3)),
    "mud": (("spatter",), (4, 5)),
    "codec": (("jpeg_compression",), (1, 2, 3, 4, 5)),
    "saturation": (("saturate",), (3, 4, 5)),
}
"""Corruptions that make frames dearer, and at which severities, by what they look like to the prior."""
CORRUPTED = 600  # frames of each kind
MOST_TRIM = 12
"""Largest coarseness of a kind, for three tenths of the bytes: more costs answers."""

DEVIATIONS = 5.5
"""Threshold of the attack, in standard deviations above the mean of clean frames. Their tail is heavier than
Gaussian, and photographs of another origin than those of the fit sit higher: one in 250 is suspected."""
SURE = 0.05
"""Share of a kind's frames below the least of the sure ones. Where these are above all clean frames, the
threshold is half-way between: it costs nothing and spares clean frames of another origin a false alarm."""

Frames = NDArray[np.uint8]


def alarm_frames(
    bundle: Bundle,
    squares: Sequence[Frames],
    attacked: int = ATTACKED,
    corrupted: int = CORRUPTED,
    seed: int = 0,
) -> dict[str, Frames]:
    """Frames to fit the alarm, uint8 (N, S, S, 3) by kind: ``clean``, ``attack`` and each of ``KINDS``.

    bundle: factorized; PGD-E at random eps attacks its head. squares: uint8 (S, S, 3), in any order.
    """
    rng = np.random.default_rng(seed)
    chosen = np.stack([squares[i] for i in rng.permutation(len(squares))[:attacked]])
    images = torch.from_numpy(chosen.transpose(0, 3, 1, 2).copy()).float() / 255
    perturbed = torch.cat(list(_attacked(bundle, images, rng))).mul(255).round().byte()
    frames = {
        "clean": np.stack(squares),
        ATTACK: np.ascontiguousarray(perturbed.permute(0, 2, 3, 1).numpy()),
    }
    with bar(len(KINDS) * min(corrupted, len(squares)), "corruptions for the alarm", "frame") as progress:
        for kind in KINDS:
            some = rng.permutation(len(squares))[:corrupted]
            frames[kind] = np.stack([_corrupted(squares[i], kind, rng) for i in some])
            progress.update(len(some))
    return frames


def fit_alarm(bundle: Bundle, frames: Mapping[str, Frames]) -> dict[str, NDArray[Any]]:
    """The arrays of guard.npz. A third of the clean frames is kept for the thresholds."""
    head, prior = Head(bundle), open_prior(bundle, EngineOptions())
    with bar(sum(map(len, frames.values())), f"{bundle.manifest.name}: alarm", "frame") as progress:

        def look(frame: Frames) -> Latent:
            progress.update(1)
            return head.analyse(frame)

        clean, attacked = (
            np.stack([features(look(frame)) for frame in frames[kind]]) for kind in ("clean", ATTACK)
        )
        kept = np.arange(len(clean)) % 3 == 0
        fit, held_out = clean[~kept], clean[kept]
        clean_bits = float(clean.sum(1).mean())
        weights = [discriminant(fit, attacked, held_out, pooled=False)]
        thresholds, trims = [(held_out @ weights[0]).mean() + DEVIATIONS], [0]
        for kind in frames:
            if kind in ("clean", ATTACK):
                continue
            looks = [look(frame) for frame in frames[kind]]
            corrupted = np.stack([features(latent) for latent in looks])
            weights.append(discriminant(fit, corrupted, held_out, pooled=True))
            scores, highest = corrupted @ weights[-1], (held_out @ weights[-1]).max()
            thresholds.append((highest + max(highest, np.quantile(scores, SURE))) / 2)
            found = float(np.mean(scores > thresholds[-1]))
            trims.append(trim(prior, [latent.streams[-1] for latent in looks], clean_bits, found))
    return {
        "weights": np.stack(weights),
        "bias": -np.array(thresholds, dtype=np.float32),
        "trim": np.array(trims, dtype=np.int32),
    }


def trim(prior: Prior, of_y: Sequence[Stream], clean_bits: float, found: float) -> int:
    """The coarseness at which the share ``found`` of the corrupted frames saves what all of them add.

    of_y: of corrupted frames. clean_bits: mean of clean ones. At most ``MOST_TRIM``, and 0 where the frames
    are no dearer.
    """

    def bits(coarseness: int) -> float:
        return float(np.mean([prior.coarser(y, coarseness).total_bits()[0] for y in of_y]))

    dear = bits(0)
    wanted = dear - (dear - clean_bits) / max(found, 1e-9)
    return next((c for c in range(MOST_TRIM) if bits(c) <= wanted), MOST_TRIM)


def _corrupted(frame: Frames, kind: str, rng: np.random.Generator) -> Frames:
    names, severities = KINDS[kind]
    return corrupt(frame, str(rng.choice(names)), int(rng.choice(severities)), seed=int(rng.integers(2**32)))


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
