"""From a plain family to robust bundles, by command; the parts against their definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from export.__main__ import main
from export.graphs.torch_graph import TorchGraph
from export.plans import ShieldPlan
from export.prior.table_bits import ChannelRate
from export.robust import alarm_frames
from export.robust.alarm import BESIDE_ORDINARY, DEVIATIONS, SURE, fit_alarm
from export.robust.alarm_frames import KINDS, AlarmFrames, CorruptedFrames, corrupted_frames
from export.robust.corruptions import SEVERITIES
from export.robust.discriminant import discriminant
from export.robust.disturbances import Perturbation
from export.robust.head_weights import backbone_weights, write_head
from export.robust.shield import random_views, train_shield
from runtime.bundle import Bundle, load
from runtime.codec.packet import Flags
from runtime.codec.tables import Tables
from runtime.errors import BundleError
from runtime.guard import Guard
from runtime.guard.alarm import features
from runtime.head import Head
from runtime.tail import Tail
from tests.tiny_bundle import tiny_images

PLAN = ShieldPlan(steps=12, batch=8, rate=3, ordinary=2, replays=3, save_every=3)


@pytest.fixture
def plain(built: Path) -> Bundle:
    return load(built / "classifier-fp-r2")


def test_the_command_writes_two_headed_bundles_of_the_family(
    plain: Bundle, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm_frames, "CORRUPTED", 8)
    monkeypatch.setattr(alarm_frames, "ORDINARY_EACH", 4)
    arguments = ["--data", str(photographs), "-o", str(tmp_path), "--threads", "1", "--steps", "6"]
    assert main(["finetune", "--robust", "--bundle", str(plain.folder), *arguments]) == 0
    for prior in ("fp", "mshp"):
        robust = load(tmp_path / f"classifier-{prior}-r2-robust")
        assert {"shield", "guard"} <= set(robust.manifest.files)
        assert robust.arrays("guard")["discriminants"].shape == (1 + len(KINDS), robust.manifest.latent[0])
        assert robust.manifest.provenance["shield"]["steps"] == 6
        head, tail = Head(robust, guard=Guard("always")), Tail(robust)
        packet = head.encode(tiny_images(1, seed=5)[0])
        assert Flags.DENOISED in packet.flags and tail.decode(packet.to_bytes()).shape == (10,)


def test_training_brings_disturbed_latents_closer_to_the_clean_ones(plain: Bundle, tmp_path: Path) -> None:
    images = tiny_images(60)
    plan = ShieldPlan(steps=120, batch=16, rate=4, ordinary=4, replays=4, learning_rate=5e-3)
    weights = train_shield(plain, images, plan, tmp_path / "robust.pt")
    head, shield = TorchGraph(plain.path("head")), TorchGraph(plain.path("head"))
    shield.constants.update(weights)
    rng = np.random.default_rng(99)
    clean = random_views(images, plain.manifest.preprocess, 32, rng)
    noisy = (clean + 0.05 * torch.from_numpy(rng.normal(size=clean.shape)).float()).clamp(0, 1)
    with torch.no_grad():
        target = head(clean)[0]
        before, after = (float((graph(noisy)[0] - target).square().mean()) for graph in (head, shield))
    assert after < 0.9 * before


class InterruptedAt(list[NDArray[np.uint8]]):
    """Photographs, until somebody presses Ctrl-C when one is read for the n-th time."""

    def __init__(self, photographs: list[NDArray[np.uint8]], n: int):
        super().__init__(photographs)
        self.left = n

    def __getitem__(self, place: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().__getitem__(place)


def test_an_interrupted_training_ends_like_one_that_was_not(plain: Bundle, tmp_path: Path) -> None:
    images = tiny_images(20)
    whole = train_shield(plain, images, PLAN, tmp_path / "whole.pt")
    third_batch = 2 * PLAN.batch + 1
    with pytest.raises(KeyboardInterrupt):
        train_shield(plain, InterruptedAt(images, third_batch), PLAN, tmp_path / "parts.pt")
    assert torch.load(tmp_path / "parts.pt", weights_only=True)["step"] == 2 * PLAN.replays
    parts = train_shield(plain, images, PLAN, tmp_path / "parts.pt")
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=0, atol=0)


def test_only_factorized_bundles_are_trained_on(plain: Bundle, tmp_path: Path) -> None:
    mshp = load(plain.folder.parent / "classifier-mshp-r2")
    with pytest.raises(BundleError, match="train on the fp bundle"):
        train_shield(mshp, tiny_images(20), PLAN, tmp_path / "robust.pt")


def test_heads_without_named_backbone_are_refused(tiny_bundles: dict[str, Path]) -> None:
    with pytest.raises(BundleError, match="no weights called"):
        backbone_weights(TorchGraph(load(tiny_bundles["fp"]).path("head")))


def test_weights_of_another_head_are_refused(plain: Bundle, tmp_path: Path) -> None:
    weights = {name: weight[:1] for name, weight in backbone_weights(TorchGraph(plain.path("head"))).items()}
    with pytest.raises(BundleError, match="does not fit"):
        write_head(plain, {name: weight.detach() for name, weight in weights.items()}, tmp_path / "s.onnx")


def test_the_heads_own_weights_make_the_head(plain: Bundle, tmp_path: Path) -> None:
    weights = backbone_weights(TorchGraph(plain.path("head")))
    write_head(plain, {name: weight.detach() for name, weight in weights.items()}, tmp_path / "s.onnx")
    assert (tmp_path / "s.onnx").read_bytes() == plain.path("head").read_bytes()


@given(seed=st.integers(0, 1 << 30), steps=st.integers(1, 8))
def test_perturbations_stay_inside_their_budget(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    images = torch.from_numpy(rng.uniform(0, 1, (3, 3, 5, 4)).round(1).astype(np.float32))
    perturbation = Perturbation(images, 4, rng)
    for _ in range(steps):
        perturbation.grow(torch.from_numpy(rng.normal(size=images.shape).astype(np.float32)))
    moved = perturbation.images
    assert bool(((moved - images).abs() <= perturbation.eps + 1e-7).all())
    assert bool((moved >= 0).all()) and bool((moved <= 1).all())


@given(seed=st.integers(0, 1 << 30))
def test_channel_rate_is_the_runtimes_and_its_slope_is_the_tables(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = Tables.from_counts([rng.uniform(1, 9, 7), rng.uniform(1, 9, 4)], [-3, 0], escape_mass=0.01)
    below = np.stack([rng.integers(-3, 3, (2, 2)), rng.integers(0, 3, (2, 2))]).astype(np.int32)
    index = np.ascontiguousarray(np.broadcast_to(np.arange(2, dtype=np.int32)[:, None, None], below.shape))
    here, above = (tables.information_bits(symbols, index) for symbols in (below, below + 1))
    y = (torch.from_numpy(below)[None].float() + 0.25).requires_grad_(True)
    rate = ChannelRate(tables)(y)
    rate.sum().backward()
    assert float(rate) == pytest.approx(here.sum(), rel=1e-5)
    assert y.grad is not None and np.allclose(y.grad[0].numpy(), above - here, atol=1e-4)


def frames_of(squares: NDArray[np.uint8], rng: np.random.Generator) -> AlarmFrames:
    """Noise for each corruption: the more, the severer; none for speckles and what saturates."""

    def noisy(level: int) -> NDArray[np.uint8]:
        noise = rng.integers(-level, level + 1, squares.shape)
        return np.clip(squares + noise, 0, 255).astype(np.uint8)

    corrupted = [
        CorruptedFrames(name, severity, noisy(level * severity))
        for name, level in (
            ("gaussian_noise", 8), ("shot_noise", 8), ("impulse_noise", 8), ("speckle_noise", 0),
            ("snow", 14), ("spatter", 10), ("jpeg_compression", 12), ("saturate", 0),
        )
        for severity in SEVERITIES
    ]  # fmt: skip
    ordinary = [
        CorruptedFrames("gaussian_blur", severity, noisy(4 * severity)[:30]) for severity in (1, 2, 3)
    ]
    return AlarmFrames(squares, noisy(100), corrupted, ordinary)


def test_an_alarm_is_calibrated_on_the_clean_frames_that_it_was_not_fitted_to(plain: Bundle) -> None:
    squares = np.stack([plain.manifest.preprocess.square(image) for image in tiny_images(60, seed=7)])
    frames = frames_of(squares, np.random.default_rng(3))
    alarm, head = fit_alarm(plain, frames), Head(plain)

    def looks(some: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([features(head.analyse(frame)) for frame in some])

    scores = looks(squares[::3]) @ alarm["discriminants"].T + alarm["bias"]
    assert scores[:, 0].mean() == pytest.approx(-DEVIATIONS, abs=1e-2)
    beside_a_codec = np.concatenate([squares, *(one.frames for one in frames.ordinary)])
    codec = 1 + list(KINDS).index(BESIDE_ORDINARY)
    ordinary = looks(beside_a_codec[::3]) @ alarm["discriminants"][codec] + alarm["bias"][codec]
    for number, kind in enumerate(KINDS.values(), 1):
        of_kind = np.concatenate(
            [
                looks(one.frames)
                for one in frames.corrupted
                if one.name in kind.corruptions and one.severity in kind.severities
            ]
        )
        sure = np.quantile(of_kind @ alarm["discriminants"][number] + alarm["bias"][number], SURE)
        highest = (ordinary if number == codec else scores[:, number]).max()
        assert highest <= 1e-3 and highest == pytest.approx(-max(sure, 0), abs=1e-2), "half-way, or at clean"
    assert np.delete(scores, codec, 1).std(0) == pytest.approx(np.ones(len(KINDS)), abs=1e-3)
    assert ordinary.std() == pytest.approx(1, abs=1e-3)
    noisy = looks(frames.attacked) @ alarm["discriminants"][0]
    assert noisy.mean() + alarm["bias"][0] > scores[:, 0].mean() + 3
    assert alarm["discriminants"].shape == (1 + len(KINDS), plain.manifest.latent[0])
    assert set(alarm) == {"discriminants", "bias"}


def test_corrupted_frames_are_of_each_kind_and_severity() -> None:
    squares = [np.full((48, 48, 3), 20 * n, np.uint8) for n in range(6)]
    cells = corrupted_frames(squares, KINDS.values(), 4, np.random.default_rng(0))
    wanted = {
        (name, severity)
        for kind in KINDS.values()
        for name in kind.corruptions
        for severity in kind.severities
    }
    assert {(one.name, one.severity) for one in cells} == wanted
    assert all(one.frames.shape == (4, 48, 48, 3) for one in cells)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_discriminant_separates_and_counts_deviations_of_held_out_frames(pooled: bool) -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(12, 12))
    clean, held_out, attacked = (rng.normal(size=(n, 12)) @ mixing for n in (400, 300, 200))
    attacked = attacked + rng.choice([-3, 3], 12) @ mixing  # ten standard deviations along one direction
    weights = discriminant(*(a.astype(np.float32) for a in (clean, attacked, held_out)), pooled)
    scores = held_out @ weights
    assert scores.std() == pytest.approx(1, abs=1e-3)
    assert (attacked @ weights > scores.mean() + 4.5).mean() > 0.9


def test_the_spread_of_both_kinds_avoids_what_differs_among_the_unusual() -> None:
    rng = np.random.default_rng(1)
    clean, held_out, unusual = (rng.normal(size=(n, 12)) for n in (2000, 1000, 2000))
    unusual[:, 0] += 5
    unusual[:, 1] = 6 + 10 * unusual[:, 1]  # further away, but not all of them
    features = [a.astype(np.float32) for a in (clean, unusual, held_out)]
    found = {}
    for pooled in (False, True):
        weights = discriminant(*features, pooled)
        found[pooled] = (unusual @ weights > (held_out @ weights).mean() + 2.5).mean()
    assert found[False] < 0.85 and found[True] > 0.95
