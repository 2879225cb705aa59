"""Query-only: the attacker sends a frame, sees the length of the packet, and tries again.

The attacker knows no model: the length is all that an observer of an encrypted link has. The search is
Square Attack (Andriushchenko et al., ECCV 2020): squares at random places, smaller and smaller, kept when
the packet does not shrink (a rANS payload grows by words of four bytes, so small gains show as none).
Unlike there a square is filled with a random checkerboard or stripes and not with one colour: the entropy
model charges for texture. With 300 queries at 4/255 that adds 13 % to the bytes of
efficientnet_lite0-fp-r1, plain squares 7 % (6 images).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from bench.attacks.ascent import Setting
from bench.attacks.budget import levels
from bench.attacks.differentiable.device import as_frames
from bench.attacks.differentiable.target import Target
from bench.common.errors import AttackError

Frame = NDArray[np.uint8]
FIRST_SHARE = 0.3
"""Area of the first squares, as a share of the frame's."""

SMALLEST = 4
"""Side of the last squares, in pixels."""

LONGEST_RUN = 8
"""Pixels of one sign in a row, at most: half a period."""


def black_box(
    length: Callable[[Frame], int], frame: Frame, eps: float, *, queries: int, seed: int = 0
) -> Frame:
    """The frame, uint8 (S, S, 3) within eps (l_inf, in units of [0, 1]), with the longest packet found.

    ``length`` is asked ``queries`` + 1 times for the bytes of a packet, the first time of ``frame`` itself:
    ``lambda frame: len(head.encode(frame).to_bytes())``.
    """
    rng = np.random.default_rng(seed)
    size, reach = frame.shape[0], levels(eps)
    change = np.zeros(frame.shape, dtype=np.int64)
    longest = length(frame)
    for query in range(queries):
        side = max(SMALLEST, round(size * math.sqrt(FIRST_SHARE) * (1 - query / queries)))
        top, left = rng.integers(0, size - side + 1, 2)
        trial = change.copy()
        trial[top : top + side, left : left + side] = reach * _texture(side, rng)
        found = length(_added(frame, trial))
        if found >= longest:
            longest, change = found, trial
    return _added(frame, change)


QUERIES = 500
"""Of a frame, unless said otherwise."""


def queried(
    target: Target,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: float,
    *,
    steps: int = QUERIES,
    seed: int = 0,
    setting: Setting = "unmasked",
    restarts: int = 1,
) -> torch.Tensor:
    """The longest packet that so many queries find; knows nothing but lengths.

    As a ``Threat``: ``steps`` are queries, and of the target only its ``device`` is asked. Raises AttackError
    where it has none.
    """
    if target.device is None:
        raise AttackError("queries need a sender to ask: Target.open(bundle, Guard(...))")
    found = [
        black_box(target.device.length, frame, eps, queries=steps, seed=seed + number)
        for number, frame in enumerate(as_frames(images))
    ]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 255


def _texture(side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A checkerboard of random periods, or stripes, in random signs of the colours: +-1, (side, side, 3)."""
    rows, columns = (_square_wave(side, rng) for _ in range(2))
    plane = rows[:, None] * columns
    colours: NDArray[np.int64] = rng.choice(np.array([-1, 1]), 3)
    return plane[..., None] * colours


def _square_wave(side: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A square wave of random period and phase, or one time in four a constant: +-1, (side,)."""
    if rng.random() < 0.25:
        return np.ones(side, dtype=np.int64)
    run = int(rng.integers(1, LONGEST_RUN + 1))
    phase = int(rng.integers(0, 2 * run))
    return 1 - 2 * (((np.arange(side) + phase) // run) % 2)


def _added(frame: Frame, change: NDArray[np.int64]) -> Frame:
    return np.clip(frame + change, 0, 255).astype(np.uint8)
