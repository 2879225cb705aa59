"""Vectors of bytes for kernels that resample pictures: columns to rows, and weighted sums in fixed point.

Numba computes with 64 bits what a byte and an int32 make, so that LLVM finds no vectors in such loops.
Addresses are plain integers: one compiled kernel then reads every layout of rows, and read-only memory. No
bounds are checked.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .fixed_point import MATRIX_BITS, WEIGHT_BITS

TILE = 16
"""Side of the squares of bytes that are transposed."""

LANES = 32
"""Sums that are computed at a time: four registers of AVX2, two of AVX-512."""

_BYTE, _INTEGER = ir.IntType(8), ir.IntType(32)
_ROW = ir.VectorType(_BYTE, TILE)


def _constant(value: int, lanes: int) -> ir.Constant:
    return ir.Constant(ir.VectorType(_INTEGER, lanes), [value] * lanes)


def _lanes(chosen: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(_INTEGER, len(chosen)), chosen)


def _element(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Address of an element of a contiguous 1-D array."""
    return builder.gep(context.make_array(kind)(context, builder, value=array).data, [index])


def _load_bytes(builder: Any, address: Any, lanes: int) -> Any:
    kind = ir.VectorType(_BYTE, lanes)
    if isinstance(address.type, ir.IntType):
        place = builder.inttoptr(address, kind.as_pointer())
    else:
        place = builder.bitcast(address, kind.as_pointer())
    return builder.load(place, align=1, typ=kind)


def _store_bytes(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.bitcast(address, value.type.as_pointer()), align=1)


def _clipped(builder: Any, value: Any) -> Any:
    """Lanes of int32 -> bytes; what is beyond 0 .. 255 becomes that end."""
    lanes = value.type.count
    for comparison, end in (("<", 0), (">", 255)):
        limit = _constant(end, lanes)
        value = builder.select(builder.icmp_signed(comparison, value, limit), limit, value)
    return builder.trunc(value, ir.VectorType(_BYTE, lanes))


def _everywhere(builder: Any, scalar: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    one = builder.insert_element(undefined, scalar, ir.Constant(_INTEGER, 0))
    return builder.shuffle_vector(one, undefined, _constant(0, lanes))


@intrinsic
def byte_at(typing_context: Any, address: Any) -> Any:
    """The byte at an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], _BYTE.as_pointer()), typ=_BYTE)

    return types.uint8(types.intp), generate


@intrinsic
def turn(typing_context: Any, address: Any, step: Any, target: Any, there: Any, apart: Any) -> Any:
    """Transpose a square: byte j of the row at ``address + i * step`` to ``target[there + j * apart + i]``,
    for i and j below ``TILE``. Both steps are in bytes; ``target`` is uint8.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, step, target, there, apart = args

        def times(value: Any, factor: int) -> Any:
            return builder.mul(value, ir.Constant(value.type, factor))

        rows = [_load_bytes(builder, builder.add(address, times(step, i)), TILE) for i in range(TILE)]
        for half in (1 << n for n in range(TILE.bit_length() - 1)):
            low = _lanes([TILE + lane - half if lane & half else lane for lane in range(TILE)])
            high = _lanes([TILE + lane if lane & half else lane + half for lane in range(TILE)])
            swapped = list(rows)
            for i in (i for i in range(TILE) if not i & half):
                swapped[i] = builder.shuffle_vector(rows[i], rows[i + half], low)
                swapped[i + half] = builder.shuffle_vector(rows[i], rows[i + half], high)
            rows = swapped
        for j, row in enumerate(rows):
            index = builder.add(there, times(apart, j))
            _store_bytes(builder, row, _element(context, builder, signature.args[2], target, index))
        return context.get_dummy_value()

    integer = types.intp
    return types.none(integer, integer, target, integer, integer), generate


@intrinsic
def weighted(
    typing_context: Any, source: Any, start: Any, step: Any, weights: Any, first: Any, count: Any,
    target: Any, there: Any,
) -> Any:  # fmt: skip
    """``LANES`` bytes at ``target[there]``: the sum over k < ``count`` of the ``LANES`` bytes at
    ``source[start + k * step]`` times ``weights[first + k]``, int32 of ``WEIGHT_BITS``, rounded and clipped.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, start, step, weights, first, count, target, there = args
        wide = ir.VectorType(_INTEGER, LANES)
        total = cgutils.alloca_once(builder, wide)  # LLVM keeps it in registers
        builder.store(_constant(1 << (WEIGHT_BITS - 1), LANES), total)
        pixels = _element(context, builder, signature.args[0], source, start)
        taps = _element(context, builder, signature.args[3], weights, first)
        with cgutils.for_range(builder, count, intp=count.type) as loop:
            here = builder.gep(pixels, [builder.mul(loop.index, step)])
            weight = builder.load(builder.gep(taps, [loop.index]), typ=_INTEGER)
            levels = builder.zext(_load_bytes(builder, here, LANES), wide)
            product = builder.mul(levels, _everywhere(builder, weight, LANES))
            builder.store(builder.add(builder.load(total, typ=wide), product), total)
        level = builder.ashr(builder.load(total, typ=wide), _constant(WEIGHT_BITS, LANES))
        place = _element(context, builder, signature.args[6], target, there)
        _store_bytes(builder, _clipped(builder, level), place)
        return context.get_dummy_value()

    integer = types.intp
    return types.none(source, integer, integer, weights, integer, integer, target, integer), generate


@intrinsic
def coloured(
    typing_context: Any, luma: Any, chroma: Any, matrix: Any, target: Any, there: Any, apart: Any
) -> Any:
    """``TILE`` pixels of a row of NV12 to bytes of R, G and B, at ``target[there]``, ``apart`` further and
    twice as far. luma, chroma: addresses; ``TILE`` bytes of Y, and half as many pairs of U and V.

    matrix: int32 (5,), as ``runtime.preprocess.nv12.Nv12.coefficients``.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        luma, chroma, matrix, target, there, apart = args
        wide = ir.VectorType(_INTEGER, TILE)
        pairs = _load_bytes(builder, chroma, TILE)

        def factor(k: int) -> Any:
            place = _element(context, builder, signature.args[2], matrix, ir.Constant(there.type, k))
            return _everywhere(builder, builder.load(place, typ=_INTEGER), TILE)

        def centred(odd: int) -> Any:
            both = builder.shuffle_vector(pairs, pairs, _lanes([i // 2 * 2 + odd for i in range(TILE)]))
            return builder.sub(builder.zext(both, wide), _constant(128, TILE))

        light = builder.sub(builder.zext(_load_bytes(builder, luma, TILE), wide), _constant(16, TILE))
        light = builder.select(builder.icmp_signed("<", light, _constant(0, TILE)), _constant(0, TILE), light)
        light = builder.add(builder.mul(light, factor(0)), _constant(1 << (MATRIX_BITS - 1), TILE))
        u, v = centred(0), centred(1)
        green = builder.add(builder.mul(u, factor(2)), builder.mul(v, factor(3)))
        for colour in (builder.mul(v, factor(1)), green, builder.mul(u, factor(4))):
            level = builder.ashr(builder.add(light, colour), _constant(MATRIX_BITS, TILE))
            place = _element(context, builder, signature.args[3], target, there)
            _store_bytes(builder, _clipped(builder, level), place)
            there = builder.add(there, apart)
        return context.get_dummy_value()

    integer = types.intp
    return types.none(integer, integer, matrix, target, integer, integer), generate
