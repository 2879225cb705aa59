"""The look-up of an exact h_s fitted to symbols whose scale is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from export.paper.build import exact_bits
from export.paper.rungs import ENOUGH, fit_rungs
from runtime.codec.tables import scale_index
from runtime.prior.exact import IntegerNetwork, Layer

STEPS = 64
LARGEST = 100  # z: scales up to 12.5


def scale_is_z() -> IntegerNetwork:
    """One channel of z -> scale = z / 8, mean = 0."""
    layer = Layer(
        np.array([8, 0], np.int32).reshape(2, 1, 1, 1), np.zeros(2, np.int32),
        transposed=False, stride=1, padding=0, output_padding=0, shift=0, low=-(1 << 20), high=1 << 20,
    )  # fmt: skip
    return IntegerNetwork((layer,), scale_index(np.arange(256 * STEPS) / STEPS))


def latents(factor: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """y that deviates ``factor`` times as far as its scale says, and z."""
    rng = np.random.default_rng(seed)
    z = np.repeat(np.arange(2, LARGEST, 2), 4 * ENOUGH).reshape(1, 1, -1, ENOUGH)
    y = rng.normal(0, factor * z / 8)
    return torch.from_numpy(y).float(), torch.from_numpy(z).float()


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_rungs_find_the_scale_that_symbols_have(factor: float) -> None:
    y, z = latents(factor)
    fitted = fit_rungs(scale_is_z(), y, z).rungs
    assert fitted is not None
    seen = np.arange(2, LARGEST, 2)
    wanted = scale_index(factor * seen / 8)
    clear = factor * seen / 8 > 0.3  # where a symbol says something about its scale
    assert np.abs(fitted[8 * seen] - wanted)[clear].max() <= 2
    assert np.abs(fitted[8 * seen] - wanted)[clear].mean() < 1


def test_rungs_never_descend_and_stay_where_nothing_was_seen() -> None:
    y, z = latents(0.7)
    network = scale_is_z()
    fitted = fit_rungs(network, y, z).rungs
    assert fitted is not None and network.rungs is not None
    assert (np.diff(fitted) >= 0).all()
    beyond = np.arange(len(fitted)) > 8 * LARGEST * 2
    assert np.array_equal(fitted[beyond], network.rungs[beyond])


def test_fitting_saves_bits_on_other_latents() -> None:
    network = scale_is_z()
    fitted = fit_rungs(network, *latents(2.0))
    other = latents(2.0, seed=1)
    assert exact_bits(fitted, *other) < 0.97 * exact_bits(network, *other)
    right = replace(network, rungs=scale_index(2 * np.arange(256 * STEPS) / STEPS))
    assert exact_bits(fitted, *other) < 1.005 * exact_bits(right, *other)
