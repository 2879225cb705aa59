# mypy: disable-error-code=no-untyped-def
"""A convolution and its GDN for a few pixels at a time, on the vectors of ``native_denoise.cpu.simd``.

The sums of a tile are in registers; its x and then its |x| are read from a scratch that stays in the
first-level cache.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from native_denoise.cpu.jit import kernel
from native_denoise.cpu.simd import LANES, everywhere, load, vector
from runtime.engines.tile import ROWS, address_of, behind, keep_of, products_of, put, sums_of, zeros_of

BLOCK = 12 if LANES == 16 else 6
"""Channels whose sums, for both rows, fill three quarters of the registers."""

SUMS = sums_of(vector, BLOCK)


def _add_product(builder: Any, weight: Any, pixels: Any, sum_: Any) -> Any:
    kind = ir.FunctionType(vector.llvm, [vector.llvm] * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    return builder.call(fma, [weight, pixels, sum_])


zeros, keep = zeros_of(vector, BLOCK), keep_of(vector, BLOCK)
add_products = products_of(vector, BLOCK, _add_product)


@kernel
def lay_out(image, mean, planes, padding):
    """image, float32 (c, side, side), less the mean of each channel to ``planes``, (c, rows, 2, columns): its
    columns of even and of odd number apart, behind ``padding`` rows and half as many columns.
    """
    for c in range(image.shape[0]):
        for y in range(image.shape[1]):
            line = image[c, y]
            even, odd = planes[c, y + padding, 0, padding // 2 :], planes[c, y + padding, 1, padding // 2 :]
            for x in range(line.size // 2):
                even[x], odd[x] = line[2 * x] - mean[c], line[2 * x + 1] - mean[c]


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
def spread(typing_context: Any, values: Any, at: Any) -> Any:
    """Sums that begin with a value a channel, those from ``at`` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, sums = (
            address_of(context, builder, signature, args, 0, 1),
            ir.Constant(ir.ArrayType(vector.llvm, ROWS * BLOCK), ir.Undefined),
        )
        for number in range(ROWS * BLOCK):
            value = everywhere(builder, builder.load(behind(builder, base, number // ROWS)))
            sums = builder.insert_value(sums, value, number)
        return sums

    return SUMS(values, types.intp), generate


@intrinsic
def divide(typing_context: Any, out: Any, at: Any, side: Any, scratch: Any, kept: Any, sums: Any) -> Any:
    """Write what was kept over the sums: rows of ``side`` values, a plane of as many rows a channel."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base, side = address_of(context, builder, signature, args, 0, 1), args[2]
        source = address_of(context, builder, signature, args, 3, 4)
        for number in range(ROWS * BLOCK):
            pointer = builder.bitcast(behind(builder, source, number * LANES), vector.llvm.as_pointer())
            ratio = builder.fdiv(builder.load(pointer, align=4), builder.extract_value(args[5], number))
            put(builder, ratio, builder.gep(base, [side]) if number % ROWS else base)
            if number % ROWS:
                base = builder.gep(base, [builder.mul(side, side)])
        return context.get_dummy_value()

    return types.void(out, types.intp, types.intp, scratch, types.intp, SUMS), generate


@intrinsic
def magnitude(typing_context: Any, value: Any) -> Any:
    """|value|."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(vector.llvm, [vector.llvm])
        return builder.call(
            cgutils.get_or_insert_function(builder.module, kind, f"llvm.fabs.v{LANES}f32"), args
        )

    return vector(vector), generate
