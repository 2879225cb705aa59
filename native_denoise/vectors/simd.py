"""A vector of float32 lanes as a Numba type, so that a kernel says which instructions it needs.

LLVM's loop vectoriser gives up on the sweeps of this package: it would have to prove at run time, row by
row, that seven arrays do not overlap, and it cannot carry a flux from one vector to the next cheaply.  With
explicit vectors a row costs its arithmetic and nothing else, and any target works: LLVM splits a vector that
is wider than the registers (two on NEON).

Arithmetic may be contracted into fused multiply-adds, and ``rsqrt`` may use the machine's estimate with
Newton steps (relative error below 1e-6); nothing else is relaxed, so NaN and infinity behave as in IEEE 754.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import llvmlite.binding as llvm  # type: ignore[import-untyped]
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

_features = llvm.get_host_cpu_features()

llvm.initialize_native_asmparser()  # for the one instruction that is written as assembly

LANES = 16 if _features.get("avx512f", False) else 8
"""Lanes in a vector: 16 where AVX-512 is there, else 8."""

NEON = llvm.get_process_triple().startswith(("aarch64", "arm64"))

ESTIMATES = not NEON and _features.get("avx", False)
"""Whether there is x86's estimate of the reciprocal root for a whole vector."""

_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)


class VectorType(types.Type):
    """Numba's type of ``LANES`` float32 values; ``llvm`` is LLVM's."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")
        self.llvm = _VECTOR


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: VectorType) -> None:
        super().__init__(manager, kind, kind.llvm)


def _constant(value: float) -> ir.Constant:
    return ir.Constant(_VECTOR, [value] * LANES)


def _lanes(numbers: Iterable[int]) -> ir.Constant:
    chosen = list(numbers)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(chosen)), chosen)


def everywhere(builder: Any, scalar: Any) -> Any:
    """Code for a vector with the same number in every lane."""
    kind = ir.VectorType(scalar.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), _lanes([0] * LANES))


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, value=array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """``array[index : index + LANES]`` of a contiguous 1-D float32 array; no bounds check."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature.args[0], args[0], args[1])
        return builder.load(address, align=4, typ=_VECTOR)

    return vector(array, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """``array[index : index + LANES] = value``, of a float32 array; no bounds check."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = _address(context, builder, signature.args[0], args[0], args[1])
        builder.store(args[2], address, align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), generate


@intrinsic
def splat(typing_context: Any, value: Any) -> Any:
    """The same float32 in every lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return everywhere(builder, args[0])

    return vector(types.float32), generate


def _shuffle(first_lane: int) -> Any:
    """Code for the lanes ``first_lane ...`` of two vectors laid end to end."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if LANES == 16:
            # LLVM would take vpermt2ps, which on Zen 4 keeps the multipliers busy; valignd does not.
            kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR])
            code = f"valignd $${first_lane}, $1, $2, $0"
            return builder.asm(kind, code, "=v,v,v", [args[0], args[1]], False)
        return builder.shuffle_vector(args[0], args[1], _lanes(range(first_lane, first_lane + LANES)))

    return generate


@intrinsic
def right_neighbours(typing_context: Any, here: Any, following: Any) -> Any:
    """Lane i holds the value at i + 1: ``here`` moved one lane down, the first of ``following`` at its
    end.
    """
    return vector(vector, vector), _shuffle(1)


@intrinsic
def left_neighbours(typing_context: Any, before: Any, here: Any) -> Any:
    """Lane i holds the value at i - 1: ``here`` moved one lane up, the last of ``before`` at its start."""
    return vector(vector, vector), _shuffle(LANES - 1)


@intrinsic
def transpose(
    typing_context: Any, source: Any, start: Any, step: Any, target: Any, there: Any, apart: Any, count: Any
) -> Any:
    """Vector k at ``target[there + k * apart]`` gets element k of each of the LANES vectors at
    ``source[start + l * step]``, for k < ``count``.  All are loaded before the first is stored, in the order
    of k.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def address(array: int, first: int, distance: int, number: int) -> Any:
            index = builder.add(
                args[first], builder.mul(args[distance], ir.Constant(args[first].type, number))
            )
            return _address(context, builder, signature.args[array], args[array], index)

        vectors = [builder.load(address(0, 1, 2, k), align=4, typ=_VECTOR) for k in range(LANES)]
        for k, vector in enumerate(_transposed(builder, vectors)):
            with builder.if_then(builder.icmp_signed(">", args[6], ir.Constant(args[6].type, k))):
                builder.store(vector, address(3, 4, 5, k), align=4)
        return context.get_dummy_value()

    integer = types.intp
    return types.none(source, integer, integer, target, integer, integer, integer), generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """The square of LANES vectors transposed: in squares of 2, 4, 8 ... the two quarters off the diagonal
    change places.
    """
    for half in (1 << n for n in range(LANES.bit_length() - 1)):
        low = _lanes(LANES + lane - half if lane & half else lane for lane in range(LANES))
        high = _lanes(LANES + lane if lane & half else lane + half for lane in range(LANES))
        swapped = list(rows)
        for i in (i for i in range(LANES) if not i & half):
            swapped[i] = builder.shuffle_vector(rows[i], rows[i + half], low)
            swapped[i + half] = builder.shuffle_vector(rows[i], rows[i + half], high)
        rows = swapped
    return rows


@intrinsic
def rsqrt_twice(typing_context: Any, value: Any) -> Any:
    """``2 / sqrt(value)``, a multiplication cheaper than ``rsqrt``: without the half of its Newton step."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if not ESTIMATES:
            return builder.fmul(_constant(2.0), _rsqrt(builder, args))
        y = _estimate_of_x86(builder, args[0])
        square = builder.fmul(builder.fmul(args[0], y), y, flags=("contract",))
        return builder.fmul(y, builder.fsub(_constant(3.0), square, flags=("contract",)))

    return vector(vector), generate


@intrinsic
def rsqrt(typing_context: Any, value: Any) -> Any:
    """``1 / sqrt(value)`` by estimate and Newton steps where the machine has one; value > 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _rsqrt(builder, args)

    return vector(vector), generate


def _rsqrt(builder: Any, args: Any) -> Any:
    if NEON:
        return _rsqrt_of_neon(builder, args[0])
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    root = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f32")
    # Without these two flags LLVM emits a square root and a division, ten times the latency.
    return builder.fdiv(_constant(1.0), builder.call(root, args, fastmath=("fast",)), flags=("fast",))


def _estimate_of_x86(builder: Any, value: Any) -> Any:
    """``1 / sqrt(value)`` to 14 bits (AVX-512) or 11.4."""
    if LANES == 16:
        kind = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR, ir.IntType(16)])
        estimate = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.rsqrt14.ps.512")
        return builder.call(estimate, [value, value, ir.Constant(ir.IntType(16), -1)])
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    estimate = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx.rsqrt.ps.256")
    return builder.call(estimate, [value])


