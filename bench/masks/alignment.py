"""How well one map agrees with another about where something is.

Only ranks count, so any rising function of a map scores like the map. Chance is an AUC of 1/2, a rank
correlation of 0, and an IoU of q / (2 - q) for evidence on a share q of the cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Map = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def top(values: Map, share: float = 0.25) -> Mask:
    """The largest ``share`` of the values, exactly round(share n) of them; of equals the first ones."""
    return _largest(values, round(share * values.size))


def auc(values: Map, evidence: Mask) -> float:
    """Area under the ROC curve: how often a cell of the evidence has a larger value than another cell.

    A tie counts half; NaN where the evidence is everywhere or nowhere.
    """
    inside = int(evidence.sum())
    outside = evidence.size - inside
    if not inside or not outside:
        return float("nan")
    ranks = rankdata(values, axis=None)[evidence.ravel()]
    return float((ranks.sum() - inside * (inside + 1) / 2) / (inside * outside))


def iou(values: Map, evidence: Mask) -> float:
    """Intersection over union of the evidence and as many cells of largest value."""
    chosen = _largest(values, int(evidence.sum()))
    return float((chosen & evidence).sum() / max(1, (chosen | evidence).sum()))


def spearman(first: Map, second: Map) -> float:
    """Rank correlation; 0 where a map is constant and so has nothing to say."""
    a, b = (_centred_ranks(values) for values in (first, second))
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def partial_spearman(first: Map, second: Map, given: Map) -> float:
    """Rank correlation of two maps that is left when both are cleared of a third; 0 where none can be.

    (r_ab - r_ac r_bc) / sqrt((1 - r_ac^2) (1 - r_bc^2)) of the rank correlations.
    """
    ab, ac, bc = spearman(first, second), spearman(first, given), spearman(second, given)
    left = (1 - ac**2) * (1 - bc**2)
    return (ab - ac * bc) / float(np.sqrt(left)) if left > 1e-12 else 0.0


def _largest(values: Map, count: int) -> Mask:
    chosen = np.zeros(values.size, dtype=bool)
    chosen[np.argsort(-values.ravel(), kind="stable")[:count]] = True
    return chosen.reshape(values.shape)


def _centred_ranks(values: Map) -> NDArray[np.float64]:
    ranks: NDArray[np.float64] = rankdata(values, axis=None)
    return ranks - ranks.mean()
