"""What became of one packet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.codec.packet import Flags


@dataclass(frozen=True)
class Answer:
    """What became of one packet.

    logits: float32 (classes,).
    flags: what the device had done to the frame.
    coarseness: of the steps in which it sent it (``runtime.codec.coarseness``).
    seconds: wall time by stage: queue (for a worker, and for the companions that it decoded as well), decode,
        tail (of all of them).
    together: frames in that run of the tail.
    """

    bundle: str
    logits: NDArray[np.float32]
    flags: Flags
    coarseness: int
    seconds: dict[str, float]
    together: int = 1
