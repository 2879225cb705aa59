"""Backend in Numba: the words of constriction's ``AnsCoder``, where constriction does not run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codec import numba_kernels as kernels
from runtime.codec.limits import PRECISION
from runtime.codec.lookup import lookup
from runtime.codec.stream import (
    BAD_ESCAPE,
    BAD_SEAL,
    MAX_EXPONENT,
    bad_index,
    bad_symbol,
    bytes_from_words,
    checked_index,
    checked_symbols,
    words_from_bytes,
)
from runtime.codec.tables import Tables
from runtime.errors import PacketSyncError

_MAX_SYMBOL_BITS = PRECISION + 2 * (MAX_EXPONENT + 1) + 1
"""Most bits that one symbol can cost: an escape of the smallest count, sign, Elias-gamma code, rounding."""


class Encoder:
    """See ``runtime.codec.coder.Encoder``."""

    def __init__(self, seal: int) -> None:
        self._state = seal
        self._words = [np.empty(0, dtype=np.uint32)]

    @property
    def bits(self) -> int:
        """Bits on the stack so far."""
        return 32 * sum(words.size for words in self._words) + self._state.bit_length()

    def push(self, symbols: NDArray[Any], index: NDArray[Any], tables: Tables) -> None:
        """Put symbols on top of the stack."""
        symbols, index = checked_symbols(symbols, index)
        # An upper bound and never touched where it is not needed, so it costs address space, not memory.
        words = np.empty(symbols.size * _MAX_SYMBOL_BITS // 32 + 2, dtype=np.uint32)
        status, state, written = kernels.push(
            symbols, index, tables.start, tables.size, tables.offset, tables.counts, tables.cdf,
            np.uint64(self._state), words,
        )  # fmt: skip
        if status == kernels.BAD_INDEX:
            raise bad_index(len(tables))
        if status == kernels.BAD_SYMBOL:
            raise bad_symbol()
        self._state = int(state)
        self._words.append(words[:written].copy())

    def finish(self) -> bytes:
        """The stream."""
        state = np.array([self._state & 0xFFFFFFFF, self._state >> 32], dtype=np.uint32)
        return bytes_from_words(np.concatenate([*self._words, state]))


class Decoder:
    """See ``runtime.codec.coder.Decoder``."""

    def __init__(self, data: bytes) -> None:
        self._words = words_from_bytes(data)
        top = self._words[-2:]
        self._left = self._words.size - top.size
        self._state = int.from_bytes(top.astype("<u4").tobytes(), "little")

    def pop(self, index: NDArray[Any], tables: Tables) -> NDArray[np.int32]:
        """Take the part on top of the stack."""
        index = checked_index(index)
        symbols = np.empty(index.size, dtype=np.int32)
        status, state, left = kernels.pop(
            symbols, index, tables.start, tables.size, tables.offset, tables.counts, tables.cdf,
            *lookup(tables), np.uint64(self._state), self._words, self._left,
        )  # fmt: skip
        if status == kernels.BAD_INDEX:
            raise bad_index(len(tables))
        if status == kernels.BAD_ESCAPE:
            raise PacketSyncError(BAD_ESCAPE)
        self._state, self._left = int(state), left
        return symbols

    def finish(self, seal: int = 0) -> None:
        """Raise PacketSyncError unless exactly ``seal`` is left."""
        if self._state != seal or self._left:
            raise PacketSyncError(BAD_SEAL)
