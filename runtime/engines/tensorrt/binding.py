"""A TensorRT execution context with fixed addresses on one stream.

The first run is enqueued as it is: in it TensorRT allocates and loads what no recording may hold. The second
is recorded as a CUDA graph, and from then on one launch replays it. Never run on a GPU yet.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from native_denoise.errors import BackendUnavailable, CudaGraphError
from runtime.engines.tensorrt.build import reasons
from runtime.errors import EngineError

if TYPE_CHECKING:  # it imports numba.cuda, which a machine without TensorRT need not
    from native_denoise.cuda.graph import Graph


class Binding:
    """One context, its addresses and its stream.

    Args:
        context: TensorRT's, used by nothing else.
        addresses: device address of each input and output, by name.
        stream: a raw handle; 0, the default stream, cannot be recorded and is enqueued each time.
        trt: the module ``tensorrt``.
    """

    def __init__(self, context: Any, addresses: Mapping[str, int], stream: int, trt: Any):
        self._context, self._stream, self._trt = context, stream, trt
        self._graph: Graph | None = None
        self._runs = 0
        self._may_record = stream != 0
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise EngineError(f"TensorRT refuses address {address:#x} for {name}: {reasons(trt)}")

    def enqueue(self) -> None:
        """Queue one run and return without waiting. Raises EngineError when TensorRT refuses."""
        self._runs += 1
        if self._runs == 2 and self._may_record:
            self._graph = self._record()
        if self._graph is None:
            self._execute()
            return
        try:
            self._graph.launch(self._stream)
        except CudaGraphError as error:
            raise EngineError(f"TensorRT failed: {error}") from error

    def _record(self) -> Graph | None:
        """The run as a CUDA graph; None, with a warning, where it cannot be one: it is then only slower."""
        from native_denoise.cuda.graph import capture

        try:
            return capture(self._stream, self._execute)
        except (BackendUnavailable, CudaGraphError, EngineError) as error:
            warnings.warn(f"ratehold: TensorRT runs without a CUDA graph: {error}", stacklevel=4)
            return None

    def _execute(self) -> None:
        if not self._context.execute_async_v3(stream_handle=self._stream):
            raise EngineError(f"TensorRT failed: {reasons(self._trt)}")


class HostBinding:
    """A binding with memory and a stream of its own, for arrays of the host.

    Frames cross in pinned host memory: only from there a copy to the GPU is queued without waiting.
    """

    def __init__(
        self,
        context: Any,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[int, ...]],
        trt: Any,
    ):
        from native_denoise.cuda.device import address_of, cuda, handle_of

        self._stream = cuda.stream()
        shapes = {**inputs, **outputs}
        self._pinned = {name: cuda.pinned_array(shape, dtype=np.float32) for name, shape in shapes.items()}
        self._device = {name: cuda.device_array(shape, dtype=np.float32) for name, shape in shapes.items()}
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        addresses = {name: address_of(array) for name, array in self._device.items()}
        self._binding = Binding(context, addresses, handle_of(self._stream), trt)

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Copy in, run, copy out, wait; arrays of the shapes given, outputs newly allocated."""
        for name, array in zip(self._inputs, inputs, strict=True):
            np.copyto(self._pinned[name], array)
            self._device[name].copy_to_device(self._pinned[name], stream=self._stream)
        self._binding.enqueue()
        for name in self._outputs:
            self._device[name].copy_to_host(self._pinned[name], stream=self._stream)
        self._stream.synchronize()
        return [self._pinned[name].copy() for name in self._outputs]
