"""Convolution sums of one block in registers: several channels at LANES pixels in each of two rows.

A weight is loaded once for the pixels of both rows, and a pixel once for all channels of the block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from native_denoise.vectors.simd import LANES, everywhere, vector

ROWS = 2

_NUMBER = ir.IntType(64)


def sums_of(block: int) -> Any:
    """Numba's type of the sums: channel by channel, the upper row before the lower."""
    return types.UniTuple(vector, ROWS * block)


def zeros_of(block: int) -> Any:
    """``zeros()``: sums of nothing."""

    @intrinsic
    def zeros(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return ir.Constant(ir.ArrayType(vector.llvm, ROWS * block), None)

        return sums_of(block)(), generate

    return zeros


def products_of(block: int, add_product: Callable[[Any, Any, Any, Any], Any]) -> Any:
    """``add_products(sums, weights, at, upper, lower)``: add to the sums the pixels of both rows times the
    weight of each channel; the weights begin at ``at``.

    add_product: (builder, weight, pixels, sum) -> the code for one vector of sums.
    """
    sums_type = sums_of(block)

    @intrinsic
    def add_products(typing_context: Any, sums: Any, weights: Any, at: Any, upper: Any, lower: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums, base = args[0], address_of(context, builder, signature, args, 1, 2)
            for channel in range(block):
                weight = everywhere(builder, builder.load(behind(builder, base, channel)))
                for number, pixels in enumerate(args[3:], channel * ROWS):
                    sum_ = add_product(builder, weight, pixels, builder.extract_value(sums, number))
                    sums = builder.insert_value(sums, sum_, number)
            return sums

        return sums_type(sums_type, weights, types.intp, vector, vector), generate

    return add_products


def keep_of(block: int) -> Any:
    """``keep(scratch, at, sums)``: write the sums, vector after vector."""

    @intrinsic
    def keep(typing_context: Any, scratch: Any, at: Any, sums: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            base = address_of(context, builder, signature, args, 0, 1)
            for number in range(ROWS * block):
                put(builder, builder.extract_value(args[2], number), behind(builder, base, number * LANES))
            return context.get_dummy_value()

        return types.void(scratch, types.intp, sums_of(block)), generate

    return keep


def address_of(context: Any, builder: Any, signature: Any, args: Any, array: int, index: int) -> Any:
    """Address of ``args[array][args[index]]``."""
    data = context.make_array(signature.args[array])(context, builder, args[array]).data
    return builder.gep(data, [args[index]])


def behind(builder: Any, pointer: Any, count: int) -> Any:
    """The address of so many elements more."""
    return builder.gep(pointer, [_NUMBER(count)])


def put(builder: Any, value: Any, pointer: Any) -> None:
    """Store a vector where an element is."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=4)
