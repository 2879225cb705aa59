"""The paper's networks against sc2bench and CompressAI themselves, with the same seeded weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from export.paper.architectures import ARCHITECTURES, Architecture, PriorName
from export.paper.bottleneck import HyperpriorBottleneck
from export.paper.build import best_h_s
from export.paper.density import density_tables
from export.paper.deploy import HeadModule, RestoreModule, TailModule
from export.paper.networks import SplitNetwork
from export.paper.seeded import seeded_network
from runtime.codec.coder import open_coder
from runtime.codec.limits import MEAN_STEPS
from runtime.codec.tables import Tables, gaussian_tables
from tests.export.paper.paper_networks import as_images, normalise, sc2bench_twin, squares

FRAMES, STEPS = 3, 20
RELATIVE = 1e-4
NEAR_HALF = 1e-3  # symbols whose value is that near to a rounding threshold may fall on either side
MINUTES = {"resnet101", "vit_small_r26_s32_224"}  # other networks share their bottleneck or its widths


@dataclass(frozen=True)
class Twins:
    """Our network and sc2bench's with the same weights, and images that both are given."""

    architecture: Architecture
    ours: SplitNetwork
    theirs: nn.Module
    images: torch.Tensor  # in [0, 1]
    normalised: torch.Tensor

    @property
    def bottlenecks(self) -> tuple[nn.Module, nn.Module]:
        return self.ours.bottleneck_layer, self.theirs.bottleneck_layer


PAIRS = [
    pytest.param((name, prior), id=f"{name}-{prior}", marks=[pytest.mark.slow] if name in MINUTES else [])
    for name in ARCHITECTURES
    for prior in ("fp", "mshp")
]


@pytest.fixture(scope="module", params=PAIRS)
def twins(request: pytest.FixtureRequest) -> Twins:
    name, prior = request.param
    architecture = ARCHITECTURES[name]
    theirs = sc2bench_twin(architecture, prior)
    images = as_images(squares(FRAMES, architecture.crop))
    normalised = normalise(images, architecture)
    ours = seeded_network(architecture, prior, 0, normalised, STEPS)
    theirs.load_state_dict(dict(ours.state_dict()))
    return Twins(architecture, ours, theirs, images, normalised)


@pytest.mark.parametrize("prior", [pytest.param("fp", marks=pytest.mark.slow), "mshp"])
@pytest.mark.parametrize(
    "name", sorted(MINUTES)
)  # of the others, ``twins`` loads one from the other, strictly
def test_state_dicts_equal_sc2benchs_key_for_key(name: str, prior: PriorName) -> None:
    architecture = ARCHITECTURES[name]
    theirs = sc2bench_twin(architecture, prior).state_dict()
    ours = architecture.build(prior).state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


@torch.no_grad()
def test_latents_likelihoods_features_and_logits(twins: Twins) -> None:
    ours, theirs = twins.bottlenecks
    x = twins.normalised
    latents = ours.latents(x)
    y_hat, likelihoods = ours.quantise(*latents)
    if isinstance(ours, HyperpriorBottleneck):
        y = theirs.g_a(x)
        z = theirs.h_a(y)
        close(latents[0], y)
        close(latents[1], z)
        z_hat, z_likelihood = theirs.entropy_bottleneck(z)
        scale, mean = theirs.h_s(z_hat).chunk(2, 1)
        expected, y_likelihood = theirs.gaussian_conditional(y, scale, means=mean)
        close(likelihoods[0], z_likelihood)
        close(likelihoods[1], y_likelihood)
        features = theirs.g_s(expected)
    else:
        (y,) = latents
        close(y, theirs.encoder(x))
        expected, likelihood = theirs.entropy_bottleneck(theirs.encoder(x))
        close(likelihoods[0], likelihood)
        features = theirs.decoder(expected)
    close(y_hat, expected)
    close(ours.restore(y_hat), features)
    close(twins.ours(x), twins.theirs(x))


