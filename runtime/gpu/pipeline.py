"""The steps of one frame on the GPU, queued in one stream, behind the interfaces that ``Head`` uses.

Every frame uses the same arrays on the GPU: the head's input, which the denoised frame overwrites, and the
mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_denoise.cuda import Workspace, denoise_device
from native_denoise.cuda.device import address_of, cuda, require_gpu
from native_denoise.errors import BackendUnavailable, CudaGraphError, DenoiseError
from runtime.bundle import Bundle
from runtime.engines import EngineOptions, GpuEngine, open_engine
from runtime.errors import EngineError, EngineUnavailable
from runtime.gpu.latent_mask import LatentMask
from runtime.gpu.memory import Crossing, handle, policy
from runtime.gpu.pixels import Pixels
from runtime.guard.defence import Defence, Defender
from runtime.latent import Latent
from runtime.preprocess import Nv12


class GpuPipeline:
    """Prepares a frame, runs the head, masks, denoises, runs the shield. One frame at a time.

    Args:
        bundle: what the engines were opened from.
        head, shield: to be bound here; the shield may be the head itself, and None where nothing is defended.
        defence: how frames are denoised; used with a shield.
        options: engine of the exact h_s, which the mask needs, and where memory lies.

    Raises:
        EngineUnavailable: there is no GPU.
        EngineError: an engine refuses the stream or the memory.
    """

    def __init__(
        self,
        bundle: Bundle,
        head: GpuEngine,
        shield: GpuEngine | None,
        defence: Defence,
        options: EngineOptions,
    ):
        with _errors_of_cuda():
            require_gpu()
            self.stream = cuda.stream()
            memory = policy(options.memory)
            self._pixels = Pixels(bundle.manifest.preprocess, memory, self.stream)
            self._latents = [Crossing(shape, np.float32, memory) for shape in head.output_shapes]
            self._head, self._shield = head, shield
            for engine in {id(e): e for e in (head, shield) if e is not None}.values():
                self.bind(engine)
            if shield is not None:
                self._open_defence(bundle, defence, options)

    def bind(self, engine: GpuEngine) -> None:
        """Let another engine read the same input and write its latents to the same arrays."""
        outputs = [address_of(latent.device) for latent in self._latents]
        engine.bind([address_of(self._pixels.input)], outputs, handle(self.stream))

    def prepare(self, image: NDArray[np.uint8] | Nv12) -> Any:
        """Queue an image, as ``Preprocess`` takes it; the head's input, on the GPU. Raises ImageError."""
        with _errors_of_cuda():
            return self._pixels.queue(image)

    def look(self) -> None:
        """Queue the head on its input."""
        self._head.enqueue()

    def look_again(self) -> None:
        """Queue the shield on the same memory, which holds the denoised frame by then."""
        assert self._shield is not None
        self._shield.enqueue()

    def mask(self) -> Any:
        """Queue the mask of the latents that the last look left on the GPU: float32 (1, S, S), there."""
        with _errors_of_cuda():
            return self._mask.queue()

    def put_mask(self, mask: NDArray[np.float32]) -> Any:
        """Queue a mask of the host, float32 (S, S), instead."""
        with _errors_of_cuda():
            self._mask.mask.copy_to_device(mask[None], stream=self.stream)
        return self._mask.mask

    def denoise(self) -> Any:
        """Queue the denoising of the head's input under the mask, in place."""
        frame = self._pixels.input
        with _errors_of_cuda():
            denoise_device(frame, self._mask.mask, self._workspace, frame, stream=self.stream)
        return frame

    def outputs(self) -> list[NDArray[np.float32]]:
        """Wait for everything that was queued: the latents of the last look, on the host."""
        with _errors_of_cuda():
            for latent in self._latents:
                latent.to_host(self.stream)
            self.stream.synchronize()
        return [latent.host.copy() for latent in self._latents]

    def defended(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The latents of a defended frame. The host waits once, at the end, and copies only these."""
        self.prepare(image)
        self.look()
        self.mask()
        self.denoise()
        self.look_again()
        return self.outputs()

    def _open_defence(self, bundle: Bundle, defence: Defence, options: EngineOptions) -> None:
        size = bundle.manifest.preprocess.size
        h_s: GpuEngine | None = None
        if "h_s" in bundle.manifest.files:
            opened = open_engine(bundle.graph("h_s"), options)
            assert isinstance(opened, GpuEngine)
            h_s = opened
        self._mask = LatentMask(bundle, h_s, [latent.device for latent in self._latents], self.stream)
        self._workspace = Workspace(defence.solver(), 1, 3, size, size)


class OnGpu:
    """An engine of a pipeline as ``Head`` runs it: from a frame on the GPU to latents on the host."""

    def __init__(self, engine: GpuEngine, pipeline: GpuPipeline):
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.device, self.precision = engine.device, engine.precision
        self._engine, self._pipeline = engine, pipeline

    def run(self, *inputs: Any) -> list[NDArray[np.float32]]:
        """Run once on what the pipeline has prepared or denoised, wait, and return the latents."""
        self._engine.enqueue()
        return self._pipeline.outputs()

    def warm_up(self) -> None:
        """Run once on zeros."""
        size = self.inputs[0][1][-1]
        self.run(self._pipeline.prepare(np.zeros((size, size, 3), dtype=np.uint8)))


class GpuDefender(Defender):
    """A ``Defender`` of frames on the GPU; masks and denoised frames stay there.

    `rof` with a tolerance takes all its iterations, because the host does not look whether it could stop.
    Variants of the mask and ``reuse_mask`` are computed on the host, and their masks copied to the GPU.
    """

    def __init__(self, defence: Defence, size: int, pipeline: GpuPipeline):
        super().__init__(defence, size, threads=None)
        self._pipeline = pipeline
        self._plain = defence.mask_variant() == Defence().mask_variant()

    def mask(self, latent: Latent) -> Any:
        """The mask of the frame that was looked at last, which is the one that has this latent."""
        return self._pipeline.mask() if self._plain else self._pipeline.put_mask(super().mask(latent))

    def recall_mask(self) -> Any:
        """As ``Defender.recall_mask``."""
        mask = super().recall_mask()
        return None if mask is None else self._pipeline.put_mask(mask)

    def denoise(self, prepared: Any, mask: Any) -> Any:
        """Queue the denoising of the prepared frame, in place."""
        return self._pipeline.denoise()


@contextmanager
def _errors_of_cuda() -> Iterator[None]:
    try:
        yield
    except BackendUnavailable as error:
        raise EngineUnavailable(str(error)) from error
    except (DenoiseError, CudaGraphError, cuda.cudadrv.driver.CudaAPIError) as error:
        raise EngineError(f"the GPU failed: {error}") from error
