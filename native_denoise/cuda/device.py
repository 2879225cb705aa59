"""The one place that imports numba.cuda, served by numba-cuda or, without it, by numba itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

from numba import config, cuda

from ..errors import BackendUnavailable, DenoiseError

__all__ = [
    "address_of", "as_device_array", "as_stream", "compiled", "cuda", "described", "gpu_name", "handle_of",
    "multiprocessors", "require_gpu", "simulated",
]  # fmt: skip


def require_gpu() -> None:
    """Raise BackendUnavailable unless a kernel can run here, on a GPU or in the simulator."""
    if not cuda.is_available():
        raise BackendUnavailable(
            "backend 'cuda' needs an NVIDIA GPU with its driver, and pip install 'ratehold[gpu]'"
        )


def simulated() -> bool:
    """Whether kernels run in Numba's simulator, which knows neither streams nor addresses."""
    return bool(config.ENABLE_CUDASIM)  # type: ignore[attr-defined]


REGISTERS = 64
"""Most registers of a thread: two blocks of 512 threads then share the 65,536 of a multiprocessor."""


@functools.lru_cache(maxsize=64)
def compiled(kernel: Callable[..., None], strict: bool = False, registers: int = REGISTERS) -> Any:
    """The kernel for the GPU; ``strict``: IEEE square roots and divisions, else approximate ones (2 ulp)."""
    limits = {} if simulated() else {"max_registers": registers}
    return cuda.jit(kernel, fastmath=not strict, **limits)


def as_device_array(name: str, array: Any, shape: tuple[int, ...] | None = None) -> Any:
    """An array that is on the GPU already (``__cuda_array_interface__``), float32 and contiguous; no copy."""
    if hasattr(array, "__cuda_array_interface__"):
        device = cuda.as_cuda_array(array)
    elif hasattr(array, "copy_to_host"):  # an array of the simulator, which has no such interface
        device = array
    else:
        raise DenoiseError(f"{name} must be an array on the GPU, not {type(array).__name__}")
    if str(device.dtype) != "float32" or (shape is not None and tuple(device.shape) != shape):
        wanted = "" if shape is None else f" of shape {shape}"
        raise DenoiseError(f"{name} must be float32{wanted}, not {device.dtype} {tuple(device.shape)}")
    if not device.is_c_contiguous():
        raise DenoiseError(f"{name} must be contiguous")
    return device


def as_stream(stream: Any) -> Any:
    """A Numba stream from a Numba stream, a raw stream handle (int) or 0, the default stream."""
    return cuda.external_stream(stream) if isinstance(stream, int) and stream != 0 else stream


def handle_of(stream: Any) -> int:
    """The raw handle of a Numba stream; 0 is the default stream."""
    return int(stream)


def described(array: Any) -> Hashable:
    """What tells an array on the GPU from another: where it begins, its type, shape and strides."""
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:  # None, or of the simulator
        return None
    return interface["data"][0], interface["typestr"], interface["shape"], interface.get("strides")


def address_of(array: Any) -> int:
    """Where an array on the GPU begins; in the simulator an address of the host."""
    interface = getattr(array, "__cuda_array_interface__", None)
    return int(interface["data"][0] if interface else array.ctypes.data)


def multiprocessors() -> int:
    """Of the GPU that is current in this thread."""
    return int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


def gpu_name() -> str:
    """Of the GPU that is current in this thread."""
    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)
