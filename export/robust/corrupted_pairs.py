"""Frames before and after a corruption, to train an adapted head on. Without torch: processes start fast."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from export.calibrate.images import random_view
from export.progress import bar
from export.robust.corruptions import SEVERITIES, corrupt
from runtime.preprocess import Preprocess

SHARES = {
    "snow": 5, "spatter": 3, "saturate": 3, "jpeg_compression": 2,
    "gaussian_noise": 1, "shot_noise": 1, "impulse_noise": 1, "speckle_noise": 1,
}  # fmt: skip
"""Frames of each corruption: most of those that cost most bytes."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """A frame uint8 (S, S, 3) before and after a corruption."""

    clean: Frames
    corrupted: Frames


def corrupted_pairs(
    photographs: Sequence[Frames], prepare: Preprocess, views: int, processes: int | None = None
) -> tuple[Frames, Frames]:
    """``views`` squares of each photograph, and the same squares after one corruption of ``SHARES`` each.

    Both uint8 (N, S, S, 3); severities are drawn at random. The same photographs make the same pairs.

    processes: that share the work: by default one a core; 1 is this process alone.
    """
    count = processes or len(os.sched_getaffinity(0))
    one = partial(_pairs_of, prepare=prepare, views=views)
    with ExitStack() as stack:
        progress = stack.enter_context(bar(len(photographs), "corrupted frames", "photograph"))
        numbered = enumerate(photographs)
        if count == 1:
            made: Iterator[list[Pair]] = map(one, numbered)
        else:
            pool = stack.enter_context(ProcessPoolExecutor(count, get_context("spawn")))
            made = pool.map(one, numbered, chunksize=8)
        pairs = []
        for some in made:
            pairs += some
            progress.update(1)
    return np.stack([pair.clean for pair in pairs]), np.stack([pair.corrupted for pair in pairs])


def _pairs_of(numbered: tuple[int, Frames], prepare: Preprocess, views: int) -> list[Pair]:
    number, photograph = numbered
    rng = np.random.default_rng((number, views))
    names = [name for name, share in SHARES.items() for _ in range(share)]
    pairs = []
    for _ in range(views):
        square = np.ascontiguousarray(random_view(photograph, prepare, rng))
        name, severity = names[rng.integers(len(names))], int(rng.choice(SEVERITIES))
        pairs.append(Pair(square, corrupt(square, name, severity, int(rng.integers(2**32)))))
    return pairs
