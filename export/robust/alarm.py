"""The alarm of a robust bundle: one discriminant for attacks, and one for each kind of costly corruption.

The features are the bits that each channel of y costs. An attack on the rate wakes coefficients that
photographs leave asleep; snow, mud, a noisy sensor and a codec each do so in their own way. The alarm hardly
sees a corruption of another kind than it was fitted to (docs/results.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.progress import bar
from export.robust.alarm_frames import KINDS, AlarmFrames, Frames
from export.robust.discriminant import discriminant
from runtime.bundle import Bundle
from runtime.guard.alarm import features
from runtime.head import Head

BESIDE_ORDINARY = "codec"
"""The kind whose clean side includes the ordinary corruptions.

A codec blurs too, and edges after it look like those of strong colours. Fitted on clean photographs alone,
the discriminant of codecs rings for one ordinary frame in twenty. The other discriminants leave the ordinary
corruptions out: fitted with them, they would miss half of light snow."""

DEVIATIONS = 5.5
"""Threshold for attacks, in standard deviations above the mean of clean frames.

Their tail is heavier than Gaussian, and photographs of another origin than the fitted ones score higher: one
in 250 of those rings."""

SURE = 0.05
"""Quantile of a kind's scores that counts as its least sure frame.

Where that frame scores above all clean frames, the threshold lies half-way between its score and the highest
clean score. That spares clean frames of another origin a false alarm, and costs no detection of surer
frames."""


def fit_alarm(bundle: Bundle, frames: AlarmFrames) -> dict[str, NDArray[np.float32]]:
    """The arrays of guard.npz. A third of the clean and ordinary frames is kept for the thresholds."""
    head = Head(bundle)
    with bar(len(frames), f"{bundle.manifest.name}: alarm", "frame") as progress:

        def look(some: Frames) -> NDArray[np.float32]:
            progress.update(len(some))
            return np.stack([features(head.analyse(frame)) for frame in some])

        clean, attacked = look(frames.clean), look(frames.attacked)
        corrupted = {(group.name, group.severity): look(group.frames) for group in frames.corrupted}
        ordinary = np.concatenate([clean, *(look(group.frames) for group in frames.ordinary)])
    fit, held_out = _thirds(clean)
    weights = [discriminant(fit, attacked, held_out, pooled=False)]
    thresholds = [(held_out @ weights[0]).mean() + DEVIATIONS]
    for name, kind in KINDS.items():
        fit, held_out = _thirds(ordinary if name == BESIDE_ORDINARY else clean)
        unusual = np.concatenate(
            [corrupted[one, severity] for one in kind.corruptions for severity in kind.severities]
        )
        weights.append(discriminant(fit, unusual, held_out, pooled=True))
        scores, highest = unusual @ weights[-1], (held_out @ weights[-1]).max()
        thresholds.append((highest + max(highest, np.quantile(scores, SURE))) / 2)
    return {"discriminants": np.stack(weights), "bias": -np.array(thresholds, dtype=np.float32)}


def _thirds(some: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two thirds to fit, one third to set the threshold."""
    kept = np.arange(len(some)) % 3 == 0
    return some[~kept], some[kept]
