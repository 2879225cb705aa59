"""Each threat keeps its budget and does what its name says."""

import dataclasses

import numpy as np
import pytest
import torch

from bench.attacks import THREATS, norm_of, threat_named
from bench.attacks.black_box import black_box
from bench.attacks.budget import to_uint8
from bench.attacks.classification import margin
from bench.attacks.differentiable.straight_through import as_pixels
from bench.attacks.differentiable.target import Target
from bench.attacks.knowing.on_guard import sent_bits, through_adapted_head
from bench.attacks.low_frequency import BAND, LowFrequency, band_limited, dct_matrix
from bench.attacks.regional import background_region
from bench.attacks.universal import applied, universal
from bench.common.errors import AttackError
from runtime.guard.defence import Defence
from runtime.head import Head

FLOAT32 = 1e-6
ODD = {"unmasked": [0.0, 1 / 255, 2.5 / 255, 0.061, 32 / 255], "released": [2.5 / 255, 32 / 255]}


@pytest.mark.parametrize("setting", ODD)
@pytest.mark.parametrize("name", THREATS)
def test_the_budget_is_kept_exactly(name, setting, guarded, images, squares, labels):
    guarded = dataclasses.replace(guarded, others=images)
    for eps in ODD[setting]:
        before = images.clone()
        out = threat_named(name)(guarded, images, labels, eps, steps=2, setting=setting)
        assert torch.equal(images, before)
        assert out.dtype == torch.float32 and not out.requires_grad
        assert float(out.min()) >= 0 and float(out.max()) <= 1
        change = to_uint8(out, squares, eps, norm_of(name)).astype(int) - squares
        if norm_of(name) == "linf":
            assert float((out - images).abs().max()) <= eps + FLOAT32
            assert np.abs(change).max() / 255 <= eps
        else:
            assert float((out - images).square().mean((1, 2, 3)).sqrt().max()) <= eps + FLOAT32
            assert ((change**2).reshape(6, -1).sum(1) <= (255 * eps) ** 2 * squares[0].size).all()


def test_margin_is_best_wrong_less_right():
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    assert margin(logits, torch.tensor([0, 2])).tolist() == [-1.0, 1.0]


def test_pgd_c_changes_answers(target, images, labels):
    out = threat_named("pgd_c")(target, images, labels, 16 / 255)
    assert bool((margin(target.logits(out), labels) > margin(target.logits(images), labels)).all())
    assert bool((target.logits(out).argmax(1) != labels).any())


def test_joint_wants_both(target, images, labels):
    eps = 16 / 255
    both = as_pixels(threat_named("joint")(target, images, labels, eps))
    assert bool((target.bits(both) > target.bits(images)).all())
    assert bool((margin(target.logits(both), labels) > margin(target.logits(images), labels)).all())
    accuracy_alone = as_pixels(threat_named("pgd_c")(target, images, labels, eps))
    assert float(target.bits(both).sum()) > float(target.bits(accuracy_alone).sum())


def test_noise_is_plus_or_minus_eps(target, images, labels):
    eps = 4 / 255
    out = threat_named("noise")(target, images, labels, eps)
    inside = (images >= eps) & (images <= 1 - eps)
    assert np.allclose((out - images).abs()[inside], eps, atol=FLOAT32)
    assert 0.4 < float((out > images)[inside].float().mean()) < 0.6


def test_the_dct_is_orthonormal_and_scipys():
    from scipy.fft import dct

    matrix = dct_matrix(32)
    assert torch.allclose(matrix @ matrix.T, torch.eye(32), atol=1e-5)
    assert np.allclose(matrix.numpy(), dct(np.eye(32), axis=0, norm="ortho"), atol=1e-6)


def test_low_frequency_perturbations_have_no_energy_outside_the_band(images):
    budget, generator = LowFrequency(images, 8 / 255), torch.Generator().manual_seed(0)
    delta = budget.start(generator)
    for _ in range(5):
        delta = budget.ascend(delta, torch.randn(images.shape, generator=generator), 4 / 255)
        waves = dct_matrix(32)
        energy = (waves @ delta @ waves.T).square()
        kept = round(BAND * 32)
        inside = energy[..., :kept, :kept].sum()
        assert float(inside) > 0
        assert float(energy.sum() - inside) <= 1e-6 * float(inside)
        assert torch.allclose(band_limited(delta), delta, atol=1e-6)


def test_low_frequency_still_raises_the_rate(target, images, labels):
    out = threat_named("low_frequency")(target, images, labels, 16 / 255)
    assert bool((target.bits(as_pixels(out)) >= target.bits(images)).all())
    assert float(target.bits(as_pixels(out)).sum()) > float(target.bits(images).sum())