def _rsqrt_of_neon(builder: Any, value: Any) -> Any:
    """LLVM estimates on x86 alone. 8 bits, doubled by each of two steps: y <- y (3 - x y y) / 2."""
    quarter = ir.VectorType(_FLOAT, 4)
    kind, kind_of_step = ir.FunctionType(quarter, [quarter]), ir.FunctionType(quarter, [quarter, quarter])
    estimate = cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.neon.frsqrte.v4f32")
    step = cgutils.get_or_insert_function(builder.module, kind_of_step, "llvm.aarch64.neon.frsqrts.v4f32")
    halves = []
    for first in range(0, LANES, 4):
        x = builder.shuffle_vector(value, value, _lanes(range(first, first + 4)))
        y = builder.call(estimate, [x])
        for _ in range(2):
            y = builder.fmul(y, builder.call(step, [x, builder.fmul(y, y)]))
        halves.append(y)
    return builder.shuffle_vector(*halves, _lanes(range(LANES)))


def _selected(comparison: str) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(comparison, args[0], args[1]), args[0], args[1])

    return generate


@intrinsic
def smaller(typing_context: Any, a: Any, b: Any) -> Any:
    """The smaller of each pair of lanes."""
    return vector(vector, vector), _selected("<")


@intrinsic
def larger(typing_context: Any, a: Any, b: Any) -> Any:
    """The larger of each pair of lanes."""
    return vector(vector, vector), _selected(">")


@intrinsic
def border(typing_context: Any, right: Any, here: Any, lane: Any) -> Any:
    """``right``, but one lane is that of ``here``: the last pixel of a row is its own neighbour."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = everywhere(builder, builder.trunc(args[2], ir.IntType(32)))
        return builder.select(builder.icmp_unsigned("==", number, _lanes(range(LANES))), args[1], args[0])

    return vector(vector, vector, types.intp), generate


@intrinsic
def total(typing_context: Any, value: Any) -> Any:
    """Sum of the lanes, as float32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        result = ir.Constant(_FLOAT, 0.0)
        for lane in range(LANES):
            result = builder.fadd(result, builder.extract_element(args[0], ir.Constant(ir.IntType(32), lane)))
        return result

    return types.float32(vector), generate


def _arithmetic(instruction: str) -> Any:
    @intrinsic
    def operate(typing_context: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return getattr(builder, instruction)(args[0], args[1], flags=("contract",))

        return vector(vector, vector), generate

    return operate


def _define(symbol: Any, instruction: str) -> None:
    """Make ``vector symbol vector`` mean ``instruction``."""
    operate = _arithmetic(instruction)

    @overload(symbol)
    def operator_of_vectors(a: Any, b: Any) -> Any:
        if a == vector and b == vector:
            # Numba wants the same annotations here as above.
            def implementation(a: Any, b: Any) -> Any:
                return operate(a, b)

            return implementation
        return None


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
