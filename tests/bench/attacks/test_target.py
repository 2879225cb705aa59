"""The target forwards is the runtime; backwards its gradients reach the image, or only the scales."""

import dataclasses

import numpy as np
import pytest
import torch

from bench.attacks.differentiable.denoise import denoise, soft_mask
from bench.attacks.differentiable.prior import DifferentiableHyperprior, open_prior
from bench.attacks.differentiable.target import DifferentiableSuspicion, Target
from bench.attacks.knowing.on_guard import sent_bits
from export.prior.table_bits import TableBits
from native_denoise import soft_mask as runtime_mask
from native_denoise.reference import solve
from runtime.bundle import load
from runtime.codec.limits import MEAN_STEPS
from runtime.codec.rate_control import control_rate
from runtime.codec.tables import Tables
from runtime.guard import Guard
from runtime.guard.alarm import Discriminant, Excess, open_score
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.prior.exact import IntegerNetwork
from runtime.tail import Tail

MODES = [Defence("descent"), Defence("released"), Defence("rof"), Defence("descent", stretch=True, power=2.0)]


def test_bits_are_the_runtimes(bundle, target, images, squares):
    head = Head(bundle)
    expected = [head.analyse(square).expected_bits for square in squares]
    assert target.bits(images).numpy() == pytest.approx(expected, rel=1e-5)


def test_logits_are_the_servers(bundle, target, images, squares):
    head, tail = Head(bundle), Tail(bundle)
    expected = np.concatenate([tail.decode(head.encode(square).to_bytes())[None] for square in squares])
    assert target.logits(images).numpy() == pytest.approx(expected, abs=1e-4)


def test_table_bits_are_exact_escapes_included(tiny_bundles):
    tables = Tables.from_arrays(load(tiny_bundles["fp"]).arrays("prior"))
    symbols = np.arange(-200, 201, dtype=np.int32)
    for table in range(len(tables)):
        index = np.full_like(symbols, table)
        ours = TableBits(tables)(torch.from_numpy(symbols).float(), torch.from_numpy(index).float())
        assert np.array_equal(ours.numpy(), tables.information_bits(symbols, index))


def test_the_gradient_towards_a_symbol_is_the_step_between_its_integers(tiny_bundles):
    tables = Tables.from_arrays(load(tiny_bundles["fp"]).arrays("prior"))
    values = torch.tensor([-1.3, -0.2, 0.2, 2.6], requires_grad=True)
    index = torch.ones(4)
    TableBits(tables)(values, index).sum().backward()
    cost = tables.information_bits(np.arange(-2, 4, dtype=np.int32), np.ones(6, np.int32))
    assert values.grad.numpy() == pytest.approx((np.diff(cost))[[0, 1, 2, 4]], rel=1e-5)


def test_the_gradient_towards_a_table_is_the_mean_step_to_its_neighbours(tiny_bundles):
    scales = Tables.from_arrays(load(tiny_bundles["mshp"]).arrays("scales"))
    index = torch.tensor([20.0, 20.0], requires_grad=True)
    TableBits(scales)(torch.tensor([0.0, 9.0]), index).sum().backward()
    cost = [scales.information_bits(np.array([0, 9]), np.full(2, table)) for table in (19, 21)]
    assert index.grad.numpy() == pytest.approx((cost[1] - cost[0]) / 2, rel=1e-5)
    assert index.grad[0] > 0 > index.grad[1]  # a wider table is dearer for zeros and cheaper for outliers


def test_the_hyperpriors_parameters_are_the_exact_networks(tiny_bundles):
    bundle = load(tiny_bundles["mshp"])
    exact = IntegerNetwork.from_arrays(bundle.arrays("prior"))
    z = np.random.default_rng(0).integers(-140, 141, (5, *bundle.manifest.hyper)).astype(np.int32)
    prior = open_prior(bundle)
    assert isinstance(prior, DifferentiableHyperprior)
    index, mean = prior.parameters(torch.from_numpy(z).float())
    expected = np.stack([exact(one) for one in z])
    channels = bundle.manifest.latent[0]
    assert np.array_equal(index.numpy(), np.clip(expected[:, :channels], 0, 63))
    assert np.array_equal(mean.numpy() * MEAN_STEPS, expected[:, channels:])


