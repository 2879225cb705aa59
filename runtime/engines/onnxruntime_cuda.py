"""ONNX Runtime on an NVIDIA GPU.

Float32 throughout: TF32 would round the operands of convolutions to 10 bits, which costs the exact graphs
their exactness and the others 1e-3, for a gain that heads of a few hundred megaflops hardly show. NCHW, as
the graphs and the denoiser have it: NHWC pays with tensor cores, which float32 without TF32 does not use.

Run on an H200 with ONNX Runtime 1.31 (docs/measured/gpu_h200.json). Up to ONNX Runtime 1.26 or so the replay
of a CUDA graph waits for its end, whatever it is told (its pull request 28686), and ``enqueue`` with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.engines.base import Engine, EngineOptions
from runtime.engines.graph import OnnxGraph
from runtime.engines.onnxruntime_cpu import OnnxRuntimeSession, session_options
from runtime.errors import EngineError, EngineUnavailable

PROVIDER = "CUDAExecutionProvider"
FALL_BACK = "CPUExecutionProvider"  # ONNX Runtime adds it to every session; no node of ours may land there
INSTALL = (
    "pip install 'ratehold[gpu]' after pip uninstall onnxruntime (both packages are the module onnxruntime); "
    "on a Jetson take onnxruntime-gpu from NVIDIA's index (docs/jetson.md)"
)

PROVIDER_OPTIONS = {
    "use_tf32": "0",
    "prefer_nhwc": "0",
    # Shapes are fixed, so the search is paid once, in the warm-up. The exact graphs round what it may choose.
    "cudnn_conv_algo_search": "EXHAUSTIVE",
}


def missing() -> str | None:
    """Why ONNX Runtime cannot run on a GPU here, and the cure; None when it can."""
    try:
        import onnxruntime
    except ImportError:
        return f"ONNX Runtime is not installed: {INSTALL}"
    if PROVIDER not in onnxruntime.get_available_providers():
        return f"this ONNX Runtime ({onnxruntime.__version__}) was built without CUDA: {INSTALL}"
    try:
        from native_denoise.cuda.device import cuda
    except ImportError:
        return "Numba is not installed, which finds the GPU and its memory: pip install 'ratehold[gpu]'"
    return None if cuda.is_available() else "no NVIDIA GPU with a working driver was found (try nvidia-smi)"


def open_graph(graph: Path, options: EngineOptions) -> Engine:
    """``open_bytes`` for an ONNX file."""
    return open_bytes(OnnxGraph.of_file(graph).model, str(graph), options)


def open_bytes(model: bytes, name: str, options: EngineOptions) -> Engine:
    """Open a graph with ONNX Runtime's CUDA provider, all of it on the GPU."""
    reason = missing()
    if reason is not None:
        raise EngineUnavailable(reason)
    return OnnxRuntimeCuda(model, name, options)


class OnnxRuntimeCuda(OnnxRuntimeSession):
    """An ONNX Runtime session on the GPU, float32 in and out; a ``GpuEngine``.

    A stream belongs to a session, so ``bind`` opens another one, with a CUDA graph; ``run`` keeps the first.
    """

    device = "CUDA"

    def __init__(self, model: bytes, name: str, options: EngineOptions):
        self._model, self._name, self._options = model, name, options
        super().__init__(self._open({}))
        self.output_shapes = tuple(tuple(o.shape) for o in self._session.get_outputs())
        self._bound: tuple[Any, Any, Any] | None = None

    def bind(self, inputs: Sequence[int], outputs: Sequence[int], stream: int) -> None:
        """See ``GpuEngine.bind``."""
        import onnxruntime

        session = self._open({"user_compute_stream": str(stream), "enable_cuda_graph": "1"})
        binding = session.io_binding()
        for (name, shape), address in zip(self.inputs, inputs, strict=True):
            binding.bind_input(name, "cuda", 0, np.float32, shape, address)
        for name, shape, address in zip(self.outputs, self.output_shapes, outputs, strict=True):
            binding.bind_output(name, "cuda", 0, np.float32, shape, address)
        run_options = onnxruntime.RunOptions()
        run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._bound = (session, binding, run_options)

    def enqueue(self) -> None:
        """See ``GpuEngine.enqueue``. The first run allocates, the second is captured, others replay it."""
        if self._bound is None:
            raise EngineError(f"{self._name}: enqueue() needs the addresses of bind() first")
        session, binding, run_options = self._bound
        try:
            session.run_with_iobinding(binding, run_options)
        except Exception as error:  # as in OnnxRuntimeSession.run
            raise EngineError(f"ONNX Runtime failed: {error}") from error

    def _open(self, stream: dict[str, str]) -> Any:
        """A session whose nodes are all on the GPU. Raises EngineError where one is not."""
        import onnxruntime

        options = session_options(onnxruntime, self._options)
        # Without it a node that CUDA cannot run goes to the CPU, and only a warning in the log says so.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            session = onnxruntime.InferenceSession(
                self._model,
                options,
                providers=[(PROVIDER, PROVIDER_OPTIONS | stream)],
                enable_fallback=0,
            )
        except Exception as error:  # as in OnnxRuntimeSession.run
            raise EngineError(f"{self._name}: ONNX Runtime cannot open it on the GPU: {error}") from error
        found = session.get_providers()
        if not found or found[0] != PROVIDER or set(found) - {PROVIDER, FALL_BACK}:
            raise EngineError(
                f"asked for {PROVIDER}, got {found}: its libraries do not load; CUDA and cuDNN must be of "
                "the versions that this ONNX Runtime was built with"
            )
        return session
