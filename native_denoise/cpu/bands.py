"""How a batch is cut into bands of rows for threads, and the work array that holds them.

Three channels on two threads do not divide evenly.  If all steps are to be taken, a plane may change threads
half way (``turns``).  If not, threads take equal numbers of *rows* and a plane may be cut.  Both sides of a
cut keep ``halo`` rows of the other and compute them as well: after n steps n rows next to the edge are stale,
so a halo of n rows buys n steps without waiting for one another.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..vectors.simd import LANES
from .folded import room
from .rows import plane_size
from .sweeps import ACTIVE, BASE, BOTTOM, COLUMNS, DESCENT, FIRST, FRAME, LAST, PLANES, ROF, STACK, TOP
from .waves import MOST_LEVELS

Part = tuple[tuple[int, int], tuple[int, int]]
"""Which bands, and which of their steps, each as [first, last)."""

LINE = 16
"""float32 values in a cache line: where rows begin, if LANES allows."""


@dataclass(frozen=True)
class BandPlan:
    """Which thread computes what, and where."""

    bands: NDArray[np.int64]
    """(bands, COLUMNS), in the order of frame, stack and row; all still have to run."""
    chunks: tuple[tuple[int, int, int], ...]
    """One for each thread: first band, last band + 1, offset of what it may write over (not for `rof`)."""
    size: int
    """Length of the work array."""
    stride: int
    """Values in a row of the work array."""

    @property
    def cut(self) -> bool:
        """Whether any plane is shared by two threads."""
        return bool(np.any(self.bands[:, TOP] > 0))


def plan(
    frames: int, stacks: int, depth: int, height: int, width: int, planes: int, threads: int, halo: int
) -> BandPlan:
    """Cut ``frames`` x ``stacks`` stacks of ``depth`` planes of H x W for ``threads`` threads."""
    stride = -(-width // LANES) * LANES + LANES
    rows = frames * stacks * height
    cuts = sorted({_settle(round(i * rows / threads), height, halo) for i in range(threads + 1)})
    bands: list[list[int]] = []
    chunks = []
    offset = 0
    for begin, end in itertools.pairwise(cuts):
        first = len(bands)
        while begin < end:
            stack, top = divmod(begin, height)
            bottom = min(height, top + end - begin)
            band = [0] * COLUMNS
            band[FRAME], band[STACK] = divmod(stack, stacks)
            band[TOP], band[BOTTOM] = top, bottom
            band[FIRST], band[LAST] = max(0, top - halo), min(height, bottom + halo)
            band[BASE], band[ACTIVE] = offset, 1
            offset = _aligned(offset + planes * depth * plane_size(band[LAST] - band[FIRST], stride))
            bands.append(band)
            begin += bottom - top
        chunks.append((first, len(bands), offset))
        if planes < PLANES[ROF]:
            fluxes = MOST_LEVELS * 2 * depth * stride if planes == PLANES[DESCENT] else 0
            offset = _aligned(offset + max(fluxes, room(stride)))
    return BandPlan(np.array(bands, dtype=np.int64), tuple(chunks), offset, stride)


def turns(stacks: int, steps: int, threads: int, lead: int = 0) -> list[list[Part]]:
    """What each thread does, in order, to take all steps.

    Threads take equal numbers of *steps*, the first ``lead`` more than the others as far as nobody has to
    wait for that, so at most one stack is handed from a thread to the next: the one begins with its first
    steps and the other ends with the rest.  With ``threads <= stacks`` nobody waits (McNaughton 1959), and
    unlike a band of rows a stack has no halo.
    """
    # The thread that ends a stack is not to come to it before the other one has left it.
    lead = max(0, min(lead, (stacks - threads) * steps))
    each = (stacks * steps - lead) / threads
    cuts = [divmod(round(i * each + lead * (i > 0)), steps) for i in range(threads + 1)]
    result = []
    for (begin, skipped), (end, some) in itertools.pairwise(cuts):
        whole = (begin + (skipped > 0), end)
        parts = [((end, end + 1), (0, some))] if some else []
        parts += [(whole, (0, steps))] if whole[0] < whole[1] else []
        parts += [((begin, begin + 1), (skipped, steps))] if skipped else []
        result.append(parts)
    return result


def _settle(row: int, height: int, halo: int) -> int:
    """Move a cut to the edge of its plane unless both sides keep as many rows as the halo needs."""
    stack, inside = divmod(row, height)
    if inside < halo or height - inside < halo:
        inside = 0 if 2 * inside < height else height
    return stack * height + inside


def _aligned(offset: int) -> int:
    return -(-offset // LINE) * LINE


def aligned_zeros(size: int) -> NDArray[np.float32]:
    """A float32 array of zeros that begins on a cache line."""
    raw = np.zeros(size + LINE, dtype=np.float32)
    skip = (-raw.ctypes.data // 4) % LINE
    return raw[skip : skip + size]
