"""The network as a server without a split runs it: nothing is rounded and nothing is coded.

Head, restore and tail of a bundle, with y in floating point between them. Except for the coefficients that
the bundle does not send, this is the unsplit network. The finest FP bundle drops the fewest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engines import EngineOptions, open_engine
from runtime.preprocess import to_input


class Unquantised:
    """Runs a bundle's graphs one after the other."""

    def __init__(self, bundle: Bundle, options: EngineOptions):
        self._head, self._restore, self._tail = (
            open_engine(bundle.graph(role), options) for role in ("head", "restore", "tail")
        )

    def logits(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (size, size, 3), prepared -> float32 (classes,)."""
        (logits,) = self._tail.run(self.features(square))
        return logits[0]

    def features(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (size, size, 3), prepared -> what the tail takes, float32 (1, C, H, W)."""
        (features,) = self._restore.run(self._head.run(to_input(square))[0])
        return features
