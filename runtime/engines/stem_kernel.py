# mypy: disable-error-code=no-untyped-def
"""A convolution and its GDN for a few pixels at a time, on the vectors of ``native_denoise.cpu.simd``.

The sums of BLOCK channels at LANES pixels in each of two rows are in registers; a weight is loaded once for
both rows. Their x and then their |x| are read from a scratch that stays in the first-level cache.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from native_denoise.cpu.jit import kernel
from native_denoise.cpu.simd import LANES, everywhere, load, vector

ROWS = 2
BLOCK = 12 if LANES == 16 else 6
"""Channels whose sums, for both rows, fill three quarters of the registers."""

SUMS = types.UniTuple(vector, ROWS * BLOCK)
"""Channel by channel, the upper row before the lower."""

_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_NUMBER = ir.IntType(64)


@kernel
def stem(planes, offsets, step, weights, gamma, beta, scratch, out, side, first, last):
    """Rows [first, last), an even number, of x / (beta + gamma |x|), x being the convolution of ``planes``.

    planes: the image; tap n of pixel (row, column) is at ``offsets[n] + row * step + column``.
    weights, gamma: channels in blocks, as ``stem._blocks`` lays them out. beta: (channels,).
    scratch: 2 * channels vectors. out: (channels, side, side), flat; ``side`` is a multiple of LANES.
    """
    channels, taps = beta.size, offsets.size
    for row in range(first, last, ROWS):
        for column in range(0, side, LANES):
            here = row * step + column
            for block in range(0, channels, BLOCK):
                sums = zeros()
                for tap in range(taps):
                    upper = offsets[tap] + here
                    x, y = load(planes, upper), load(planes, upper + step)
                    sums = add_products(sums, weights, block * taps + tap * BLOCK, x, y)
                keep(scratch, block * ROWS * LANES, sums)
            for block in range(0, channels, BLOCK):
                sums = spread(beta, block)
                for channel in range(channels):
                    at = channel * ROWS * LANES
                    x, y = magnitude(load(scratch, at)), magnitude(load(scratch, at + LANES))
                    sums = add_products(sums, gamma, block * channels + channel * BLOCK, x, y)
                where = (block * side + row) * side + column
                divide(out, where, side, scratch, block * ROWS * LANES, sums)


@intrinsic
def zeros(typing_context: Any) -> Any:
    """Sums of nothing."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(ir.ArrayType(_VECTOR, ROWS * BLOCK), None)

    return SUMS(), generate


@intrinsic
def spread(typing_context: Any, values: Any, at: Any) -> Any:
    """Sums that begin with a value a channel, those from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, sums = (
            _pointer(context, builder, signature, args, 0, 1),
            ir.Constant(ir.ArrayType(_VECTOR, ROWS * BLOCK), ir.Undefined),
        )
        for number in range(ROWS * BLOCK):
            value = everywhere(builder, builder.load(_behind(builder, base, number // ROWS)))
            sums = builder.insert_value(sums, value, number)
        return sums

    return SUMS(values, types.intp), generate


@intrinsic
def add_products(typing_context: Any, sums: Any, weights: Any, at: Any, upper: Any, lower: Any) -> Any:
    """The sums, and the pixels of both rows times a weight a channel, those from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums, base = args[0], _pointer(context, builder, signature, args, 1, 2)
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        add_product = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
        for channel in range(BLOCK):
            weight = everywhere(builder, builder.load(_behind(builder, base, channel)))
            for number, pixels in enumerate(args[3:], channel * ROWS):
                sum_ = builder.call(add_product, [weight, pixels, builder.extract_value(sums, number)])
                sums = builder.insert_value(sums, sum_, number)
        return sums

    return SUMS(SUMS, weights, types.intp, vector, vector), generate


@intrinsic
def keep(typing_context: Any, scratch: Any, at: Any, sums: Any) -> Any:
    """Write the sums, vector after vector."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = _pointer(context, builder, signature, args, 0, 1)
        for number in range(ROWS * BLOCK):
            _store(builder, builder.extract_value(args[2], number), _behind(builder, base, number * LANES))
        return context.get_dummy_value()

    return types.void(scratch, types.intp, SUMS), generate


@intrinsic
def divide(typing_context: Any, out: Any, at: Any, side: Any, scratch: Any, kept: Any, sums: Any) -> Any:
    """Write what was kept over the sums: rows of ``side`` values, a plane of as many rows a channel."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, side = _pointer(context, builder, signature, args, 0, 1), args[2]
        source = _pointer(context, builder, signature, args, 3, 4)
        for number in range(ROWS * BLOCK):
            pointer = builder.bitcast(_behind(builder, source, number * LANES), _VECTOR.as_pointer())
            ratio = builder.fdiv(builder.load(pointer, align=4), builder.extract_value(args[5], number))
            _store(builder, ratio, builder.gep(base, [side]) if number % ROWS else base)
            if number % ROWS:
                base = builder.gep(base, [builder.mul(side, side)])
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, scratch, types.intp, SUMS), generate


@intrinsic
def magnitude(typing_context: Any, value: Any) -> Any:
    """|value|."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_VECTOR, [_VECTOR])
        return builder.call(
            cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{LANES}f32"), args
        )

    return vector(vector), generate


def _pointer(context: Any, builder: Any, signature: Any, args: Any, array: int, index: int) -> Any:
    """Address of ``args[array][args[index]]``."""
    data = context.make_array(signature.args[array])(context, builder, args[array]).data
    return builder.gep(data, [args[index]])


def _behind(builder: Any, pointer: Any, count: int) -> Any:
    return builder.gep(pointer, [_NUMBER(count)])


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)
