"""Each vector operation against NumPy, and that kernels really became vector instructions."""

import platform

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native_denoise.cpu import descent
from native_denoise.vectors import simd
from native_denoise.vectors.simd import LANES


@numba.njit
def run(a, b, out):
    x, y = simd.load(a, 0), simd.load(b, 0)
    simd.store(out, 0, x + y)
    simd.store(out, LANES, x - y)
    simd.store(out, 2 * LANES, x * y)
    simd.store(out, 3 * LANES, simd.rsqrt(x))
    simd.store(out, 4 * LANES, simd.smaller(x, y))
    simd.store(out, 5 * LANES, simd.larger(x, y))
    simd.store(out, 6 * LANES, simd.right_neighbours(x, y))
    simd.store(out, 7 * LANES, simd.left_neighbours(x, y))
    simd.store(out, 8 * LANES, simd.splat(a[1]))
    simd.store(out, 9 * LANES, simd.rsqrt_twice(x))
    return simd.total(x)


def test_operations():
    a, b = np.random.default_rng(0).random((2, LANES), dtype=np.float32) + np.float32(1e-3)
    out = np.zeros(10 * LANES, dtype=np.float32)
    total = run(a, b, out)
    both = np.concatenate([a, b])
    want = [
        a + b, a - b, a * b, 1 / np.sqrt(a), np.minimum(a, b), np.maximum(a, b),
        both[1 : LANES + 1], both[LANES - 1 : -1], np.full(LANES, a[1]), 2 / np.sqrt(a),
    ]  # fmt: skip
    for got, expected in zip(out.reshape(10, LANES), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert total == pytest.approx(a.sum(), rel=1e-5)


@pytest.mark.parametrize("exponent", [-30, -12, -6, 0, 6])
def test_rsqrt_is_accurate_over_its_range(exponent):
    a = (np.linspace(1, 9, LANES) * 10.0**exponent).astype(np.float32)
    out = np.zeros(10 * LANES, dtype=np.float32)
    run(a, a, out)
    np.testing.assert_allclose(out[3 * LANES : 4 * LANES], 1 / np.sqrt(a.astype(np.float64)), rtol=1e-6)
    np.testing.assert_allclose(out[9 * LANES :], 2 / np.sqrt(a.astype(np.float64)), rtol=1e-6)


@numba.njit
def transpose(a, step, out, apart, count):
    simd.transpose(a, 0, step, out, 0, apart, count)


@given(count=st.integers(0, LANES), step=st.integers(LANES, 3 * LANES), apart=st.integers(LANES, 3 * LANES))
def test_transposition_writes_as_many_vectors_as_it_is_told(count, step, apart):
    a = np.random.default_rng(count).random((LANES, step), dtype=np.float32)
    out = np.zeros((LANES, apart), dtype=np.float32)
    want = out.copy()
    want[:count, :LANES] = a[:, :count].T
    transpose(a.ravel(), step, out.ravel(), apart, count)
    np.testing.assert_array_equal(out, want)


def assembly_of_two_rows_of_descent():
    @numba.njit
    def call(work, weights):
        floor = simd.splat(np.float32(1.0))
        descent.descent_pair(work, 64, 512, 128, 320, 768, 1024, weights, 0, 7, floor)

    call(np.ones(2048, dtype=np.float32), np.ones(2048, dtype=np.float32))
    (assembly,) = call.inspect_asm().values()
    return assembly


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
def test_two_rows_of_descent_are_vector_code_with_the_estimate_of_the_reciprocal_root():
    assembly = assembly_of_two_rows_of_descent()
    register = "%zmm" if LANES == 16 else "%ymm"
    assert "vrsqrt" in assembly
    assert register in assembly
    assert "vsqrtss" not in assembly
    assert "vdivps" not in assembly
    assert "vpermt2ps" not in assembly  # it would keep the multipliers from their work


@pytest.mark.skipif(platform.machine() not in ("aarch64", "arm64"), reason="reads ARM assembly")
def test_two_rows_of_descent_are_neon_code_with_the_estimate_of_the_reciprocal_root():
    assembly = assembly_of_two_rows_of_descent()
    assert "frsqrte" in assembly and ".4s" in assembly
    assert "fsqrt\t" not in assembly and "fdiv\t" not in assembly
