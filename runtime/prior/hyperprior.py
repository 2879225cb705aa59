"""Mean-scale hyperprior: z, from which h_s gives the table and the mean of each symbol of y.

h_s is an integer network (``runtime.prior.exact``), so encoder and decoder agree on every machine.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from runtime.codec.coarseness import factor, rungs
from runtime.codec.coder import Decoder
from runtime.codec.limits import LATENT_LIMIT
from runtime.codec.tables import Tables
from runtime.errors import EngineError, PacketSyncError
from runtime.prior.base import (
    NAN,
    Decoded,
    Shape,
    Stream,
    channel_index,
    check_shape,
    check_tables,
    checked,
    nearest,
    rounded_at,
)  # fmt: skip
from runtime.prior.synthesis import Synthesis


class Hyperprior:
    """Mean-scale hyperprior with an exact h_s."""

    def __init__(self, z_tables: Tables, scales: Tables, h_s: Synthesis, latent: Shape, hyper: Shape):
        check_tables(z_tables, hyper[0])
        self._z_tables, self._scales, self._h_s = z_tables, scales, h_s
        self._latent, self._hyper = latent, hyper
        self._z_index = channel_index(hyper)

    def code(self, *latents: NDArray[np.float32]) -> tuple[Stream, ...]:
        """See ``Prior.code``."""
        from runtime.prior import rounding  # Numba, half a second to import: only for who has a frame

        y, z = latents
        check_shape(y, self._latent)
        z_symbols = nearest(checked(z, self._hyper))
        parameters = self._h_s(z_symbols)
        values, symbols = np.empty(y.size, dtype=np.float32), np.empty(y.size, dtype=np.int32)
        if not rounding.rounded(y.ravel(), parameters, values, symbols):
            raise EngineError(NAN)
        index = self._tables_of(parameters)
        return (self._z_stream(z_symbols.ravel()), Stream("y", symbols, index, self._scales, values))

    def coarser(self, y: Stream, coarseness: int) -> Stream:
        """See ``Prior.coarser``."""
        return rounded_at(coarseness, replace(y, index=_below(y.index, coarseness)))

    def read(self, decoder: Decoder, coarseness: int = 0) -> Decoded:
        """See ``Prior.read``."""
        from runtime.prior import rounding

        z_symbols = decoder.pop(self._z_index, self._z_tables)
        if np.abs(z_symbols).max(initial=0) > LATENT_LIMIT:
            raise PacketSyncError("a symbol of z is larger than any encoder writes")
        parameters = self._h_s(z_symbols.reshape(self._hyper))
        index = _below(self._tables_of(parameters), coarseness)
        symbols = decoder.pop(index, self._scales)
        y_hat = np.empty((1, *self._latent), dtype=np.float32)
        rounding.restored(symbols, factor(coarseness), parameters, y_hat.reshape(-1))
        y = Stream("y", symbols, index, self._scales, coarseness=coarseness)
        return Decoded((self._z_stream(z_symbols), y), y_hat)

    def _tables_of(self, parameters: NDArray[np.float32]) -> NDArray[np.int32]:
        """Table of each symbol of y, int32[n]."""
        from runtime.prior import rounding

        index = np.empty(parameters.size // 2, dtype=np.int32)
        rounding.tables_of(parameters, len(self._scales), index)
        return index

    def _z_stream(self, symbols: NDArray[np.int32]) -> Stream:
        return Stream("z", symbols, self._z_index, self._z_tables)


def _below(index: NDArray[np.int32], coarseness: int) -> NDArray[np.int32]:
    """The table of each scale in steps of this coarseness."""
    if coarseness == 0:
        return index
    lower: NDArray[np.int32] = np.maximum(index - np.int32(rungs(coarseness)), 0)
    return lower
