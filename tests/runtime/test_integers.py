"""Exact networks by products of bytes, against their NumPy definition: every integer the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native_denoise.vectors.simd import LANES
from runtime.bundle import installed, load
from runtime.engines import EngineOptions, dot, integers
from runtime.engines.integers import CompiledNetwork, can_run
from runtime.prior.exact import ACCUMULATOR_LIMIT, MAGNITUDE, IntegerNetwork, Layer
from runtime.prior.synthesis import GraphSynthesis, open_synthesis

if not dot.available():
    pytest.skip("this CPU has no products of bytes", allow_module_level=True)

Shape = tuple[int, int, int]


def layer(rng: np.random.Generator, inputs: int, outputs: int, kernel: int, **changes: object) -> Layer:
    """Random weights of all sizes, whose sums stay exact."""
    transposed = bool(changes.get("transposed", False))
    shape = (inputs, outputs) if transposed else (outputs, inputs)
    most = min(MAGNITUDE, (ACCUMULATOR_LIMIT - 6000) // (MAGNITUDE * inputs * kernel * kernel))
    plain = Layer(
        weight=rng.integers(-most, most + 1, (*shape, kernel, kernel), dtype=np.int32),
        bias=rng.integers(-5000, 5000, outputs, dtype=np.int32),
        transposed=transposed, stride=1, padding=0, output_padding=0,
        shift=rng.integers(0, 13, outputs, dtype=np.int32), low=-MAGNITUDE, high=MAGNITUDE,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


@st.composite
def networks(draw: st.DrawFn) -> tuple[IntegerNetwork, Shape, int]:
    """Hidden layers, plain and transposed, a last one with or without a look-up; the shape of z; a seed."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    size = shape = (draw(st.integers(1, 9)), draw(st.integers(2, 6)), draw(st.integers(2, 2 * LANES // 3)))
    layers = []
    for _ in range(draw(st.integers(0, 2))):
        kernel, transposed = draw(st.integers(1, 5)), draw(st.booleans())
        stride = draw(st.integers(1, 3)) if transposed else 1
        geometry: dict[str, object] = {
            "transposed": transposed, "stride": stride, "leaky": draw(st.booleans()),
            "padding": draw(st.integers(0, (kernel - 1) // 2)),
            "output_padding": draw(st.integers(0, stride - 1)),
            "low": draw(st.sampled_from([-MAGNITUDE, 0])),
        }  # fmt: skip
        if not transposed:
            geometry |= {"padding": kernel // 2, "output_padding": 0}
        layers.append(layer(rng, size[0], draw(st.integers(1, 26)), kernel, **geometry))
        size = layers[-1](np.zeros(size, np.int32)).shape  # type: ignore[assignment]
    kernel = min(draw(st.integers(1, 3)), *size[1:])
    limits = {"low": -ACCUMULATOR_LIMIT, "high": ACCUMULATOR_LIMIT}
    last = layer(rng, size[0], 2 * draw(st.integers(1, 14)), kernel, **limits)
    rungs = np.sort(rng.integers(0, 64, 300)).astype(np.int32) if draw(st.booleans()) else None
    return IntegerNetwork((*layers, last), rungs), shape, seed


def some_z(shape: Shape, seed: int) -> np.ndarray:
    """Symbols of z, a few of them beyond what the network takes."""
    return np.random.default_rng(seed).integers(-150, 151, shape, dtype=np.int32)


@given(networks())
@settings(max_examples=150)
def test_every_network_equals_its_definition(case: tuple[IntegerNetwork, Shape, int]) -> None:
    network, shape, seed = case
    z = some_z(shape, seed)
    out = CompiledNetwork(network, shape, threads=1)(z)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, network(z).ravel())


@given(networks(), st.integers(2, 5))
@settings(max_examples=30)
def test_threads_share_rows(case: tuple[IntegerNetwork, Shape, int], threads: int) -> None:
    network, shape, seed = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integers, "WORTH_SHARING", 0)
        z = some_z(shape, seed)
        np.testing.assert_array_equal(CompiledNetwork(network, shape, threads)(z), network(z).ravel())


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_are_exact(sign: int) -> None:
    weight = np.full((2, 64, 1, 1), MAGNITUDE, np.int32)
    last = Layer(weight, np.full(2, 16_000, np.int32), False, 1, 0, 0, 0, -(1 << 20), 1 << 20)
    network = IntegerNetwork((last,))
    assert last.largest_sum() > 0.999 * ACCUMULATOR_LIMIT
    z = np.full((64, 3, 3), sign * MAGNITUDE, np.int32)
    np.testing.assert_array_equal(CompiledNetwork(network, (64, 3, 3), 1)(z), network(z).ravel())


def test_many_threads_may_call_at_once() -> None:
    rng = np.random.default_rng(3)
    network = IntegerNetwork((layer(rng, 4, 8, 3, padding=1, leaky=True), layer(rng, 8, 6, 3)))
    compiled = CompiledNetwork(network, (4, 20, 20), threads=2)
    frames = [some_z((4, 20, 20), seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for z, out in zip(frames, pool.map(compiled, frames), strict=True):
            np.testing.assert_array_equal(out, network(z).ravel())


def test_what_skips_pixels_is_left_to_the_graph() -> None:
    rng = np.random.default_rng(4)
    skips, plain = layer(rng, 2, 2, 3, stride=2), layer(rng, 2, 2, 3)
    up = layer(rng, 2, 2, 3, stride=2, transposed=True)
    assert can_run(IntegerNetwork((plain, plain))) and can_run(IntegerNetwork((up, plain)))
    assert not can_run(IntegerNetwork((skips, plain))) and not can_run(IntegerNetwork((plain, up)))


@pytest.mark.parametrize("name", [name for name in installed() if "mshp" in name])
def test_bundles_are_compiled_unless_a_graph_is_asked_for(name: str) -> None:
    bundle = load(name)
    compiled = open_synthesis(bundle, EngineOptions(threads=1))
    graph = open_synthesis(bundle, EngineOptions(threads=1, optimisation="extended"))
    assert isinstance(compiled, CompiledNetwork) and isinstance(graph, GraphSynthesis)
    assert bundle.manifest.hyper is not None
    for seed in range(3):
        z = some_z(bundle.manifest.hyper, seed)
        np.testing.assert_array_equal(compiled(z), graph(z))
