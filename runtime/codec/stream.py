"""What both backends share: bytes of a stream, checks of what is pushed and popped, limits of escapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codec.limits import SYMBOL_LIMIT
from runtime.errors import CoderError, PacketSyncError

MAX_EXPONENT = (2 * SYMBOL_LIMIT).bit_length() - 1
"""Largest floor(log2(distance)) of an escape: from one end of the symbols' range to the other."""

SEAL_BITS = 16

BAD_ESCAPE = "the stream holds an escape that no encoder writes"
BAD_SEAL = (
    "what is left of the stream is not the checksum of its symbols: damaged, or decoded by other tables"
)


def bytes_from_words(words: NDArray[np.uint32]) -> bytes:
    """Words as little-endian bytes, without the zero bytes at the end of the last word."""
    return words.astype("<u4").tobytes().rstrip(b"\0")


def words_from_bytes(data: bytes) -> NDArray[np.uint32]:
    """Inverse of ``bytes_from_words``; uint32[ceil(len / 4)], the last word not zero.

    Raises:
        PacketSyncError: the last byte is zero, so that another, shorter stream would mean the same.
    """
    if data and data[-1] == 0:
        raise PacketSyncError("the stream ends in a zero byte, which no encoder writes")
    return np.frombuffer(data + bytes(-len(data) % 4), dtype="<u4").astype(np.uint32)


def checked_index(index: NDArray[Any]) -> NDArray[np.int32]:
    """``index`` as contiguous int32[n]; its values are checked by the backend against its tables."""
    array = np.asarray(index)
    if (
        array.ndim != 1
        or array.dtype.kind not in "iu"
        or array.dtype.itemsize > 4
        or array.dtype == np.uint32
    ):
        raise CoderError(f"table indices must be int32[n] or uint16[n], not {array.dtype}{list(array.shape)}")
    return np.ascontiguousarray(array, dtype=np.int32)


def checked_symbols(
    symbols: NDArray[Any], index: NDArray[Any]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """``symbols`` and ``index`` as contiguous int32[n]; values are checked by the backend."""
    array = np.asarray(symbols)
    if array.ndim != 1 or array.dtype != np.int32:
        raise CoderError(f"symbols must be int32[n], not {array.dtype}{list(array.shape)}")
    checked = checked_index(index)
    if checked.size != array.size:
        raise CoderError(f"{array.size} symbols with {checked.size} table indices")
    return np.ascontiguousarray(array), checked


def checked_seal(seal: int) -> int:
    """``seal``, if it has 16 bits."""
    if not 0 <= seal < 1 << SEAL_BITS:
        raise CoderError(f"a seal has {SEAL_BITS} bits, not {seal}")
    return seal


def bad_index(tables: int) -> CoderError:
    """The error for an index without a table."""
    return CoderError(f"a table index is outside 0 .. {tables - 1}")


def bad_symbol() -> CoderError:
    """The error for a symbol that no stream can hold."""
    return CoderError(f"a symbol is outside -{SYMBOL_LIMIT} .. {SYMBOL_LIMIT}: clamp before coding")