@torch.no_grad()
def test_deployed_parts_give_the_same_symbols_and_logits(twins: Twins) -> None:
    """Normalisation, medians and GDN parameters are folded in: the results must not change."""
    ours, theirs = twins.bottlenecks
    outputs = HeadModule(ours, twins.architecture)(twins.images)
    restore, tail = RestoreModule(ours), TailModule(twins.ours)
    if isinstance(ours, HyperpriorBottleneck):
        y, z = outputs
        their_y = theirs.g_a(twins.normalised)
        medians = theirs.entropy_bottleneck._get_medians().view(1, -1, 1, 1)
        same_symbols(z, theirs.h_a(their_y) - medians)
        _, mean = theirs.h_s(torch.round(z) + medians).chunk(2, 1)
        same_symbols(y - mean, their_y - mean)
        y_hat = their_y_hat = torch.round(y - mean) + mean
    else:
        values = theirs.encoder(twins.normalised)
        medians = theirs.entropy_bottleneck._get_medians().view(1, -1, 1, 1)
        same_symbols(outputs, values - medians)
        y_hat = torch.round(outputs)
        their_y_hat = y_hat + medians
    features = (theirs.g_s if isinstance(ours, HyperpriorBottleneck) else theirs.decoder)(their_y_hat)
    close(restore(y_hat), features)
    twins.theirs.bottleneck_layer, kept = nn.Identity(), twins.theirs.bottleneck_layer
    try:
        close(tail(features), twins.theirs(features))
    finally:
        twins.theirs.bottleneck_layer = kept


@torch.no_grad()
def test_real_sizes_are_those_of_compressai(twins: Twins) -> None:
    """Our coder with our tables and, under a hyperprior, our exact h_s: at most 0.5 % above their strings."""
    ours, theirs = twins.bottlenecks
    theirs.update()
    outputs = HeadModule(ours, twins.architecture)(twins.images)
    density = density_tables(ours.entropy_bottleneck)
    own = other = 0
    h_s = None
    if isinstance(ours, HyperpriorBottleneck):
        h_s = best_h_s(ours, outputs[0], torch.round(outputs[1]))
    for number in range(FRAMES):
        strings = theirs.encode(twins.normalised[number : number + 1])["strings"]
        other += sum(len(one[0]) for one in strings)
        if h_s is None:
            parts = [(symbols_of(outputs[number]), channels_of(outputs[number]), density)]
        else:
            y, z = outputs[0][number], outputs[1][number]
            index, mean = np.split(h_s(symbols_of(z)), 2)
            values = y - torch.from_numpy(mean).float() / MEAN_STEPS
            parts = [
                (symbols_of(z), channels_of(z), density),
                (symbols_of(values), np.clip(index, 0, 63), gaussian_tables()),
            ]
        own += coded_size(parts)
    assert 0.85 < own / other <= 1.005


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= RELATIVE * float(theirs.abs().max())


def same_symbols(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    clear = ((theirs - theirs.floor()) - 0.5).abs() > NEAR_HALF
    assert float(clear.float().mean()) > 0.99
    assert torch.equal(torch.round(ours)[clear], torch.round(theirs)[clear])
    assert len(torch.unique(torch.round(theirs))) > 5  # symbols worth comparing


def symbols_of(values: torch.Tensor) -> np.ndarray:
    return torch.round(values).numpy().astype(np.int32)


def channels_of(latent: torch.Tensor) -> np.ndarray:
    index = np.arange(len(latent), dtype=np.int32)[:, None, None]
    return np.ascontiguousarray(np.broadcast_to(index, latent.shape))


def coded_size(parts: list[tuple[np.ndarray, np.ndarray, Tables]]) -> int:
    """Bytes of one payload that holds these symbols."""
    encoder = open_coder("numba").encoder(0)
    for symbols, index, tables in reversed(parts):
        encoder.push(symbols.ravel(), index.ravel().astype(np.int32), tables)
    return len(encoder.finish())
