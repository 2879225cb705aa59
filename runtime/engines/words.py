"""What happens to vectors of int32 between the sums of a layer of an exact network and the bytes of the next.

All of it is exact: no sum of an exact network takes more than 24 bits, its leak included.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from native_denoise.vectors.simd import LANES, everywhere, vector, words
from runtime.engines.dot import ZERO
from runtime.prior.exact import LEAK


@intrinsic
def requantised(context: Any, sums: Any, bias: Any, shift: Any, leaky: Any, low: Any, high: Any) -> Any:
    """``runtime.prior.exact.Layer`` after its sums: words of one channel."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bias, shift, low, high = (everywhere(builder, args[n]) for n in (1, 2, 4, 5))
        total = builder.add(args[0], bias)
        value = builder.ashr(total, shift)
        leak = builder.ashr(builder.mul(total, _all(LEAK[0])), builder.add(shift, _all(LEAK[1])))
        leaking = builder.select(builder.icmp_signed(">", leak, value), leak, value)
        return _limited(builder, builder.select(args[3], leaking, value), low, high)

    return words(words, types.int32, types.int32, types.boolean, types.int32, types.int32), generate


@intrinsic
def packed(context: Any, first: Any, second: Any, third: Any, fourth: Any) -> Any:
    """Four channels -> a word for each pixel."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = _all(0)
        for number, value in enumerate(args):
            byte = builder.and_(builder.add(value, _all(ZERO)), _all(255))
            word = builder.or_(word, builder.shl(byte, _all(8 * number)))
        return word

    return words(words, words, words, words), generate


@intrinsic
def floats(context: Any, value: Any) -> Any:
    """As float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sitofp(args[0], vector.llvm)

    return vector(words), generate


def _all(number: int) -> Any:
    return ir.Constant(words.llvm, [number] * LANES)


def _limited(builder: Any, value: Any, low: Any, high: Any) -> Any:
    raised = builder.select(builder.icmp_signed(">", value, low), value, low)
    return builder.select(builder.icmp_signed("<", raised, high), raised, high)
