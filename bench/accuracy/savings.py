"""What the hyperprior saves against the factorized prior: bytes at equal accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TOLERANCE = 0.005
"""Accuracies that differ by no more count as equal, at the ends of a curve."""

Curve = Sequence[tuple[float, float]]
"""(top-1 as a share, mean bytes) of each rate."""


def bytes_at(curve: Curve, top1: float) -> float | None:
    """Bytes at which a curve reaches ``top1``, or any other quality that grows with bytes: linear between its
    points, in the logarithm of the bytes.

    Points that another one beats in both are left out. None where ``top1`` is more than ``TOLERANCE`` beyond
    its ends.
    """
    points = sorted(p for p in curve if not any(q[0] >= p[0] and q[1] < p[1] for q in curve))
    accuracies = [accuracy for accuracy, _ in points]
    if not accuracies[0] - TOLERANCE <= top1 <= accuracies[-1] + TOLERANCE:
        return None
    return float(np.exp(np.interp(top1, accuracies, np.log([size for _, size in points]))))


def savings(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Percent of bytes that each MSHP rate saves; negative when it costs bytes.

    ``mshp_saving_r1`` at equal accuracy (None: the FP curve does not go there), ``mshp_saving_same_rate_r1``
    against the FP bundle of the same rate whatever its accuracy. ``mshp_saving_equal_divergence_r1``: where
    the FP curve is as far from the uncoded network's answers; that varies far less from one set of images to
    the next than top-1 does. ``rows`` are of one family of bundles.
    """
    faithful = [(-row["divergence_nats"], row["bytes_mean"]) for row in rows if row["prior"] == "fp"]
    fp = {row["rate"]: (row["top1"], row["bytes_mean"]) for row in rows if row["prior"] == "fp"}
    found: dict[str, float | None] = {}
    for row in sorted((row for row in rows if row["prior"] == "mshp" and fp), key=lambda row: row["rate"]):
        found[f"mshp_saving_r{row['rate']}"] = _percent(
            row["bytes_mean"], bytes_at(list(fp.values()), row["top1"])
        )
        found[f"mshp_saving_equal_divergence_r{row['rate']}"] = _percent(
            row["bytes_mean"], bytes_at(faithful, -row["divergence_nats"])
        )
        if row["rate"] in fp:
            found[f"mshp_saving_same_rate_r{row['rate']}"] = _percent(row["bytes_mean"], fp[row["rate"]][1])
    return found


def _percent(size: float, reference: float | None) -> float | None:
    return None if reference is None else 100 * (1 - size / reference)