def test_rate_control_is_the_runtimes(tiny_bundles):
    bundle = load(tiny_bundles["fp"])
    tables = Tables.from_arrays(bundle.arrays("prior"))
    shape = (1, *bundle.manifest.latent)
    values = np.random.default_rng(0).normal(0, 4, shape).astype(np.float32)
    index = np.broadcast_to(np.arange(shape[1], dtype=np.int32)[:, None, None], shape).ravel()
    expected = control_rate(values.ravel(), index, tables, 0.3)
    coded = open_prior(bundle).code([torch.from_numpy(values)], control=0.3)
    assert np.array_equal(coded.y_hat.numpy().ravel(), expected)
    assert float(coded.bits) == pytest.approx(float(tables.information_bits(expected, index).sum()), rel=1e-5)
    assert float(coded.bits) < float(open_prior(bundle).code([torch.from_numpy(values)]).bits)


def test_unmasked_gradients_reach_the_image(target, images):
    x = images.clone().requires_grad_(True)
    target.bits(x).sum().backward()
    assert float((x.grad != 0).float().mean()) > 0.9


def test_released_gradients_of_a_hyperprior_pass_through_the_scales_alone(tiny_bundles):
    bundle = load(tiny_bundles["mshp"])
    rng = torch.Generator().manual_seed(0)
    shapes = (bundle.manifest.latent, bundle.manifest.hyper)
    y, z = (torch.randn(2, *shape, generator=rng).mul(3).requires_grad_(True) for shape in shapes)
    prior = open_prior(bundle)
    prior.released([y, z]).sum().backward()
    assert y.grad is None or not y.grad.any()
    assert bool(z.grad.any())
    index, mean = prior.parameters(z.detach().round())
    scales = TableBits(Tables.from_arrays(bundle.arrays("scales")))
    of_means = scales(torch.zeros_like(mean), index).flatten(1).sum(1)  # z itself is not counted
    assert torch.allclose(prior.released([mean, z.detach()]), of_means, rtol=1e-5)


def test_released_gradients_of_a_factorized_prior_are_those_of_noise(tiny_bundles, images):
    target = Target.open(load(tiny_bundles["fp"]))
    x = images.clone().requires_grad_(True)
    target.bits(x, "released").sum().backward()
    assert bool(x.grad.any())


@pytest.mark.parametrize("defence", MODES, ids=lambda d: f"{d.mode}-{d.power:g}")
def test_mask_and_denoiser_are_native_denoise(defence, images):
    rng = np.random.default_rng(0)
    maps = rng.random((len(images), 8, 8), dtype=np.float32)
    masks = soft_mask(torch.from_numpy(maps), 32, defence)
    smooth = denoise(images, masks, defence.solver()).numpy()
    for number in range(len(images)):
        expected = runtime_mask(maps[number], (32, 32), **defence.mask_variant())
        assert masks[number, 0].numpy() == pytest.approx(expected, abs=1e-5)
        peer = solve(images[number].numpy(), expected.astype(np.float64), defence.solver())
        assert smooth[number] == pytest.approx(np.clip(peer, 0, 1), abs=2e-4)


def test_the_mask_is_the_runtimes(bundle, target, images, squares):
    head = Head(bundle)
    for square, mask in zip(squares, target.mask(images), strict=True):
        expected = runtime_mask(head.analyse(square).likelihood_map, (32, 32))
        assert mask[0].numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("coarseness", "control"), [(0, 0.0), (0, 0.1), (5, 0.0), (6, 0.1)])
def test_the_defended_path_is_the_runtimes(bundle, images, squares, coarseness, control):
    defence = Defence(coarseness=coarseness, rate_control=control)
    attacked, tail = Target.open(bundle, defence), Tail(bundle)
    head = Head(bundle, guard=Guard("always", defence))
    expected, answers = [], []
    for square in squares:
        answers.append(tail.decode(head.encode(square).to_bytes()))
        expected.append(head.report.latent.expected_bits)
    bits, logits = attacked.bits_and_logits(images)
    assert bits.numpy() == pytest.approx(expected, rel=1e-3)
    assert float(np.abs(logits.numpy() - answers).max()) < 0.1 * np.abs(answers).max()


