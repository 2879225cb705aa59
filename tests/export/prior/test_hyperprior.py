"""The float hyperprior, its quantised twin, and the integers that are shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.graphs.integer_graph import write_integer_network
from export.plans import HyperpriorPlan
from export.prior.exact import code_size, integer_network
from export.prior.factorized import channel_bits, channel_tables
from export.prior.hyperprior import HyperpriorModule, SynthesisModule, gaussian_bits
from export.prior.hyperprior_fit import fit_hyperprior, train
from runtime.codec.limits import MEAN_STEPS
from runtime.codec.tables import SCALES, gaussian_tables
from runtime.engines import EngineOptions, open_engine


def latents(n: int = 64, channels: int = 5, size: int = 7, seed: int = 0) -> torch.Tensor:
    """Latents whose scale changes from place to place: what a hyperprior is for."""
    generator = torch.Generator().manual_seed(seed)
    loud = torch.rand(n, 1, size // 2 + 1, size // 2 + 1, generator=generator).round() * 7 + 0.3
    scale = torch.nn.functional.interpolate(loud, size=size)
    return torch.randn(n, channels, size, size, generator=generator) * scale


@pytest.mark.parametrize("size", [4, 7, 8, 14])
def test_shapes_return_to_those_of_y(size: int) -> None:
    model = HyperpriorModule(5, size, 3)
    y = latents(2, size=size)
    index, mean = model.h_s(torch.round(model.h_a(y)))
    assert index.shape == mean.shape == y.shape


@pytest.mark.parametrize("size", [4, 7])
def test_integers_equal_the_quantised_float_network(size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    synthesis = SynthesisModule(channels=5, hyper=3, output_padding=1 - size % 2)
    synthesis.quantise(True)
    network = integer_network(synthesis)
    shape = (3, (size + 1) // 2, (size + 1) // 2)
    write_integer_network(network, shape, tmp_path / "h_s.onnx")
    engine = open_engine(tmp_path / "h_s.onnx", EngineOptions(threads=1))
    rng = np.random.default_rng(0)
    for _ in range(20):
        z = rng.integers(-20, 21, shape).astype(np.int32)
        with torch.no_grad():
            index, mean = synthesis.double()(torch.from_numpy(z)[None].double())
        out = network(z)
        assert np.array_equal(np.clip(out[:5], 0, 63), index[0].numpy().astype(np.int64))
        assert np.array_equal(out[5:], (mean[0] * MEAN_STEPS).numpy().astype(np.int64))
        assert np.array_equal(engine.run(z[None].astype(np.float32))[0][0].astype(np.int64), out)
        synthesis.float()


def test_gaussian_bits_are_those_of_the_tables() -> None:
    """float32 formula against the integer tables, away from the escapes."""
    tables = gaussian_tables()
    for table in (5, 20, 40, 55):
        symbols = np.arange(-2, 3, dtype=np.int32)
        if SCALES[table] < 0.6:
            symbols = symbols[1:-1]
        exact = tables.information_bits(symbols, np.full(len(symbols), table, dtype=np.int32))
        index = torch.full((len(symbols),), float(table))
        ours = gaussian_bits(torch.from_numpy(symbols).float(), index).numpy()
        assert np.allclose(ours, exact, rtol=2e-3, atol=2e-3)


def test_channel_tables_cost_the_entropy() -> None:
    symbols = torch.randint(-3, 4, (500, 2, 4, 4), generator=torch.Generator().manual_seed(0)).float()
    bits = channel_bits(channel_tables(symbols), symbols)
    assert bits == pytest.approx(32 * np.log2(7), rel=2e-3)


def test_training_starts_at_the_bits_of_the_true_scales() -> None:
    """Channels of four known scales: before the first step y costs what Gaussians of these scales do."""
    torch.manual_seed(0)
    scales = torch.tensor([0.3, 1.0, 4.0, 20.0])
    y = torch.randn(32, 4, 7, 7) * scales[:, None, None]
    model = HyperpriorModule(4, 7, 3)
    model.start_from(y)
    with torch.no_grad():
        bits = float(model(y)[0]) / y.numel()
    assert bits == pytest.approx(np.mean([entropy(scale) for scale in scales.tolist()]), abs=0.03)


def entropy(scale: float) -> float:
    """Bits of a rounded zero-mean Gaussian, by the error function."""
    edges = torch.arange(-200, 202).double() - 0.5
    mass = torch.special.ndtr(edges / scale).diff()
    return float(-(mass * torch.log2(mass.clamp_min(1e-300))).sum())


def test_a_step_has_the_gradient_of_its_own_batch_alone() -> None:
    """One frame, at a rate of 0: after four steps the gradient is that of one step, not of four."""

    def gradient(steps: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = HyperpriorModule(2, 4, 2)
        plan = HyperpriorPlan(float_steps=steps, batch=2, learning_rate=0.0)
        train(model, torch.linspace(-2, 3, 32).reshape(1, 2, 4, 4), plan, False, lambda bits: None)
        bias = model.h_s.quantised_layers()[-1].layer.bias
        assert bias is not None and bias.grad is not None
        return bias.grad

    assert float(gradient(1).abs().max()) > 0.1
    torch.testing.assert_close(gradient(4), gradient(1))


def test_training_finds_the_scales_and_exactness_costs_little() -> None:
    torch.manual_seed(0)
    y = latents(128, channels=12)
    model = HyperpriorModule(12, 7, 4)
    model.start_from(y)
    static = channel_bits(channel_tables(torch.round(y)), torch.round(y))
    seen: list[float] = []
    plan = HyperpriorPlan(float_steps=200, exact_steps=30, batch=16)
    train(model, y, plan, False, seen.append)
    in_float = sum(code_size(model, y))
    train(model, y, plan, True, seen.append)
    exact = sum(code_size(model, y))
    assert len(seen) == 230
    assert in_float < 0.95 * static
    assert exact < 1.02 * in_float


def test_fit_returns_what_a_bundle_needs() -> None:
    y = latents(64)
    fitted = fit_hyperprior(y, HyperpriorPlan(float_steps=20, exact_steps=5, batch=16))
    assert fitted.hyper[1:] == (4, 4) and len(fitted.z_tables) == fitted.hyper[0]
    assert set(fitted.notes) == {"float_h_s_bytes", "exact_h_s_bytes", "z_bytes"}
    integer_network(fitted.h_s)
