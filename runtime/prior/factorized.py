"""Factorized prior: one static table a channel."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from runtime.codec.coarseness import factor, rebinned
from runtime.codec.coder import Decoder
from runtime.codec.tables import Tables
from runtime.prior.base import (
    Decoded,
    Shape,
    Stream,
    channel_index,
    check_tables,
    checked,
    nearest,
    rounded_at,
)  # fmt: skip


class FactorizedPrior:
    """One static table a channel. Means are zero: the transform has centred its latents."""

    def __init__(self, tables: Tables, latent: Shape):
        check_tables(tables, latent[0])
        self._shape = latent
        self._index = channel_index(latent)
        self._tables_at = lru_cache(maxsize=None)(partial(rebinned, tables))

    def code(self, *latents: NDArray[np.float32]) -> tuple[Stream, ...]:
        """See ``Prior.code``."""
        (y,) = latents
        values = checked(y, self._shape).ravel()
        return (Stream("y", nearest(values), self._index, self._tables_at(0), values),)

    def coarser(self, y: Stream, coarseness: int) -> Stream:
        """See ``Prior.coarser``."""
        return rounded_at(coarseness, replace(y, tables=self._tables_at(coarseness)))

    def read(self, decoder: Decoder, coarseness: int = 0) -> Decoded:
        """See ``Prior.read``."""
        tables = self._tables_at(coarseness)
        symbols = decoder.pop(self._index, tables)
        y_hat = (symbols * factor(coarseness)).astype(np.float32).reshape(1, *self._shape)
        return Decoded((Stream("y", symbols, self._index, tables, coarseness=coarseness),), y_hat)
