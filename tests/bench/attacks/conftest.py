"""The tiny bundles as targets, and images for them."""

import dataclasses

import numpy as np
import pytest
import torch

from bench.attacks import Target
from runtime.bundle import Bundle, load
from runtime.defence import Defence
from tests.tiny_bundle import tiny_images


@pytest.fixture(scope="session")
def squares(tiny_bundles):
    """uint8 (6, 32, 32, 3)."""
    prepare = load(tiny_bundles["fp"]).manifest.preprocess
    return np.stack([prepare.square(image) for image in tiny_images(6)])


@pytest.fixture(scope="session")
def images(squares):
    """The same, float32 (6, 3, 32, 32)."""
    return torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="session", params=["fp", "mshp"])
def bundle(request, tiny_bundles) -> Bundle:
    return load(tiny_bundles[request.param])


@pytest.fixture(scope="session")
def target(bundle) -> Target:
    return Target.open(bundle)


@pytest.fixture(scope="session")
def defended(bundle) -> Target:
    return Target.open(bundle, Defence(weight=0.05, rate_control=0.0))


@pytest.fixture(scope="session")
def labels(target, images):
    """What the network says of the clean images, int64 (6,)."""
    with torch.no_grad():
        return target.logits(images).argmax(1)


@pytest.fixture(scope="session")
def with_guard(target, images) -> Target:
    """A target whose guard weighs channels, as one of a bundle with guard.npz does; clean images are calm."""
    guard = dataclasses.replace(target.guard, weights=torch.linspace(0.5, 1.5, 6), bias=0.0)
    highest = float(dataclasses.replace(target, guard=guard).suspicion(images).max())
    return dataclasses.replace(target, guard=dataclasses.replace(guard, bias=-1.1 * highest))
