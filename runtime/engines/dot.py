"""Products of bytes, four of them added to each lane of int32: what a CPU has for integer networks.

x86 multiplies unsigned bytes by signed ones (AVX-512 VNNI), so activations are kept with ZERO added, and the
bias takes ZERO times the weights off again; NEON (dotprod) multiplies signed by signed. Neither saturates.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from llvmlite import ir
from numba.core import cgutils

from native_denoise.vectors.register_block import keep_of, products_of, zeros_of
from native_denoise.vectors.simd import LANES, NEON, words

BYTES = 4
"""Products in a lane."""

ZERO = 0 if NEON else 128
"""The byte of an activation that is 0."""

BLOCK = 12 if LANES == 16 else 4
"""Channels whose sums, for both rows, leave registers for pixels and weights; a multiple of BYTES."""


def available() -> bool:
    """Whether this CPU has the instruction."""
    features = llvm.get_host_cpu_features()
    return bool(features.get("dotprod" if NEON else "avx512vnni", False)) and (NEON or LANES == 16)


def _add_product(builder: Any, weight: Any, pixels: Any, sum_: Any) -> Any:
    if not NEON:
        # LLVM's intrinsic has other types from version to version.
        kind = ir.FunctionType(words.llvm, [words.llvm] * 3)
        return builder.asm(kind, "vpdpbusd $3, $2, $0", "=v,0,v,v", [sum_, pixels, weight], False)
    quarter, bytes_ = ir.VectorType(ir.IntType(32), 4), ir.VectorType(ir.IntType(8), 16)
    kind = ir.FunctionType(quarter, [quarter, bytes_, bytes_])
    dot = cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.neon.sdot.v4i32.v16i8")
    halves = []
    for first in range(0, LANES, 4):
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), 4), list(range(first, first + 4)))
        sums, x, w = (builder.shuffle_vector(v, v, lanes) for v in (sum_, pixels, weight))
        halves.append(builder.call(dot, [sums, builder.bitcast(x, bytes_), builder.bitcast(w, bytes_)]))
    whole = ir.Constant(words.llvm, list(range(LANES)))
    return builder.shuffle_vector(*halves, whole)


zeros, keep = zeros_of(words, BLOCK), keep_of(words, BLOCK)
add_products = products_of(words, BLOCK, _add_product)
