"""The three modes and their settings.

| mode       | what it computes                                                       | iterations |
|------------|------------------------------------------------------------------------|------------|
| `rof`      | the minimiser of E(u) to a stated distance (``tolerance``)             | <= 100     |
| `descent`  | the paper's formula: masked gradient steps on the smoothed problem     | 100        |
| `released` | what the paper's released code does instead; for comparison only       | 100        |
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import DenoiseError

MODES = ("rof", "descent", "released")

WEIGHTS = {"rof": 0.05, "descent": 0.1, "released": 0.1}
"""lambda when none is given: the paper's for `descent` and `released`; `rof` converges, so it needs less."""

STEP = 0.15
"""a, the paper's step size."""

ITERATIONS = 100
"""The paper's number of steps, and the most that `rof` takes by default."""

TOLERANCE = 1 / 255
"""Largest RMS distance of `rof` to the exact minimiser, in units of the image: one grey level of 8 bits."""

MAX_ITERATIONS = 100_000

FIRST_TAU = 1.0
"""First primal step of `rof`. On photographs with and without noise 0.7 to 1.5 need the fewest steps."""


@dataclass(frozen=True)
class Settings:
    """A mode with everything that it needs; make it with ``settings``."""

    mode: str
    weight: float
    """lambda >= 0, in units of the image; larger smooths more."""
    iterations: int
    """Steps; for `rof` with a tolerance the most that it takes."""
    tolerance: float | None
    """`rof` stops when this RMS distance to the minimiser is *proven* by the gap; None: never before the
    end.
    """
    step: float
    """a of `descent`; `released` moves by a * lambda. `rof` has no use for it."""
    epsilon: float
    """Smoothing of the norm in `descent`, in units of the image."""


def settings(
    mode: str = "rof",
    weight: float | None = None,
    iterations: int | None = None,
    tolerance: float | None = None,
    step: float = STEP,
    epsilon: float | None = None,
) -> Settings:
    """Check and complete the settings of ``mode``; raises DenoiseError.

    `rof` with ``iterations`` and without ``tolerance`` takes exactly so many steps; with neither it stops at
    ``TOLERANCE``.
    """
    if mode not in MODES:
        raise DenoiseError(f"unknown mode {mode!r}: choose one of {', '.join(MODES)}")
    weight = _number("weight", WEIGHTS[mode] if weight is None else weight, 0.0, 1e6)
    step = _number("step", step, 0.0, 1.0)
    if tolerance is not None and mode != "rof":
        raise DenoiseError(f"mode {mode!r} takes a fixed number of steps: tolerance is for 'rof' only")
    if mode == "rof" and tolerance is None and iterations is None:
        tolerance = TOLERANCE
    if tolerance is not None:
        tolerance = _number("tolerance", tolerance, 1e-7, 1.0)
    if epsilon is None:
        epsilon = steady_epsilon(step, weight)
    return Settings(mode, weight, _count(iterations), tolerance, step, _number("epsilon", epsilon, 1e-6, 1e6))


def steady_epsilon(step: float, weight: float) -> float:
    """The least smoothing with which a step of `descent` cannot overshoot.

    The smoothed objective has a gradient with Lipschitz constant 1 + 8 lambda / epsilon, and a step a is a
    descent step as long as a (1 + 8 lambda / epsilon) <= 2.  With a smaller epsilon the iteration never
    settles: flat regions flicker by about a lambda, and rounding errors grow from step to step.
    """
    return max(8.0 * step * weight / (2.0 - step), 1e-4)


@functools.lru_cache(maxsize=32)
def schedule(iterations: int, first_tau: float = FIRST_TAU) -> NDArray[np.float64]:
    """(tau, sigma, theta) of each step of `rof`, (iterations, 3), read-only.

    tau_0 sigma_0 |grad|^2 = 1 with |grad|^2 <= 8, theta = 1 / sqrt(1 + 2 tau), tau <- theta tau,
    sigma <- sigma / theta (Chambolle-Pock 2011, algorithm 2, gamma = 1): the gap falls like 1 / n^2.
    """
    steps = np.empty((iterations, 3))
    tau, sigma = first_tau, 1.0 / (8.0 * first_tau)
    for n in range(iterations):
        theta = 1.0 / math.sqrt(1.0 + 2.0 * tau)
        steps[n] = tau, sigma, theta
        tau, sigma = theta * tau, sigma / theta
    steps.setflags(write=False)
    return steps


def _count(iterations: int | None) -> int:
    if iterations is None:
        return ITERATIONS
    if int(iterations) != iterations or not 0 <= iterations <= MAX_ITERATIONS:
        raise DenoiseError(
            f"iterations must be a whole number from 0 to {MAX_ITERATIONS}, not {iterations!r}"
        )
    return int(iterations)


def _number(name: str, value: float, low: float, high: float) -> float:
    value = float(value)
    if not low <= value <= high:  # false for NaN too
        raise DenoiseError(f"{name} must be a number from {low:g} to {high:g}, not {value!r}")
    return value
