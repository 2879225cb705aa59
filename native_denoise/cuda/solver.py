"""Denoising on the GPU: for arrays that are there (``denoise_device``), and for arrays of the host
(``solve``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendUnavailable, DenoiseError
from ..modes import Settings
from . import planes as kernels
from .device import as_device_array, as_stream, cuda, described
from .fronts import Tile, rof_front
from .strips import Strips, descent_strips, released_strips
from .workspace import Workspace


def denoise_device(images: Any, masks: Any, workspace: Workspace, out: Any, *, stream: Any = 0) -> None:
    """Queue the denoising of ``images`` into ``out`` on ``stream`` and return without waiting.

    images, out : float32 (C, H, W) or (N, C, H, W) in [0, 1], contiguous, on the GPU; any library's arrays
    with
        ``__cuda_array_interface__``.  No value is checked and nothing is copied to or from the host.
    masks : (N, H, W), or (H, W) for one frame, likewise; None is 1 everywhere.
    stream : a Numba stream, a raw handle, or 0.

    Takes exactly ``workspace.chosen.iterations`` steps: to stop at a tolerance the host would have to wait.
    The result is clipped to [0, 1].  From the second call with the same arrays on, one CUDA graph replaces
    all launches: a stream of frames should come in the same few arrays.
    """
    key = (described(images), described(masks), described(out))
    if workspace.replay(key, stream):  # a call in Python of everything below takes longer than the GPU
        return
    count, height, width = workspace.shape
    frames = count // workspace.channels
    source = _stacked("images", images, workspace)
    target = _stacked("out", out, workspace)
    if masks is None:
        weights = workspace.ones
    else:
        weights = as_device_array("masks", masks).reshape((frames, height, width))

    def queue(stream: Any) -> None:
        result = source
        if workspace.chosen.mode == "rof":
            begin_rof(workspace, source, stream)
            result = advance_rof(workspace, source, weights, 0, workspace.chosen.iterations, stream)
        elif workspace.chosen.iterations > 0:
            result = _iterate(workspace, source, weights, stream)
        workspace.launch(kernels.copy_clipped, stream, result, target)

    workspace.repeat(queue, key, as_stream(stream))


def _stacked(name: str, array: Any, workspace: Workspace) -> Any:
    """(C, H, W) or (N, C, H, W) on the GPU as (N * C, H, W)."""
    device = as_device_array(name, array)
    count, height, width = workspace.shape
    fits = tuple(device.shape) in (
        (count, height, width),
        (count // workspace.channels, workspace.channels, height, width),
    )
    if not fits:
        raise DenoiseError(f"{name} {tuple(device.shape)} does not fit the workspace {workspace.shape}")
    return device.reshape(workspace.shape)


def _iterate(workspace: Workspace, source: Any, weights: Any, stream: Any) -> Any:
    """All steps of `descent` or `released`; returns the planes that hold the result."""
    chosen, strips = workspace.chosen, workspace.strips
    step, weight = np.float32(chosen.step), np.float32(chosen.weight)
    done, turn, here = 0, 0, source
    while done < chosen.iterations:
        there = workspace.state[turn % 2]
        count = min(strips.halo, chosen.iterations - done) if workspace.fast else 1
        common = (weights, workspace.channels)
        if chosen.mode == "released":
            arguments: tuple[Any, ...] = (here, there, *common, step * weight)
            fast: Any = released_strips
            plain: Any = kernels.released_step
        else:
            arguments = (here, there, source, *common, step, weight, np.float32(chosen.epsilon))
            fast, plain = descent_strips, kernels.descent_step
        if workspace.fast:
            workspace.launch_strips(fast(strips), stream, *arguments, count)
        else:
            workspace.launch(plain, stream, *arguments)
        here, done, turn = there, done + count, turn + 1
    return here


def begin_rof(workspace: Workspace, source: Any, stream: Any) -> None:
    """x = ahead = f, q = 0."""
    u, ahead, q_x, q_y = workspace.state
    workspace.launch(kernels.copy_twice, stream, source, u, ahead)
    workspace.launch(kernels.clear_twice, stream, q_x, q_y)


def advance_rof(workspace: Workspace, source: Any, weights: Any, begin: int, end: int, stream: Any) -> Any:
    """Steps ``begin`` to ``end`` of `rof`, in place; returns the planes of x."""
    weight = np.float32(workspace.chosen.weight)
    u, ahead, q_x, q_y = workspace.state
    if workspace.fast:
        workspace.launch_fronts(
            rof_front(workspace.tile), stream, *workspace.state, source, weights, workspace.channels, weight,
            workspace.rates, begin, end - begin, steps=end - begin,
        )  # fmt: skip
        return u
    for sigma, keep, pull, push in workspace.host_rates[begin:end]:
        workspace.launch(
            kernels.rof_dual_step, stream, ahead, q_x, q_y, weights, workspace.channels, weight, sigma
        )
        workspace.launch(kernels.rof_primal_step, stream, u, ahead, q_x, q_y, source, keep, pull, push)
    return u


CHECK = 20
"""Steps of `rof` between two evaluations of the gap; each evaluation waits for the GPU."""


def solve(
    images: NDArray[Any],
    masks: NDArray[np.float32] | None,
    chosen: Settings,
    vectorial: bool,
    out: NDArray[Any],
    *,
    fast: bool = True,
    strict: bool = False,
    strips: Strips | None = None,
    tile: Tile | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """The backend 'cuda' of ``denoise``: (N, C, H, W) of the host, copied to the GPU and back.

    `rof` stops when every plane has reached its tolerance.  Returns steps and gaps (N, C).
    """
    if vectorial:
        raise BackendUnavailable("vectorial=True is not written for CUDA: use backend='cpu'")
    frames, channels, height, width = images.shape
    workspace = Workspace(
        chosen, frames, channels, height, width, fast=fast, strict=strict, strips=strips, tile=tile
    )
    scale = np.float32(1 / 255 if images.dtype == np.uint8 else 1)
    planes = np.ascontiguousarray(images, dtype=np.float32).reshape(workspace.shape) * scale
    source = cuda.to_device(planes)
    weights = workspace.ones if masks is None else cuda.to_device(np.ascontiguousarray(masks))
    done, gaps = chosen.iterations, None
    if chosen.mode == "rof":
        done, gaps, result = _rof_to_tolerance(workspace, source, weights)
    elif chosen.iterations:
        result = _iterate(workspace, source, weights, 0)
    else:
        result = source
    host = np.clip(result.copy_to_host(), 0.0, 1.0).reshape(images.shape)
    out[...] = np.floor(host * np.float32(255.0) + np.float32(0.5)) if out.dtype == np.uint8 else host
    return np.full((frames, channels), done, dtype=np.int64), gaps


def _rof_to_tolerance(
    workspace: Workspace, source: Any, weights: Any
) -> tuple[int, NDArray[np.float64], Any]:
    """Steps taken, gaps (N, C) and the planes of x."""
    chosen = workspace.chosen
    count, height, width = workspace.shape
    begin_rof(workspace, source, 0)
    done = 0
    while True:
        end = chosen.iterations if chosen.tolerance is None else min(done + CHECK, chosen.iterations)
        result = advance_rof(workspace, source, weights, done, end, 0)
        done = end
        gaps = cuda.to_device(np.zeros(count))
        u, _, q_x, q_y = workspace.state
        weight = np.float32(chosen.weight)
        workspace.launch(kernels.rof_gap, 0, u, q_x, q_y, source, weights, workspace.channels, weight, gaps)
        found = gaps.copy_to_host()
        close = chosen.tolerance is not None and found.max() <= 0.5 * chosen.tolerance**2 * height * width
        if close or done >= chosen.iterations:
            return done, found.reshape(-1, workspace.channels), result
