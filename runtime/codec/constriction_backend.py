"""Reference backend: constriction's ``AnsCoder``, one ``Categorical`` a table.

``Categorical(p, perfect=False)`` starts entry i at ``floor(cum_i * scale) + i`` with
``scale = (2**24 - n) / sum(p)``. With ``p = count - 1`` the scale is exactly 1 and these are our integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

import constriction
import numpy as np
from numpy.typing import NDArray

from runtime.codec.limits import SYMBOL_LIMIT, TOTAL
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

_Stack = constriction.stream.stack.AnsCoder
_models: WeakKeyDictionary[Tables, dict[int, Any]] = WeakKeyDictionary()


def _categorical(counts: NDArray[Any]) -> Any:
    weights = counts.astype(np.float64) - 1.0
    return constriction.stream.model.Categorical(weights, perfect=False, lazy=False)


_BIT = _categorical(np.array([TOTAL // 2, TOTAL // 2]))


class Encoder:
    """See ``runtime.codec.coder.Encoder``."""

    def __init__(self, seal: int) -> None:
        self._stack = _Stack(np.array([seal] if seal else [], dtype=np.uint32))

    @property
    def bits(self) -> int:
        """Bits on the stack so far."""
        # Not num_valid_bits(), which leaves out the highest bit: a stream cannot be read without it.
        words, state = self._stack.pos()
        return 32 * int(words) + int(state).bit_length()

    def push(self, symbols: NDArray[Any], index: NDArray[Any], tables: Tables) -> None:
        """Put symbols on top of the stack."""
        symbols, index = checked_symbols(symbols, index)
        groups = list(_groups(index, tables))
        if symbols.size and (symbols.min() < -SYMBOL_LIMIT or symbols.max() > SYMBOL_LIMIT):
            raise bad_symbol()
        last = tables.size[index] - 1
        position = symbols - tables.offset[index]
        outside = (position < 0) | (position >= last)
        bits = [_escape_code(int(p), int(n)) for p, n in zip(position[outside], last[outside], strict=True)]
        if bits:
            self._stack.encode_reverse(np.concatenate(bits), _BIT)
        position = np.where(outside, last, position)
        for table, members in reversed(groups):
            self._stack.encode_reverse(position[members], _model(tables, table))

    def finish(self) -> bytes:
        """The stream."""
        return bytes_from_words(self._stack.get_compressed())


class Decoder:
    """See ``runtime.codec.coder.Decoder``."""

    def __init__(self, data: bytes) -> None:
        self._stack = _Stack(words_from_bytes(data))

    def pop(self, index: NDArray[Any], tables: Tables) -> NDArray[np.int32]:
        """Take the part on top of the stack."""
        index = checked_index(index)
        position = np.empty(index.size, dtype=np.int32)
        for table, members in _groups(index, tables):
            position[members] = self._stack.decode(_model(tables, table), members.size)
        last = tables.size[index] - 1
        for i in np.flatnonzero(position == last):
            position[i] = self._escaped(int(tables.offset[index[i]]), int(last[i]))
        return position + tables.offset[index]

    def finish(self, seal: int = 0) -> None:
        """Raise PacketSyncError unless exactly ``seal`` is left."""
        if self._stack.pos() != (0, seal):
            raise PacketSyncError(BAD_SEAL)

    def _escaped(self, offset: int, last: int) -> int:
        below = self._bit()
        exponent = 0
        while not self._bit():
            exponent += 1
            if exponent > MAX_EXPONENT:
                raise PacketSyncError(BAD_ESCAPE)
        distance = 1
        for _ in range(exponent):
            distance = 2 * distance + self._bit()
        position = -distance if below else last - 1 + distance
        if abs(position + offset) > SYMBOL_LIMIT:
            raise PacketSyncError(BAD_ESCAPE)
        return position

    def _bit(self) -> int:
        return int(self._stack.decode(_BIT))


def _escape_code(position: int, last: int) -> NDArray[np.int32]:
    """Sign and Elias-gamma code, in the order in which the decoder reads its bits."""
    distance = -position if position < 0 else position - last + 1
    code = f"{int(position < 0)}{'0' * (distance.bit_length() - 1)}{distance:b}"
    return np.array([int(bit) for bit in code], dtype=np.int32)


def _groups(index: NDArray[np.int32], tables: Tables) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Tables in use, ascending, each with the places of its symbols, ascending."""
    if index.size and (index.min() < 0 or index.max() >= len(tables)):
        raise bad_index(len(tables))
    order = np.argsort(index.astype(np.uint16), kind="stable")  # NumPy sorts 16 bits by radix, much faster
    used, first = np.unique(index[order], return_index=True)
    return zip(used.tolist(), np.split(order, first[1:]), strict=False)


def _model(tables: Tables, table: int) -> Any:
    models = _models.setdefault(tables, {})
    if table not in models:
        start = tables.start[table]
        models[table] = _categorical(tables.counts[start : start + tables.size[table]])
    return models[table]
