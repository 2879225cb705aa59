"""An imported h_s, leaky and with its scales looked up, as the attacker differentiates it."""

from __future__ import annotations

import numpy as np
import torch

from bench.attacks.differentiable.prior import DifferentiableHyperprior
from export.prior.table_bits import TableBits
from runtime.codec.limits import MEAN_STEPS
from runtime.codec.tables import SCALES, gaussian_tables, scale_index
from runtime.prior.exact import IntegerNetwork, Layer

STEPS = 64


def imported() -> IntegerNetwork:
    rng = np.random.default_rng(0)
    up = Layer(
        rng.integers(-60, 61, (2, 4, 5, 5)).astype(np.int32), np.zeros(4, np.int32),
        transposed=True, stride=2, padding=1, output_padding=0,
        shift=np.array([3, 4, 5, 4], np.int32), low=-127, high=127, leaky=True,
    )  # fmt: skip
    last = Layer(
        rng.integers(-60, 61, (6, 4, 3, 3)).astype(np.int32), np.full(6, 60_000, np.int32),
        transposed=False, stride=1, padding=0, output_padding=0,
        shift=np.array([6, 7, 6, 8, 9, 8], np.int32), low=-(1 << 20), high=1 << 20,
    )  # fmt: skip
    return IntegerNetwork((up, last), scale_index(np.arange(256 * STEPS) / STEPS))


def prior(network: IntegerNetwork) -> DifferentiableHyperprior:
    tables = TableBits(gaussian_tables(SCALES[[30, 30]]))
    return DifferentiableHyperprior(tables, TableBits(gaussian_tables()), len(SCALES), network)


def test_parameters_are_the_exact_networks() -> None:
    network = imported()
    z = np.random.default_rng(1).integers(-9, 10, (5, 2, 4, 4)).astype(np.int32)
    index, mean = prior(network).parameters(torch.from_numpy(z).float())
    expected = np.stack([network(one) for one in z])
    assert np.array_equal(index.numpy(), expected[:, :3])
    assert np.array_equal(mean.numpy() * MEAN_STEPS, expected[:, 3:])
    assert len(np.unique(expected[:, :3])) > 5


def test_gradients_pass_the_look_up_as_its_slope_and_the_leak_too() -> None:
    network = imported()
    z = np.random.default_rng(2).integers(-9, 10, (1, 2, 4, 4)).astype(np.float32)
    through = torch.from_numpy(z).requires_grad_(True)
    prior(network).parameters(through)[0].sum().backward()
    assert through.grad is not None and float((through.grad != 0).float().mean()) > 0.9
    assert network.rungs is not None
    # The same by hand: the gradient of the scales, times d(index)/d(scale) = 1 / (log-step * scale).
    scale = IntegerNetwork(network.layers)(z[0].astype(np.int32))[:3]
    slope = 1 / (np.log(SCALES[1] / SCALES[0]) * scale)
    by_hand = torch.from_numpy(z).requires_grad_(True)
    a = by_hand
    for layer in prior(network)._h_s:
        a = layer(a)
    a[:, :3].backward(torch.from_numpy(slope[None].astype(np.float32)))
    assert by_hand.grad is not None
    assert scale.min() > 2 * STEPS and scale.max() < 200 * STEPS  # where stairs are longer than a step
    error = (through.grad - by_hand.grad).abs().max() / by_hand.grad.abs().max()
    assert float(error) < 0.1
