"""What every engine does, and how it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from runtime.engines.precision import Precision

Optimisation = Literal["disabled", "basic", "extended", "all"]
Memory = Literal["auto", "device", "pinned_mapped"]

DEFAULT = "onnxruntime-cpu"


@dataclass(frozen=True)
class EngineOptions:
    """How to run a graph.

    engine: a name of ``engine_names``.
    threads: threads inside one operator; None lets the backend choose.
    optimisation: how far the backend may rewrite the graph.
    memory: of an engine on a GPU: how frames and latents cross between host and GPU. ``device`` copies them
        from and to pinned host memory. ``pinned_mapped`` keeps them in pinned host memory that the GPU reads
        and writes itself, which is right where both share one DRAM. ``auto`` takes what fits the GPU
        (``runtime.gpu.memory``).
    precision: of the arithmetic of heads; ``float16`` opens their fp16 graphs (``precision``).
    """

    engine: str = DEFAULT
    threads: int | None = None
    optimisation: Optimisation = "all"
    memory: Memory = "auto"
    precision: Precision = "float32"


class Engine(Protocol):
    """One opened graph.

    Attributes:
        inputs: name and shape of each input, in order.
        outputs: names of the outputs, in order.
        device: where it really runs, e.g. ``CPU``.
        precision: of the arithmetic, e.g. ``float32``.
    """

    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[str, ...]
    device: str
    precision: str

    def run(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run once: float32 arrays in the order of ``inputs`` -> float32 arrays in that of ``outputs``.

        Raises EngineError when the graph refuses the shapes or fails.
        """

    def warm_up(self) -> None:
        """Run once on zeros, so that the first frame does not pay for allocation."""


@runtime_checkable
class GpuEngine(Engine, Protocol):
    """An engine on a GPU: it also runs in a CUDA stream, on memory that is there. ``run`` needs no ``bind``.

    Attributes:
        output_shapes: shape of each output, batch 1.
    """

    output_shapes: tuple[tuple[int, ...], ...]

    def bind(self, inputs: Sequence[int], outputs: Sequence[int], stream: int) -> None:
        """Fix what ``enqueue`` reads and writes, and the stream in which it does.

        inputs, outputs: addresses on the GPU in the order of ``inputs`` and ``outputs``, each of contiguous
            float32 of the static shape. The memory belongs to the caller and must outlive the engine.
        stream: handle of a CUDA stream.

        Raises EngineError when the backend refuses.
        """

    def enqueue(self) -> None:
        """Queue one run in the bound stream and return without waiting for it.

        Replays a CUDA graph after the first runs where the backend can. Raises EngineError when it fails.
        """
