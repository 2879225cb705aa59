"""Loops of the Numba backend: compiled on first use, kept on disk, run without the GIL.

Push an entry with its ``count`` and ``cdf``:
    if state >> 40 >= count: append the low word of state to the words, state >>= 32
    state = (state // count) << 24 | (state % count + cdf)
Pop:
    quantile = low 24 bits of state; entry = the one with cdf <= quantile < cdf + count
    state = (state >> 24) * count + quantile - cdf
    if state < 2**32 and words are left: state = state << 32 | the last of them

Arrays are trusted to be as ``Tables``, ``Lookup`` and ``stream`` make them; values of ``index`` and
``symbols`` and the words are not.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from native_denoise.vectors.jit import compiled
from runtime.codec.limits import PRECISION, SYMBOL_LIMIT, TOTAL
from runtime.codec.stream import MAX_EXPONENT

_WORD = np.uint64(32)
_SHIFT = np.uint64(PRECISION)
_EMIT = np.uint64(64 - PRECISION)
_LOW_WORD = np.uint64((1 << 32) - 1)
_QUANTILE = np.uint64(TOTAL - 1)
_REFILL = np.uint64(1 << 32)
_HALF_SHIFT = np.uint64(PRECISION - 1)
_HALF = np.uint64(TOTAL // 2)
_BELOW_HALF = np.uint64(TOTAL // 2 - 1)

OK, BAD_INDEX, BAD_SYMBOL, BAD_ESCAPE = 0, 1, 2, 3

_kernel = compiled(error_model="numpy")


@_kernel
def _group(index, tables):
    """Where each table's symbols go when they are sorted by table: int32[tables]; empty for a bad index."""
    place = np.zeros(tables + 1, dtype=np.int32)
    for i in range(index.size):
        table = index[i]
        if table < 0 or table >= tables:
            return place[:0]
        place[table + 1] += 1
    for table in range(tables):
        place[table + 1] += place[table]
    return place


@_kernel
def push(symbols, index, start, size, offset, counts, cdf, state, words):
    """Returns status, new state and the number of words written to ``words``."""
    place = _group(index, size.size)
    if place.size == 0:
        return BAD_INDEX, state, 0
    entries = np.empty(symbols.size, dtype=np.int32)
    escapes = 0
    for i in range(symbols.size):
        symbol = symbols[i]
        if symbol < -SYMBOL_LIMIT or symbol > SYMBOL_LIMIT:
            return BAD_SYMBOL, state, 0
        table = index[i]
        last = size[table] - 1
        position = symbol - offset[table]
        if position < 0 or position >= last:
            position = last
            escapes += 1
        entries[place[table]] = start[table] + position
        place[table] += 1

    written = 0
    i = symbols.size
    while escapes > 0:
        i -= 1
        position = symbols[i] - offset[index[i]]
        last = size[index[i]] - 1
        if position < 0 or position >= last:
            escapes -= 1
            state, written = _push_escape(position, last, state, words, written)

    for j in range(entries.size - 1, -1, -1):
        entry = entries[j]
        count = np.uint64(counts[entry])
        if state >> _EMIT >= count:
            words[written] = state & _LOW_WORD
            written += 1
            state >>= _WORD
        quotient = state // count
        state = (quotient << _SHIFT) + (state - quotient * count) + np.uint64(cdf[entry])
    return OK, state, written


@_kernel
def _push_escape(position, last, state, words, written):
    """Sign and Elias-gamma code, last bit first, so that the decoder reads the sign first."""
    distance = -position if position < 0 else position - last + 1
    exponent = 0
    while distance >> (exponent + 1):
        exponent += 1
    code = distance | (np.int64(position < 0) << (2 * exponent + 1))
    for k in range(2 * exponent + 2):
        if state >> _EMIT >= _HALF:
            words[written] = state & _LOW_WORD
            written += 1
            state >>= _WORD
        bit = np.uint64((code >> k) & 1)
        state = ((state >> _HALF_SHIFT) << _SHIFT) + (bit << _HALF_SHIFT) + (state & _BELOW_HALF)
    return state, written


@_kernel
def pop(
    symbols, index, start, size, offset, counts, cdf, first, first_start, first_shift, state, words, left
):
    """Fills ``symbols``. Returns status, new state and the number of words still to be read."""
    place = _group(index, size.size)
    if place.size == 0:
        return BAD_INDEX, state, left
    begin = 0
    order = np.empty(index.size, dtype=np.int32)
    for i in range(index.size):
        table = index[i]
        order[place[table]] = i
        place[table] += 1

    escapes = 0
    for table in range(size.size):
        end = place[table]
        if begin == end:
            continue
        bucket_start = first_start[table]
        shift = np.uint64(first_shift[table])
        to_symbol = offset[table] - start[table]
        last = start[table] + size[table] - 1
        for j in range(begin, end):
            quantile = state & _QUANTILE
            bucket = bucket_start + np.int64(quantile >> shift)
            low, high = first[bucket], first[bucket + 1]
            while low < high:
                middle = (low + high + 1) >> 1
                if cdf[middle] <= quantile:
                    low = middle
                else:
                    high = middle - 1
            state = (state >> _SHIFT) * np.uint64(counts[low]) + (quantile - np.uint64(cdf[low]))
            if state < _REFILL and left > 0:
                left -= 1
                state = (state << _WORD) | np.uint64(words[left])
            symbols[order[j]] = low + to_symbol
            escapes += low == last
        begin = end

    i = -1
    while escapes > 0:
        i += 1
        table = index[i]
        last = size[table] - 1
        if symbols[i] == offset[table] + last:
            escapes -= 1
            status, position, state, left = _pop_escape(last, state, words, left)
            symbol = position + offset[table]
            if status != OK or symbol < -SYMBOL_LIMIT or symbol > SYMBOL_LIMIT:
                return BAD_ESCAPE, state, left
            symbols[i] = symbol
    return OK, state, left


@_kernel
def _pop_escape(last, state, words, left):
    """Returns status, position relative to the table's first symbol, new state and words left."""
    below, state, left = _pop_bit(state, words, left)
    exponent = 0
    bit, state, left = _pop_bit(state, words, left)
    while bit == 0:
        exponent += 1
        if exponent > MAX_EXPONENT:
            return BAD_ESCAPE, 0, state, left
        bit, state, left = _pop_bit(state, words, left)
    distance = 1
    for _ in range(exponent):
        bit, state, left = _pop_bit(state, words, left)
        distance = 2 * distance + bit
    return OK, (-distance if below else last - 1 + distance), state, left


@_kernel
def _pop_bit(state, words, left):
    quantile = state & _QUANTILE
    bit = np.int64(quantile >> _HALF_SHIFT)
    state = ((state >> _SHIFT) << _HALF_SHIFT) + (quantile & _BELOW_HALF)
    if state < _REFILL and left > 0:
        left -= 1
        state = (state << _WORD) | np.uint64(words[left])
    return bit, state, left
