"""The adapted head: what it is taught, that a run resumes, and the bundle it ends in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.calibrate.images import to_tensor
from export.plans import AdaptPlan
from export.robust.adapt import AdaptStudent, train_adapted
from export.robust.bundle import replace_adapted_head
from export.robust.corrupted_pairs import SHARES, corrupted_pairs
from export.robust.corruptions import CORRUPTIONS
from runtime.bundle import Bundle, load
from runtime.engines import EngineOptions, open_engine
from runtime.errors import BundleError
from runtime.head import Head
from runtime.tail import Tail
from tests.tiny_bundle import tiny_images

PLAN = AdaptPlan(steps=6, batch=4, clean=1, views=1, save_every=2)


@pytest.fixture
def plain(built: Path) -> Bundle:
    return load(built / "classifier-fp-r2")


def test_pairs_differ_by_a_corruption_and_are_the_same_whichever_process_makes_them(plain: Bundle) -> None:
    assert set(SHARES) <= set(CORRUPTIONS)
    images, prepare = tiny_images(4), plain.manifest.preprocess
    clean, corrupted = corrupted_pairs(images, prepare, 2, processes=2)
    assert clean.shape == corrupted.shape == (8, prepare.size, prepare.size, 3)
    assert clean.dtype == corrupted.dtype == np.uint8
    assert (clean != corrupted).any((1, 2, 3)).all()
    for first, second in zip(
        (clean, corrupted), corrupted_pairs(images, prepare, 2, processes=1), strict=True
    ):
        assert np.array_equal(first, second)


def test_the_loss_of_the_untrained_head_on_clean_frames_is_the_price_of_its_bits(plain: Bundle) -> None:
    frames, head = tiny_images(3), Head(plain)
    images = to_tensor(np.stack([plain.manifest.preprocess.square(frame) for frame in frames]))
    bits = np.mean([head.analyse(frame).expected_bits for frame in frames])
    assert float(AdaptStudent(plain).loss(images, images, 1e-3).detach()) == pytest.approx(
        1e-3 * bits, rel=1e-3
    )


def test_a_run_lowers_the_loss_and_ends_in_a_bundle(plain: Bundle, tmp_path: Path) -> None:
    images = tiny_images(12)
    plan = AdaptPlan(steps=40, batch=8, clean=2, views=1, price=1e-3)
    weights = train_adapted(plain, images, plan, tmp_path / "adapted.pt", processes=1)
    clean, corrupted = map(to_tensor, corrupted_pairs(images, plain.manifest.preprocess, 1, processes=1))
    before, after = AdaptStudent(plain), AdaptStudent(plain)
    with torch.no_grad():
        for name, weight in weights.items():
            after.weights[name].copy_(weight)
        losses = [float(student.loss(clean, corrupted, plan.price)) for student in (before, after)]
    assert losses[1] < 0.97 * losses[0]
    written = load(replace_adapted_head(plain, weights, tmp_path, {"steps": plan.steps}))
    assert written.manifest.provenance["adapted"] == {"steps": 40}
    head, adapted = (open_engine(written.path(role), EngineOptions()) for role in ("head", "adapted"))
    assert (head.inputs, head.outputs) == (adapted.inputs, adapted.outputs)
    packet = Head(written).encode(images[0])
    assert np.isfinite(Tail(written).decode(packet.to_bytes())).all()


def test_an_interrupted_run_ends_like_one_that_was_not(
    plain: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tiny_images(6)
    whole = train_adapted(plain, images, PLAN, tmp_path / "whole.pt", processes=1)
    loss, calls = AdaptStudent.loss, 0

    def stop_at_fourth(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return loss(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(AdaptStudent, "loss", stop_at_fourth)
    with pytest.raises(KeyboardInterrupt):
        train_adapted(plain, images, PLAN, tmp_path / "parts.pt", processes=1)
    parts = train_adapted(plain, images, PLAN, tmp_path / "parts.pt", processes=1)
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=0, atol=0)


def test_only_factorized_bundles_are_trained_on(plain: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="train on the fp bundle"):
        train_adapted(load(plain.folder.parent / "classifier-mshp-r2"), [], PLAN, tmp_path / "adapted.pt")
