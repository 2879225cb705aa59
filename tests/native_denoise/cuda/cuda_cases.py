"""Every CUDA path against the float64 reference: run by test_cuda.py in the simulator or on a GPU.

python tests/native_denoise/cuda/cuda_cases.py [--large]
"""

import contextlib
import sys
from unittest import mock

import numpy as np

from native_denoise import denoise, reference, settings
from native_denoise.cuda import Strips, Tile, Workspace, denoise_device, solve, workspace
from native_denoise.cuda.device import cuda

SMALL = [(1, 1, 1, 1), (1, 1, 1, 5), (1, 1, 5, 1), (2, 1, 5, 7)]
LARGE = [*SMALL, (2, 2, 7, 11), (1, 3, 65, 63), (2, 3, 224, 224), (1, 1, 301, 17)]


def check(shape, mode, fast, shapes, steps, calls):
    """Largest difference from the reference, in units of the image."""
    rng = np.random.default_rng(sum(shape))
    images = rng.random(shape, dtype=np.float32)
    masks = rng.random((shape[0], *shape[2:]), dtype=np.float32)
    chosen = settings(mode, iterations=steps)
    want, got = np.empty(shape), np.empty(shape, dtype=np.float32)
    _, gaps_wanted = reference.solve_batch(images, masks, chosen, False, want)
    _, gaps = solve(images, masks, chosen, False, got, fast=fast, strict=True, **shapes)
    if mode == "rof":
        np.testing.assert_allclose(gaps, gaps_wanted, rtol=0.02, atol=1e-4)
    there, masks_there = cuda.to_device(images), cuda.to_device(masks)
    on_device = cuda.to_device(np.zeros(shape, dtype=np.float32))
    space = Workspace(chosen, *shape, fast=fast, strict=True, **shapes)
    assert len(space.state) + 1 <= 5  # planes in flight for each plane of the image, itself among them
    stream = cuda.stream()
    # The second call captures a graph, the third replays it.
    for call in range(calls):
        on_device.copy_to_device(np.full(shape, call, dtype=np.float32))
        denoise_device(there, masks_there, space, on_device, stream=stream)
        stream.synchronize()
        np.testing.assert_array_equal(there.copy_to_host(), images)
        np.testing.assert_array_equal(on_device.copy_to_host(), got)
    return float(np.abs(got - want).max())


@contextlib.contextmanager
def last_block_first():
    """The simulator runs the blocks of a launch one after the other; here from the last to the first."""
    forwards = np.ndindex
    with mock.patch("numpy.ndindex", lambda *shape: reversed(list(forwards(*shape)))):
        yield


def shared_by_all(memory, shape, dtype, alignment=None):
    """The simulator's ``cuda.shared.array``, but the first thread to ask is the only one to allocate.

    Its own looks, allocates and stores in three steps: two threads may each get an array of their own.
    """
    caller = sys._getframe(1)
    return memory._allocations.setdefault((caller.f_code, caller.f_lineno), np.empty(shape, dtype))


def main(large: bool) -> None:
    # In the simulator every thread is one of Python's: tiny tiles, few steps, but several launches and
    # blocks.
    tiny = {"strips": Strips(1, 4, 2, halo=2), "tile": Tile(width=8, height=8, pixels=4, halo=2)}
    steps = 100 if large else 3
    if not large:
        from numba.cuda.simulator.kernelapi import FakeCUDAShared

        workspace.THREADS = (4, 2, 1)
        FakeCUDAShared.array = shared_by_all
        sys.setswitchinterval(1e-5)  # threads wait for each other at every barrier
    for shape in LARGE if large else SMALL:
        for mode in ("released", "descent", "rof"):
            for fast in (False, True):
                error = check(shape, mode, fast, {} if large else tiny, steps, calls=3 if large else 1)
                print(shape, mode, "fast" if fast else "planes", f"{error:.1e}")
                assert error <= 1e-5
    if not large:
        # Blocks of one launch may come in any order: in place, a wrong one would show here.
        moving = Tile(width=6, height=6, pixels=3, halo=2)
        for order in (contextlib.nullcontext, last_block_first):
            with order():
                assert check((1, 1, 6, 5), "rof", True, {"tile": moving}, 5, calls=1) <= 1e-5
    picture = np.random.default_rng(0).random((5, 6, 3)).astype(np.float32)
    if large:
        np.testing.assert_allclose(denoise(picture, backend="cuda"), denoise(picture), atol=5e-3)
    print("all CUDA paths agree with the reference")


if __name__ == "__main__":
    main("--large" in sys.argv)