def test_regions_are_left_alone(target, images, squares, labels):
    eps = 8 / 255
    region = background_region(target, images).expand_as(images).bool()
    assert 0.4 < float(region.float().mean()) < 0.6
    attacked = {name: threat_named(name)(target, images, labels, eps) for name in ("background", "object")}
    for name, allowed in (("background", region), ("object", ~region)):
        changed = attacked[name] != images
        assert not bool((changed & ~allowed).any()) and bool((changed & allowed).any())
        frames = to_uint8(attacked[name], squares, eps)
        assert not ((frames != squares).transpose(0, 3, 1, 2) & ~allowed.numpy()).any()
        assert float(target.bits(attacked[name]).sum()) > float(target.bits(images).sum())


def test_adaptive_beats_the_attack_that_does_not_know_the_defence(defended, images, labels):
    blind, adaptive = (
        as_pixels(threat_named(n)(defended, images, labels, 16 / 255, steps=8)) for n in ("pgd_e", "adaptive")
    )
    assert float(defended.bits(adaptive).sum()) > float(defended.bits(blind).sum())


def test_adaptive_c_lowers_the_defended_margin(defended, images, labels):
    out = threat_named("adaptive_c")(defended, images, labels, 16 / 255, steps=8)
    before, after = (margin(defended.logits(x), labels) for x in (images, out))
    assert bool((after > before).all())


def test_adaptive_guard_takes_the_dearest_of_the_guards_answers(adapting, images, labels):
    eps, target = 16 / 255, Target.open(adapting, Defence(weight=0.05, rate_control=0.0))
    attacks = {name: threat_named(name) for name in THREATS} | {"through_adapted_head": through_adapted_head}
    sides = ("stealth", "through_adapted_head", "adaptive")
    sent = {
        name: sent_bits(target, attacks[name](target, images, labels, eps, steps=6))
        for name in (*sides, "adaptive_guard")
    }
    dearest = torch.stack([sent[n] for n in sides]).amax(0)
    assert torch.equal(sent["adaptive_guard"], dearest)


def test_second_look_adds_bits_through_the_adapted_head_unless_it_looks_attacked(adapting, images, labels):
    target = Target.open(adapting)
    ordinary = target.suspicion(images).attack < 0
    out = as_pixels(through_adapted_head(target, images, labels, 16 / 255))
    assert bool((target.suspicion(out).attack[ordinary] < 0).all())
    assert float(target.adapted_bits(out)[ordinary].sum()) > float(
        target.adapted_bits(images)[ordinary].sum()
    )


@pytest.mark.parametrize("name", ["adaptive", "adaptive_c", "adaptive_guard"])
def test_adaptive_threats_need_a_defence(name, target, images, labels):
    with pytest.raises(AttackError, match="open"):
        threat_named(name)(target, images, labels, 0.01)


@pytest.mark.parametrize("kind", ["target", "with_guard", "adapting"])
def test_stealth_adds_bits_below_the_thresholds(kind, request, images, labels):
    fixture = request.getfixturevalue(kind)
    target = Target.open(fixture) if kind == "adapting" else fixture
    ordinary = target.suspicion(images).worst < 0
    assert bool(ordinary.any())
    out = as_pixels(threat_named("stealth")(target, images, labels, 32 / 255))
    assert bool((target.suspicion(out).worst[ordinary] < 0).all())
    assert float(target.bits(out)[ordinary].sum()) > float(target.bits(images)[ordinary].sum())


def test_provoke_changes_little_and_still_alarms(target, images, labels):
    eps = 32 / 255
    out = threat_named("provoke")(target, images, labels, eps)
    alarmed = target.suspicion(as_pixels(out)).attack > 0
    assert bool((alarmed & (target.suspicion(images).attack < 0)).any())
    far = threat_named("pgd_e")(target, images, labels, eps)
    change = (out - images).abs().flatten(1).mean(1)
    assert bool((change < (far - images).abs().flatten(1).mean(1))[alarmed].all())
    halved = as_pixels(images + 0.5 * (out - images))
    assert bool(
        (target.suspicion(halved).attack[alarmed] <= target.suspicion(as_pixels(out)).attack[alarmed]).all()
    )


def test_one_perturbation_serves_frames_that_it_has_not_seen(target, images):
    eps = 32 / 255
    delta = universal(target, images[:4], eps, steps=20)
    assert delta.shape == (1, 3, 32, 32) and float(delta.abs().max()) <= eps + FLOAT32
    others = images[4:]
    assert float(target.bits(applied(others, delta)).sum()) > float(target.bits(others).sum())


def test_black_box_grows_packets_from_their_lengths_alone(bundle, squares):
    head, eps, asked = Head(bundle), 16 / 255, []

    def length(frame):
        asked.append(len(head.encode(frame).to_bytes()))
        return asked[-1]

    out = black_box(length, squares[0], eps, queries=60)
    assert len(asked) == 61
    assert out.dtype == np.uint8 and np.abs(out.astype(int) - squares[0]).max() <= 16
    assert length(out) == max(asked) > asked[0]
