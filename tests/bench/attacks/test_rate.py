"""PGD-E stays inside its budget, and its rate is the tables' rate."""

import numpy as np
import pytest
import torch

from bench.attacks.rate import FactorizedRate, attack_rate
from runtime.bundle import load
from runtime.errors import BundleError
from runtime.head import Head
from runtime.tables import Tables
from tests.tiny_bundle import tiny_images


@pytest.fixture(scope="module")
def images(tiny_bundles):
    prepare = load(tiny_bundles["fp"]).manifest.preprocess
    return torch.from_numpy(np.concatenate([prepare(image) for image in tiny_images(6)]))


def test_the_rate_is_exact_at_integers_and_linear_between(tiny_bundles):
    bundle = load(tiny_bundles["fp"])
    tables = Tables.from_arrays(bundle.arrays("prior"))
    rate = FactorizedRate(bundle)
    rng = np.random.default_rng(0)
    low, high = tables.offset.max(), (tables.offset + tables.size - 2).min()
    shape = bundle.manifest.latent
    symbols = rng.integers(low, high, (4, *shape)).astype(np.int32)  # high, left out, leaves room for + 1
    index = np.broadcast_to(np.arange(shape[0], dtype=np.int32)[:, None, None], symbols.shape)
    exact = tables.information_bits(symbols, np.ascontiguousarray(index)).reshape(4, -1).sum(1)
    above = tables.information_bits(symbols + 1, np.ascontiguousarray(index)).reshape(4, -1).sum(1)
    y = torch.from_numpy(symbols).float()
    assert rate.of_latent(y).numpy() == pytest.approx(exact, rel=1e-5)
    assert rate.of_latent(y + 0.25).numpy() == pytest.approx(0.75 * exact + 0.25 * above, rel=1e-5)


@pytest.mark.parametrize("eps", [0.0, 2 / 255, 16 / 255])
def test_the_budget_is_kept(eps, images, tiny_bundles):
    before = images.clone()
    out = attack_rate(FactorizedRate(load(tiny_bundles["fp"])), images, eps, steps=5)
    assert torch.equal(images, before)
    assert float((out - images).abs().max()) <= eps + 1e-7
    assert float(out.min()) >= 0 and float(out.max()) <= 1


def test_packets_grow_and_more_with_a_larger_budget(images, tiny_bundles):
    bundle = load(tiny_bundles["fp"])
    rate, head = FactorizedRate(bundle), Head(bundle)

    def size(batch):
        squares = np.rint(255 * batch.numpy().transpose(0, 2, 3, 1)).astype(np.uint8)
        return sum(len(head.encode(square).to_bytes()) for square in squares)

    sizes = [size(attack_rate(rate, images, eps / 255)) for eps in (0, 4, 16)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_the_same_seed_is_the_same_attack(images, tiny_bundles):
    rate = FactorizedRate(load(tiny_bundles["fp"]))
    first, again, other = (attack_rate(rate, images, 0.02, 3, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_hyperprior_is_refused(tiny_bundles):
    with pytest.raises(BundleError, match="factorized"):
        FactorizedRate(load(tiny_bundles["mshp"]))
