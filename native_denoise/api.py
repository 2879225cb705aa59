"""``denoise``, and ``denoise_planar``, the same without checks for a hot path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import objective
from .errors import BackendUnavailable, DenoiseError
from .frames import as_planes, check_image, check_mask, check_out
from .modes import STEP, Settings, settings

BACKENDS = ("auto", "cpu", "cuda", "reference")


@dataclass(frozen=True)
class Denoised:
    """What ``denoise(..., full_output=True)`` returns.  One entry a frame and stack: a stack is a channel,
    or all channels together if vectorial."""

    image: NDArray[Any]
    """Like the input: same shape, same dtype."""
    settings: Settings
    iterations: NDArray[np.int64]
    """(N, stacks): steps taken."""
    objective: NDArray[np.float64]
    """(N, stacks): E of ``image``, a sum over its pixels (``objective.energy``)."""
    gap: NDArray[np.float64] | None
    """(N, stacks): duality gap of `rof`, E - gap <= min E; None for the other modes, which minimise no E."""

    @property
    def rms_bound(self) -> NDArray[np.float64] | None:
        """(N, stacks): proven RMS distance to the exact minimiser, in units of the image; None without a
        gap.
        """
        if self.gap is None:
            return None
        pixels = self.image.size / self.gap.size
        return np.sqrt(2.0 * np.maximum(self.gap, 0.0) / pixels)


def denoise(
    image: NDArray[Any],
    mask: NDArray[Any] | None = None,
    *,
    mode: str = "rof",
    weight: float | None = None,
    iterations: int | None = None,
    tolerance: float | None = None,
    step: float = STEP,
    epsilon: float | None = None,
    vectorial: bool = False,
    backend: str = "auto",
    threads: int | None = None,
    out: NDArray[Any] | None = None,
    full_output: bool = False,
) -> Any:
    """Denoise ``image`` by total variation; returns an array like it, or ``Denoised`` with ``full_output``.

    image : (H, W), (H, W, C) or (N, H, W, C); float32 in [0, 1] or uint8.  Never altered.
    mask : where to smooth and how much, (H, W) or (N, H, W) in [0, 1]; None is 1 everywhere.  `rof` takes
        lambda times the mask, the other modes the step.  0 leaves `descent` and `released` pixels as they
        are, and lets `rof` move them only towards neighbours that are smoothed.
    mode : 'rof', 'descent' or 'released' (``modes``).
    weight : lambda >= 0, larger smooths more (``objective``); None is the mode's default (``modes.WEIGHTS``).
    iterations, tolerance : `rof` stops when its RMS distance to the minimiser is proven to be at most
        ``tolerance`` (default 1/255), or after ``iterations`` (default 100); with ``iterations`` alone it
        takes exactly so many.  The other modes take ``iterations`` steps (100).
    step, epsilon : a and the smoothing of the norm in `descent` (``modes.steady_epsilon``).
    vectorial : one norm over all channels, so that they keep their edges in common; not for 'released'.
    backend : 'cpu' (also 'auto'), 'reference' (float64 NumPy, slow), or 'cuda', which copies the image to the
        GPU and back; for arrays that are there already use ``native_denoise.cuda.denoise_device``.
    threads : at most so many; None: as many as there are cores and it pays.
    out : where to put the result; must not share memory with ``image``.

    The result is clipped to [0, 1].  Raises DenoiseError for NaN, a wrong shape, range or setting.
    """
    image = check_image(image)
    result = check_out(out, image)
    planes = as_planes(image)
    masks = check_mask(mask, planes.shape[0], *planes.shape[2:])
    chosen = settings(mode, weight, iterations, tolerance, step, epsilon)
    taken, gaps = _solve(planes, masks, chosen, vectorial, backend, threads, as_planes(result))
    if not full_output:
        return result
    return Denoised(
        result, chosen, taken, _energies(planes, as_planes(result), masks, chosen, vectorial), gaps
    )


def denoise_planar(
    planes: NDArray[np.float32],
    mask: NDArray[np.float32] | None,
    chosen: Settings,
    out: NDArray[np.float32],
    *,
    vectorial: bool = False,
    threads: int | None = None,
) -> NDArray[np.int64]:
    """``denoise`` on the CPU for a hot path: no checks of values, nothing allocated that is as large as a
    plane.

    planes, out : float32 (C, H, W) or (N, C, H, W) in [0, 1], any strides; they may be the same array.
    mask : float32 (H, W) or (N, H, W) in [0, 1], or None.
    chosen : from ``settings(...)``; make it once.

    Returns the steps taken, (N, stacks).  Work arrays belong to the calling thread and are kept for its
    next call.
    """
    if planes.shape != out.shape or planes.dtype != np.float32 or out.dtype != np.float32:
        raise DenoiseError(f"out must be float32 like planes, {planes.shape}, not {out.dtype} {out.shape}")
    if planes.ndim == 3:
        planes, out = planes[None], out[None]
        mask = None if mask is None else mask[None]
    if mask is not None and mask.shape != (planes.shape[0], *planes.shape[2:]):
        raise DenoiseError(f"mask {mask.shape} does not fit planes {planes.shape}")
    return _solve(planes, mask, chosen, vectorial, "cpu", threads, out)[0]


def _solve(
    planes: NDArray[Any],
    masks: NDArray[np.float32] | None,
    chosen: Settings,
    vectorial: bool,
    backend: str,
    threads: int | None,
    out: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """(N, C, H, W) to ``out``; returns steps and gaps."""
    if vectorial and chosen.mode == "released":
        raise DenoiseError("mode 'released' is linear: it has no norm that could be vectorial")
    if threads is not None and threads < 1:
        raise DenoiseError(f"threads must be at least 1, not {threads}")
    # Solvers are imported when they are first needed: Numba takes a second to load.
    if backend in ("auto", "cpu"):
        from .cpu import solver

        return solver.solve(planes, masks, chosen, vectorial, threads, out)
    if backend == "reference":
        from .reference import solve_batch

        return solve_batch(planes, masks, chosen, vectorial, out)
    if backend == "cuda":
        try:
            from .cuda import solver as cuda_solver
        except ImportError as error:
            raise BackendUnavailable(
                f"backend 'cuda' needs numba-cuda: pip install 'ratehold[gpu]' ({error})"
            ) from error
        return cuda_solver.solve(planes, masks, chosen, vectorial, out)
    raise DenoiseError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")


def _energies(
    planes: NDArray[Any],
    result: NDArray[Any],
    masks: NDArray[np.float32] | None,
    chosen: Settings,
    vectorial: bool,
) -> NDArray[np.float64]:
    """E of each stack, by the reference."""
    scale = 255.0 if planes.dtype == np.uint8 else 1.0
    f, u = planes / np.float64(scale), result / np.float64(scale)
    depth = planes.shape[1] if vectorial else 1
    energies = np.empty((len(planes), planes.shape[1] // depth))
    for frame, stack in np.ndindex(energies.shape):
        here = slice(stack * depth, (stack + 1) * depth)
        weights = 1.0 if masks is None else masks[frame].astype(np.float64)
        energies[frame, stack] = objective.energy(
            u[frame, here], f[frame, here], chosen.weight, weights, vectorial
        )
    return energies