@pytest.mark.parametrize("defence", MODES, ids=lambda d: f"{d.mode}-{d.power:g}")
def test_gradients_pass_the_defence(bundle, defence, images):
    x = images[:2].clone().requires_grad_(True)
    Target.open(bundle, defence).bits(x).sum().backward()
    assert bool(torch.isfinite(x.grad).all()) and float((x.grad != 0).float().mean()) > 0.9


def test_a_threshold_passes_the_gradient_on(bundle, images):
    x = images[:2].clone().requires_grad_(True)
    Target.open(bundle, Defence("descent", threshold=0.5)).mask(x).sum().backward()
    assert bool(x.grad.any())


@pytest.mark.parametrize("kind", ["target", "with_guard"])
def test_suspicion_is_the_guards(kind, bundle, images, squares, request):
    attacked, head = request.getfixturevalue(kind), Head(bundle)
    guard = attacked.guard
    score = (
        open_score(bundle)
        if guard.discriminants is None
        else Discriminant(guard.discriminants.numpy(), guard.bias.numpy(), Excess(guard.ceiling), 0.0)
    )
    expected = [score(head.analyse(square)).attack for square in squares]
    suspicion = attacked.suspicion(images)
    assert suspicion.attack.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert torch.equal(suspicion.worst, suspicion.attack)
    assert torch.equal(attacked.bits_and_suspicion(images)[1].attack, suspicion.attack)


def test_the_worst_of_the_scores_is_the_larger_by_hand():
    attack, corruption = torch.tensor([1.0, -2.0, -1.0, -3.0]), torch.tensor([0.0, -1.0, -torch.inf, 2.0])
    assert DifferentiableSuspicion(attack, corruption).worst.tolist() == [1.0, -1.0, -1.0, 2.0]


def test_both_alarms_are_the_guards(adapting, images, squares):
    head, score = Head(adapting), open_score(adapting)
    expected = [score(head.analyse(square)) for square in squares]
    assert sum(each.attack > 0 for each in expected) == 2
    assert sum(each.corruption > 0 for each in expected) == 4
    suspicion = Target.open(adapting).suspicion(images)
    assert suspicion.attack.numpy() == pytest.approx([each.attack for each in expected], abs=1e-4)
    assert suspicion.corruption.numpy() == pytest.approx([each.corruption for each in expected], abs=1e-4)


def test_cheap_frames_do_not_look_corrupted(adapting, images):
    target = Target.open(adapting)
    middle = float(target.bits(images).median())
    cheap = dataclasses.replace(target, guard=dataclasses.replace(target.guard, cheap=middle))
    before, after = target.suspicion(images).corruption, cheap.suspicion(images).corruption
    dear = target.bits(images) > middle
    assert bool(torch.isinf(after[~dear]).all()) and torch.equal(after[dear], before[dear])


def test_without_an_adapted_head_corruption_is_not_looked_for(robust_bundles, images):
    suspicion = Target.open(load(robust_bundles["fp"])).suspicion(images)
    assert bool(torch.isneginf(suspicion.corruption).all())


def test_sent_bits_are_the_runtimes(adapting, images, squares):
    defence = Defence(weight=0.05)
    head = Head(adapting, guard=Guard("auto", defence))
    expected, rungs = [], []
    for square in squares:
        head.encode(square)
        expected.append(head.report.decision.expected_bits)
        rungs.append(head.report.decision.rung)
    assert sorted(rungs) == ["adapted"] * 2 + ["defended"] * 2 + ["plain"] * 2
    sent = sent_bits(Target.open(adapting, defence), images)
    assert sent.numpy() == pytest.approx(expected, rel=1e-3)


def test_undefended_is_the_same_bundle_without_its_defence(defended, target, images):
    assert torch.equal(defended.undefended.bits(images), target.bits(images))
    assert not torch.equal(defended.bits(images), target.bits(images))
