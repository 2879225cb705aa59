"""The problem that this package solves, in float64 NumPy: the reference for every solver.

For one plane f of H x W values in [0, 1], weights w >= 0 and a regularisation weight lambda >= 0

    E(u) = 1/2 sum_p (u_p - f_p)^2  +  lambda sum_p w_p |grad u|_p .

``grad`` takes forward differences, (u[y, x+1] - u[y, x], u[y+1, x] - u[y, x]), and replicates the border: the
difference past the last column or row is zero.  ``|.|_p`` is the Euclidean norm of the two differences of one
plane (isotropic); in the *vectorial* problem of a stack of planes it is the norm over the differences of
all of them, so that edges stay where they are in every channel.  A larger lambda, or a larger w, smooths
more.  Values have the unit of the image, so lambda is a difference in grey level: lambda = 0.1 removes
about 25 of 255.

The dual, with one two-vector q_p a pixel and ``div`` the negative adjoint of ``grad``:

    maximise D(q) = 1/2 |f|^2 - 1/2 |f + div q|^2   subject to   |q_p| <= lambda w_p ,

E(u) >= D(q) for all u and feasible q, with equality only at the solution u = f + div q.  E is 1-strongly
convex: 1/2 |u - u*|^2 <= E(u) - D(q), so the gap bounds the distance to the exact minimiser.

Sources: Rudin, Osher, Fatemi, Physica D 60 (1992); Chambolle, JMIV 20 (2004), for the dual; Chambolle,
Pock, JMIV 40 (2011), for the gap and the accelerated method; the smoothed form is the one of "Resilience of
Entropy Model in Distributed Neural Networks" (arXiv 2403.00942).

Shapes: a plane is (H, W), a stack of planes (C, H, W); weights are (H, W) or a number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Any
"""(H, W) float64 or a number."""


def gradient(u: Array) -> tuple[Array, Array]:
    """Forward differences of ``u`` (..., H, W) along x and along y, zero past the last column and row."""
    along_x = np.zeros_like(u)
    along_y = np.zeros_like(u)
    along_x[..., :, :-1] = u[..., :, 1:] - u[..., :, :-1]
    along_y[..., :-1, :] = u[..., 1:, :] - u[..., :-1, :]
    return along_x, along_y


def divergence(along_x: Array, along_y: Array) -> Array:
    """Minus the adjoint of ``gradient``: <gradient(u), q> = -<u, divergence(q)> for all q."""
    result = np.zeros_like(along_x)
    result[..., :, :-1] += along_x[..., :, :-1]
    result[..., :, 1:] -= along_x[..., :, :-1]
    result[..., :-1, :] += along_y[..., :-1, :]
    result[..., 1:, :] -= along_y[..., :-1, :]
    return result


def norm(along_x: Array, along_y: Array, vectorial: bool = False) -> Array:
    """|.|_p: (..., H, W); vectorial: over the stack too, (1, H, W) for (C, H, W)."""
    squares = along_x**2 + along_y**2
    if vectorial:
        squares = squares.sum(axis=-3, keepdims=True)
    return np.sqrt(squares)


def total_variation(u: Array, weights: Weights = 1.0, vectorial: bool = False) -> float:
    """sum_p w_p |grad u|_p."""
    return float((weights * norm(*gradient(u), vectorial)).sum())


def energy(u: Array, f: Array, weight: float, weights: Weights = 1.0, vectorial: bool = False) -> float:
    """E(u), in squared grey levels summed over all pixels; ``weight`` is lambda, ``weights`` is w."""
    return float(0.5 * ((u - f) ** 2).sum()) + weight * total_variation(u, weights, vectorial)


def smoothed_energy(
    u: Array, f: Array, weight: float, epsilon: float, weights: Weights = 1.0, vectorial: bool = False
) -> float:
    """E with |grad u|_p replaced by sqrt(|grad u|_p^2 + epsilon^2), which has a gradient everywhere."""
    smooth = np.sqrt(norm(*gradient(u), vectorial) ** 2 + epsilon**2)
    return float(0.5 * ((u - f) ** 2).sum()) + weight * float((weights * smooth).sum())


def smoothed_variation_gradient(
    u: Array, epsilon: float, weights: Weights = 1.0, vectorial: bool = False
) -> Array:
    """Gradient of sum_p w_p sqrt(|grad u|_p^2 + epsilon^2): -div(w grad u / sqrt(|grad u|^2 + epsilon^2))."""
    along_x, along_y = gradient(u)
    scale = weights / np.sqrt(norm(along_x, along_y, vectorial) ** 2 + epsilon**2)
    return -divergence(scale * along_x, scale * along_y)


def project(along_x: Array, along_y: Array, radius: Weights, vectorial: bool = False) -> tuple[Array, Array]:
    """The nearest dual field with |q_p| <= radius_p."""
    length = norm(along_x, along_y, vectorial)
    scale = np.minimum(1.0, radius / np.maximum(length, 1e-30))
    return scale * along_x, scale * along_y


def duality_gap(
    u: Array, q: tuple[Array, Array], f: Array, weight: float, weights: Weights = 1.0, vectorial: bool = False
) -> float:
    """E(u) - D(q) >= 0 for a feasible q, written as a sum of terms that are never negative.

    E(u) - D(q) = sum_p (lambda w_p |grad u|_p - <q_p, (grad u)_p>) + 1/2 |u - f - div q|^2.
    """
    along_x, along_y = gradient(u)
    aligned = q[0] * along_x + q[1] * along_y
    slack = weight * total_variation(u, weights, vectorial) - float(aligned.sum())
    return slack + 0.5 * float(((u - f - divergence(*q)) ** 2).sum())
