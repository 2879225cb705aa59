"""The three iterations in float64 NumPy, step by step as they are defined: slow, and right.

Every fast solver runs these iterations in the same order, so it is compared with them at an equal number of
steps and not only at convergence.  Shapes as in ``objective``: planes are (C, H, W), a mask is (H, W) or 1.0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .modes import Settings, schedule
from .objective import Array, Weights, divergence, duality_gap, gradient, project, smoothed_variation_gradient


def descent(f: Array, mask: Weights, settings: Settings, vectorial: bool = False) -> Array:
    """x <- x - a m ((x - f) + lambda g(x)), the formula of the paper, from x = f."""
    x = f.copy()
    for _ in range(settings.iterations):
        slope = (x - f) + settings.weight * smoothed_variation_gradient(x, settings.epsilon, 1.0, vectorial)
        x = x - settings.step * mask * slope
    return x


def released(f: Array, mask: Weights, settings: Settings, vectorial: bool = False) -> Array:
    """u <- u + a lambda m (u[y, x+1] - u + u[y+1, x] - u): what the paper's released code computes.

    It aliases its input, so the fidelity term is zero, and it drops the normalisation of the gradient.
    What is left is linear: a blur and a shift towards the origin.  For comparison only.
    """
    u = f.copy()
    for _ in range(settings.iterations):
        along_x, along_y = gradient(u)
        u = u + settings.step * settings.weight * mask * (along_x + along_y)
    return u


def rof(
    f: Array,
    mask: Weights,
    settings: Settings,
    vectorial: bool = False,
    watch: Callable[[Array, tuple[Array, Array]], object] | None = None,
) -> tuple[Array, float]:
    """The minimiser of E by the accelerated primal-dual method; returns it with its duality gap.

    Chambolle-Pock 2011, algorithm 2 with gamma = 1 (E is 1-strongly convex) and the step sizes of
    ``modes.schedule``.  ``watch`` sees (x, (q_x, q_y)) after each step.
    """
    x, ahead = f.copy(), f.copy()
    q = (np.zeros_like(f), np.zeros_like(f))
    radius = settings.weight * mask
    for tau, sigma, theta in schedule(settings.iterations):
        along_x, along_y = gradient(ahead)
        q = project(q[0] + sigma * along_x, q[1] + sigma * along_y, radius, vectorial)
        before = x
        x = (x + tau * (f + divergence(*q))) / (1.0 + tau)
        ahead = x + theta * (x - before)
        if watch is not None:
            watch(x, q)
    return x, duality_gap(x, q, f, settings.weight, mask, vectorial)


def solve(f: Array, mask: Weights, settings: Settings, vectorial: bool = False) -> Array:
    """The mode that ``settings`` names; values as the iteration leaves them, not clipped."""
    f = np.asarray(f, dtype=np.float64)
    if settings.mode == "rof":
        return rof(f, mask, settings, vectorial)[0]
    return {"descent": descent, "released": released}[settings.mode](f, mask, settings, vectorial)


def solve_batch(
    planes: NDArray[Any],
    masks: NDArray[np.float32] | None,
    settings: Settings,
    vectorial: bool,
    out: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """``solve`` for (N, C, H, W), float32 or uint8, clipped to [0, 1]: the backend 'reference'.

    Takes all steps: it has no use for a tolerance.  Returns steps and gaps (N, stacks) as the fast solvers
    do.
    """
    scale = 255.0 if planes.dtype == np.uint8 else 1.0
    depth = planes.shape[1] if vectorial else 1
    gaps = np.zeros((planes.shape[0], planes.shape[1] // depth))
    for frame, stack in np.ndindex(gaps.shape):
        here = slice(stack * depth, (stack + 1) * depth)
        f = planes[frame, here] / np.float64(scale)
        mask = 1.0 if masks is None else masks[frame].astype(np.float64)
        if settings.mode == "rof":
            u, gaps[frame, stack] = rof(f, mask, settings, vectorial)
        else:
            u = solve(f, mask, settings, vectorial)
        u = np.clip(u, 0.0, 1.0) * scale
        out[frame, here] = np.floor(u + 0.5) if scale == 255.0 else u
    taken = np.full(gaps.shape, settings.iterations, dtype=np.int64)
    return taken, gaps if settings.mode == "rof" else None
