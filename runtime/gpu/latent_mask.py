"""Latents on the GPU -> the soft mask there: ``Latent.likelihood_map``, ``soft_mask``, without the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from native_denoise.cuda.device import address_of, compiled, cuda
from runtime.bundle import Bundle
from runtime.codec.limits import TOTAL
from runtime.codec.tables import Tables
from runtime.engines import GpuEngine
from runtime.gpu import kernels
from runtime.gpu.launch import over_pixels, over_values
from runtime.gpu.memory import handle


class LatentMask:
    """Queues the mask of the frame whose latents are on the GPU. ``mask``: float32 (1, S, S) in [0, 1].

    Args:
        bundle: its parts fit together, as ``runtime.prior`` has found.
        h_s: its exact h_s on the GPU, to be bound here; None with a factorized prior.
        latents: y, and z with a hyperprior, float32 (1, C, H, W) on the GPU.
        stream: of everything.
    """

    def __init__(self, bundle: Bundle, h_s: GpuEngine | None, latents: list[Any], stream: Any):
        size, (channels, height, width) = bundle.manifest.preprocess.size, bundle.manifest.latent
        tables = Tables.from_arrays(bundle.arrays("prior" if h_s is None else "scales"))
        energy = bundle.energy()
        patch = energy.shape[1]
        self.mask = cuda.device_array((1, size, size), dtype=np.float32)
        self._small = cuda.device_array((height * patch, width * patch), dtype=np.float32)
        self._likelihood = cuda.device_array((channels, height, width), dtype=np.float32)
        self._share = cuda.to_device(energy / energy.sum(axis=0))
        self._tables = _on_gpu(tables)
        self._parameters = cuda.to_device(_static_parameters((channels, height, width)))
        self._latents, self._stream, self._h_s = latents, stream, h_s
        if h_s is not None:
            self._symbols = cuda.device_array(latents[1].shape, dtype=np.float32)
            h_s.bind([address_of(self._symbols)], [address_of(self._parameters)], handle(stream))

    def queue(self) -> Any:
        """Queue everything from the latents to ``mask``, and return it."""
        y, stream = self._latents[0], self._stream
        if self._h_s is not None:
            z = self._latents[1]
            over_values(
                kernels.hyper_symbols, z.size, stream, z.reshape(z.size), self._symbols.reshape(z.size)
            )
            self._h_s.enqueue()
        flat = (y.reshape(y.size), self._parameters.reshape(2 * y.size), *self._tables)
        over_values(kernels.symbol_likelihood, y.size, stream, *flat, self._likelihood.reshape(y.size))
        rows, columns = self._small.shape
        summed = compiled(kernels.likelihood_map)[(columns, rows), kernels.ADDERS, stream]
        summed(self._likelihood, self._share, self._small)
        over_pixels(kernels.resize_map, *self.mask.shape[1:], stream, self._small, self.mask)
        return self.mask


def _static_parameters(latent: tuple[int, int, int]) -> NDArray[np.float32]:
    """What a factorized prior's h_s would return: each channel's own table, no means."""
    parameters = np.zeros((2, *latent), dtype=np.float32)
    parameters[0] = np.arange(latent[0], dtype=np.float32)[:, None, None]
    return parameters


def _on_gpu(tables: Tables) -> tuple[Any, ...]:
    """mass, start, last and offset, as ``kernels.symbol_likelihood`` takes them."""
    mass = (tables.counts / TOTAL).astype(np.float32)  # exact: counts have 24 bits at most
    last = tables.size - np.int32(1)
    return tuple(cuda.to_device(np.array(part)) for part in (mass, tables.start, last, tables.offset))
