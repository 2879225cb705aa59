# mypy: disable-error-code=no-untyped-def
"""The reference path: every step is its own launch, one thread a pixel, grid z a plane.

Planes are (P, H, W) float32 with P = N * C; masks are (N, H, W), the mask of plane p is p // channels.
"""

from __future__ import annotations

import math

import numpy as np

from .device import cuda

TINY = np.float32(1e-30)
ONE = np.float32(1.0)
ZERO = np.float32(0.0)


def released_step(source, target, masks, channels, rate):
    """u <- u + a lambda m ((u_right - u) + (u_below - u))."""
    x, y, p = cuda.grid(3)
    if x >= source.shape[2] or y >= source.shape[1]:
        return
    here = source[p, y, x]
    right = source[p, y, x + 1] if x + 1 < source.shape[2] else here
    below = source[p, y + 1, x] if y + 1 < source.shape[1] else here
    target[p, y, x] = here + rate * masks[p // channels, y, x] * ((right - here) + (below - here))


def descent_step(source, target, images, masks, channels, step, weight, epsilon):
    """x <- x - a m ((x - f) - lambda div p); the flux of the pixels to the left and above is computed
    anew.
    """
    x, y, p = cuda.grid(3)
    if x >= source.shape[2] or y >= source.shape[1]:
        return
    divergence = ZERO
    # This pixel's own flux leaves it, the flux of the left and of the upper neighbour enters it.
    for k in range(3):
        i, j = x - (1 if k == 1 else 0), y - (1 if k == 2 else 0)
        if i >= 0 and j >= 0:
            here = source[p, j, i]
            along_x = (source[p, j, i + 1] - here) if i + 1 < source.shape[2] else ZERO
            along_y = (source[p, j + 1, i] - here) if j + 1 < source.shape[1] else ZERO
            scale = ONE / math.sqrt(along_x * along_x + along_y * along_y + epsilon * epsilon)
            if k == 0:
                divergence += (along_x + along_y) * scale
            elif k == 1:
                divergence -= along_x * scale
            else:
                divergence -= along_y * scale
    here = source[p, y, x]
    slope = (here - images[p, y, x]) - weight * divergence
    target[p, y, x] = here - step * masks[p // channels, y, x] * slope


def rof_dual_step(ahead, q_x, q_y, masks, channels, weight, sigma):
    """q <- projection of q + sigma grad(ahead), in place: a pixel reads no other pixel's q."""
    x, y, p = cuda.grid(3)
    if x >= ahead.shape[2] or y >= ahead.shape[1]:
        return
    here = ahead[p, y, x]
    along_x = (ahead[p, y, x + 1] - here) if x + 1 < ahead.shape[2] else ZERO
    along_y = (ahead[p, y + 1, x] - here) if y + 1 < ahead.shape[1] else ZERO
    p_x = q_x[p, y, x] + sigma * along_x
    p_y = q_y[p, y, x] + sigma * along_y
    length = math.sqrt(max(p_x * p_x + p_y * p_y, TINY))
    scale = min(ONE, weight * masks[p // channels, y, x] / length)
    q_x[p, y, x] = p_x * scale
    q_y[p, y, x] = p_y * scale


def rof_primal_step(u, ahead, q_x, q_y, images, keep, pull, push):
    """x <- (x + tau (f + div q)) / (1 + tau), ahead <- x + theta (x - x_old), in place."""
    x, y, p = cuda.grid(3)
    if x >= u.shape[2] or y >= u.shape[1]:
        return
    left = q_x[p, y, x - 1] if x > 0 else ZERO
    above = q_y[p, y - 1, x] if y > 0 else ZERO
    divergence = (q_x[p, y, x] - left) + (q_y[p, y, x] - above)
    old = u[p, y, x]
    new = keep * old + pull * (images[p, y, x] + divergence)
    u[p, y, x] = new
    ahead[p, y, x] = new + push * (new - old)


def rof_gap(u, q_x, q_y, images, masks, channels, weight, gaps):
    """Add each pixel's part of ``objective.duality_gap`` to ``gaps`` (P,) float64."""
    x, y, p = cuda.grid(3)
    if x >= u.shape[2] or y >= u.shape[1]:
        return
    here = u[p, y, x]
    along_x = (u[p, y, x + 1] - here) if x + 1 < u.shape[2] else ZERO
    along_y = (u[p, y + 1, x] - here) if y + 1 < u.shape[1] else ZERO
    left = q_x[p, y, x - 1] if x > 0 else ZERO
    above = q_y[p, y - 1, x] if y > 0 else ZERO
    divergence = (q_x[p, y, x] - left) + (q_y[p, y, x] - above)
    residual = here - images[p, y, x] - divergence
    length = math.sqrt(along_x * along_x + along_y * along_y)
    slack = weight * masks[p // channels, y, x] * length - (q_x[p, y, x] * along_x + q_y[p, y, x] * along_y)
    cuda.atomic.add(gaps, p, np.float64(slack) + np.float64(0.5) * np.float64(residual * residual))


def copy_clipped(source, target):
    """target = source clipped to [0, 1]."""
    x, y, p = cuda.grid(3)
    if x < source.shape[2] and y < source.shape[1]:
        target[p, y, x] = min(max(source[p, y, x], ZERO), ONE)


def copy_twice(source, first, second):
    """first = second = source."""
    x, y, p = cuda.grid(3)
    if x < source.shape[2] and y < source.shape[1]:
        first[p, y, x] = source[p, y, x]
        second[p, y, x] = source[p, y, x]


def clear_twice(first, second):
    """first = second = 0."""
    x, y, p = cuda.grid(3)
    if x < first.shape[2] and y < first.shape[1]:
        first[p, y, x] = ZERO
        second[p, y, x] = ZERO
