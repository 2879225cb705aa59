"""The tiny bundles as targets, and images for them."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from bench.attacks.differentiable.target import Target
from runtime.bundle import Bundle, load
from runtime.guard import Guard
from runtime.guard.alarm import features
from runtime.guard.defence import Defence
from runtime.head import Head
from tests.tiny_bundle import adapt, tiny_images


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Tensors of a tiny bundle are too small to share: threads would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
def guarded(bundle) -> Target:
    """The same behind a guard that defends what is suspicious, and with a budget."""
    return Target.open(bundle, Guard("auto", Defence(weight=0.05, rate_control=0.0), budget=60))


@pytest.fixture(scope="session")
def labels(target, images):
    """What the network says of the clean images, int64 (6,)."""
    with torch.no_grad():
        return target.logits(images).argmax(1)


@pytest.fixture(scope="session")
def with_guard(target, images) -> Target:
    """A target whose guard weighs channels, as with a guard.npz; clean images are ordinary to it."""
    guard = dataclasses.replace(target.guard, discriminants=torch.linspace(0.5, 1.5, 6)[None])
    highest = dataclasses.replace(target, guard=guard).suspicion(images).attack.amax()
    return dataclasses.replace(target, guard=dataclasses.replace(guard, bias=-1.1 * highest[None]))


@pytest.fixture(scope="session")
def adapting(bundle, robust_bundles, squares, tmp_path_factory) -> Bundle:
    """A bundle whose guard takes two of the images for attacked and two for corrupted."""
    folder = tmp_path_factory.mktemp("adapting") / "bundles"
    shutil.copytree(robust_bundles[bundle.manifest.prior].parent, folder)
    path = folder / robust_bundles[bundle.manifest.prior].name
    head = Head(load(path))
    means = np.sort([features(head.analyse(square)).mean() for square in squares])
    attack, corruption = -(means[4] + means[3]) / 2, -(means[2] + means[1]) / 2
    rows = np.full((3, len(features(head.analyse(squares[0])))), 1.0, np.float32)
    rows /= rows.shape[1]
    return load(adapt(path, rows, np.float32([attack, -9e9, corruption])))
