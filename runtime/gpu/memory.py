"""Where frames and latents cross between the host and the GPU; what lies in between stays on the GPU.

| policy          | what crosses lies                                  | right where                        |
|-----------------|----------------------------------------------------|------------------------------------|
| `device`        | twice: pinned on the host, and on the GPU; copied  | the GPU has memory of its own      |
| `pinned_mapped` | once: pinned on the host, the GPU reads and writes | CPU and GPU share one DRAM: Jetson |

Only an image, y and z cross, once a frame each. Everything else is memory of the GPU under both policies,
because mapped memory is slow to read again and again.
"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from native_denoise.cuda.device import cuda, handle_of, simulated
from runtime.engines import Memory
from runtime.errors import EngineError


def policy(asked: Memory) -> Memory:
    """The policy that was asked for; ``auto`` is the one that fits this GPU. Raises EngineError."""
    if asked not in get_args(Memory):
        raise EngineError(f"unknown memory policy {asked!r}: choose one of {', '.join(get_args(Memory))}")
    if asked != "auto":
        return asked
    integrated = getattr(cuda.get_current_device(), "INTEGRATED", 0)
    return "pinned_mapped" if integrated else "device"


class Crossing:
    """An array that host and GPU see: ``host`` is a NumPy array, ``device`` what kernels take."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, memory: Memory):
        self._copied = memory == "device"
        if self._copied:
            self.device = cuda.device_array(shape, dtype=dtype)
            self.host: NDArray[Any] = cuda.pinned_array(shape, dtype=dtype)
        else:
            mapped = cuda.mapped_array(shape, dtype=dtype)
            self.host = np.asarray(mapped)
            # Seen from the host it is a NumPy array, whose views would not know where they lie on the GPU.
            self.device = mapped if simulated() else cuda.as_cuda_array(mapped)

    def to_device(self, stream: Any) -> None:
        """Queue the host's values to the GPU."""
        if self._copied:
            self.device.copy_to_device(self.host, stream=stream)

    def to_host(self, stream: Any) -> None:
        """Queue the GPU's values to the host, which may read them when the stream has been waited for."""
        if self._copied:
            self.device.copy_to_host(self.host, stream=stream)


def handle(stream: Any) -> int:
    """The handle of a Numba stream, as engines want it; 0 in the simulator, which has none."""
    return 0 if simulated() else handle_of(stream)
