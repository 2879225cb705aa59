"""A corruption of your own: rows that the sensor lost.

python -m bench.resilience --data DIR --corruption examples.corruption:lost_rows --severity 1 3 5
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def lost_rows(image: NDArray[np.uint8], severity: int, seed: int) -> NDArray[np.uint8]:
    """Black rows, 2 % of them a step of severity; uint8 (S, S, 3) -> the same."""
    rows = np.random.default_rng(seed).random(len(image)) < 0.02 * severity
    return np.where(rows[:, None, None], np.uint8(0), image)
