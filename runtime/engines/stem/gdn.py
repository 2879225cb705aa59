# mypy: disable-error-code=no-untyped-def
"""Tiles of a convolution of float32, and the GDN that follows it: x / (beta + gamma |x|).

The sums of a tile are in registers; its x is read from memory that stays in the first-level cache. This GDN,
with |x| and no root, is that of Johnston et al. 2019 (CompressAI's GDN1).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from native_denoise.vectors.jit import row
from native_denoise.vectors.simd import LANES, everywhere, load, vector
from runtime.engines.stem.register_block import (
    ROWS,
    address_of,
    behind,
    keep_of,
    products_of,
    put,
    sums_of,
    zeros_of,
)

BLOCK = 12 if LANES == 16 else 6
"""Channels whose sums, for both rows, fill three quarters of the registers."""

TILE = ROWS * LANES
"""Values of a channel in a tile."""

SUMS = sums_of(BLOCK)


def _add_product(builder: Any, weight: Any, pixels: Any, sum_: Any) -> Any:
    kind = ir.FunctionType(vector.llvm, [vector.llvm] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    return builder.call(fma, [weight, pixels, sum_])


zeros, keep = zeros_of(BLOCK), keep_of(BLOCK)
add_products = products_of(BLOCK, _add_product)


@row
def normalised(x, at, gamma, beta, block):
    """The quotients of BLOCK channels, those from ``block`` on.

    x: all channels of the tile, from ``at`` on, as ``keep`` writes them. gamma: channels in blocks, and in
    each of them column by column. beta: (channels,).
    """
    channels = beta.size
    sums = _spread(beta, block)
    for channel in range(channels):
        i = at + channel * TILE
        upper, lower = _magnitude(load(x, i)), _magnitude(load(x, i + LANES))
        sums = add_products(sums, gamma, block * channels + channel * BLOCK, upper, lower)
    return _divide(x, at + block * TILE, sums)


@intrinsic
def _spread(typing_context: Any, values: Any, at: Any) -> Any:
    """Sums that begin with a value a channel, those from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = address_of(context, builder, signature, args, 0, 1)
        sums = ir.Constant(ir.ArrayType(vector.llvm, ROWS * BLOCK), ir.Undefined)
        for number in range(ROWS * BLOCK):
            value = everywhere(builder, builder.load(behind(builder, base, number // ROWS)))
            sums = builder.insert_value(sums, value, number)
        return sums

    return SUMS(values, types.intp), generate


@intrinsic
def _divide(typing_context: Any, x: Any, at: Any, sums: Any) -> Any:
    """What ``keep`` wrote over the sums."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, sums = address_of(context, builder, signature, args, 0, 1), args[2]
        for number in range(ROWS * BLOCK):
            pointer = builder.bitcast(behind(builder, source, number * LANES), vector.llvm.as_pointer())
            ratio = builder.fdiv(builder.load(pointer, align=4), builder.extract_value(sums, number))
            sums = builder.insert_value(sums, ratio, number)
        return sums

    return SUMS(x, types.intp, SUMS), generate


@intrinsic
def _magnitude(typing_context: Any, value: Any) -> Any:
    """|value|."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(vector.llvm, [vector.llvm])
        return builder.call(
            cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{LANES}f32"), args
        )

    return vector(vector), generate


@intrinsic
def scatter(typing_context: Any, out: Any, at: Any, step: Any, plane: Any, sums: Any) -> Any:
    """Write sums from ``at`` on: the lower row ``step`` values behind the upper, a channel ``plane`` behind
    the one before.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, (step, plane, sums) = address_of(context, builder, signature, args, 0, 1), args[2:]
        for number in range(0, ROWS * BLOCK, ROWS):
            put(builder, builder.extract_value(sums, number), base)
            put(builder, builder.extract_value(sums, number + 1), builder.gep(base, [step]))
            base = builder.gep(base, [plane])
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, types.intp, SUMS), generate


@intrinsic
def scatter_apart(typing_context: Any, out: Any, at: Any, odd: Any, step: Any, plane: Any, sums: Any) -> Any:
    """The same with the even columns of each row together and the odd ones ``odd`` values behind them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, (odd, step, plane, sums) = address_of(context, builder, signature, args, 0, 1), args[2:]
        lanes = ir.VectorType(ir.IntType(32), LANES // 2)
        for number in range(0, ROWS * BLOCK, ROWS):
            for line, begin in enumerate((base, builder.gep(base, [step]))):
                value = builder.extract_value(sums, number + line)
                for parity, place in enumerate((begin, builder.gep(begin, [odd]))):
                    chosen = ir.Constant(lanes, list(range(parity, LANES, 2)))
                    put(builder, builder.shuffle_vector(value, value, chosen), place)
            base = builder.gep(base, [plane])
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, types.intp, types.intp, SUMS), generate
