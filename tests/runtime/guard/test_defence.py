"""Defended frames: against the denoiser by hand, against undefended frames, and their mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from native_denoise import MaskMemory, denoise_planar, settings, soft_mask
from runtime.bundle import Bundle, load
from runtime.codec.packet import Flags
from runtime.engines import EngineOptions, open_engine
from runtime.errors import DefenceError, EngineError, RateholdError
from runtime.guard import Guard
from runtime.guard.alarm import Suspicion
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.latent import Latent
from runtime.prior import open_prior
from runtime.tail import Tail
from tests.tiny_bundle import SIZE, tiny_images

PRIORS = ("fp", "mshp")
ONE = EngineOptions(threads=1)
FIRST_PASS = ["preprocess", "head", "prior", "mask"]
SECOND_PASS = ["denoise", "head_defended", "prior_defended", "encode"]
DEFENCES = (
    Defence(),
    Defence(weight=0.2),
    Defence(iterations=7),
    Defence(stretch=True),
    Defence(power=3.0),
    Defence(threshold=0.08),
    Defence("rof"),
    Defence("rof", tolerance=0.02),
    Defence("rof", weight=0.3, iterations=20, stretch=True, power=0.5),
    Defence("released"),
)


def noisy(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    noise = rng.integers(-25, 26, (count, 48, 40, 3))
    return [
        np.clip(image + n, 0, 255).astype(np.uint8)
        for image, n in zip(tiny_images(count, seed), noise, strict=True)
    ]


def always(defence: Defence) -> Guard:
    """Every frame, its latent rounded: rate control has tests of its own."""
    return Guard("always", replace(defence, coarseness=0, rate_control=0.0))


class ByHand:
    """The defence without ``runtime.guard.defence``: its own engine and prior, the denoiser called
    directly."""

    def __init__(self, bundle: Bundle):
        self.bundle = bundle
        self.prior = open_prior(bundle, ONE)
        self.engine = open_engine(bundle.path("head"), ONE)
        self.energy = bundle.arrays("prior")["energy"].astype(np.float32)

    def latent(self, prepared: NDArray[np.float32]) -> Latent:
        streams = self.prior.code(*self.engine.run(prepared))
        return Latent(streams, self.energy, self.bundle.manifest.latent)

    def defended(
        self, image: NDArray[np.uint8], defence: Defence, mask: NDArray[np.float32] | None = None
    ) -> Latent:
        prepared = self.bundle.manifest.preprocess(image)
        if mask is None:
            mask = soft_mask(
                self.latent(prepared).likelihood_map, (SIZE, SIZE),
                stretch=defence.stretch, power=defence.power, threshold=defence.threshold,
            )  # fmt: skip
        weight, iterations = defence.weight, defence.iterations
        if defence.mode == "descent":
            weight, iterations = 0.02 if weight is None else weight, iterations or 30
        chosen = settings(defence.mode, weight, iterations, defence.tolerance)
        denoised = np.empty_like(prepared)
        denoise_planar(prepared[0], mask, chosen, denoised[0], threads=1)
        return self.latent(denoised)


def sent(head: Head) -> Latent:
    assert head.report is not None
    return head.report.latent


def same(a: Latent, b: Latent) -> bool:
    return all(np.array_equal(x.symbols, y.symbols) for x, y in zip(a.streams, b.streams, strict=True))


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("defence", DEFENCES, ids=str)
def test_symbols_are_those_of_the_image_denoised_by_hand(
    defence: Defence, prior: str, tiny_bundles: dict[str, Path]
) -> None:
    bundle = load(tiny_bundles[prior])
    head, by_hand, tail = Head(bundle, ONE, guard=always(defence)), ByHand(bundle), Tail(bundle, ONE)
    changed = False
    for image in noisy(4):
        packet = head.encode(image)
        assert packet.flags == Flags.DENOISED
        assert same(sent(head), by_hand.defended(image, defence))
        before = by_hand.latent(bundle.manifest.preprocess(image))
        changed |= not same(sent(head), before)
        assert head.report is not None and head.report.before is not None
        assert same(head.report.before, before)
        assert head.report.before.expected_bits == before.expected_bits
        assert np.isfinite(tail.decode(packet.to_bytes())).all()
        assert tail.report is not None
        for stream, got in zip(sent(head).streams, tail.report.streams, strict=True):
            assert np.array_equal(stream.symbols, got.symbols)
    assert changed


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("mode", ["rof", "descent", "released"])
def test_without_weight_only_the_flag_differs(mode: str, prior: str, tiny_bundles: dict[str, Path]) -> None:
    bundle = load(tiny_bundles[prior])
    plain, defended = Head(bundle, ONE), Head(bundle, ONE, guard=always(Defence(mode, weight=0.0)))
    for image in noisy(5):
        packet, other = plain.encode(image), defended.encode(image)
        assert (packet.flags, other.flags) == (Flags.NONE, Flags.DENOISED)
        assert packet.payload == other.payload and packet.bundle_id == other.bundle_id


def test_denoising_takes_the_bits_of_noise_away(tiny_bundles: dict[str, Path]) -> None:
    head = Head(load(tiny_bundles["fp"]), ONE, guard=always(Defence(weight=0.2)))
    for image in noisy(5):
        head.encode(image)
        assert head.report is not None and head.report.before is not None
        assert head.report.latent.expected_bits < head.report.before.expected_bits


def test_the_callers_image_is_never_altered(tiny_bundles: dict[str, Path]) -> None:
    """Not even one that needs no resizing, nor one that may not be written."""
    head = Head(load(tiny_bundles["fp"]), ONE, guard=always(Defence(weight=0.5, reuse_mask=True)))
    for image in (*noisy(2), np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)):
        kept = image.copy()
        image.setflags(write=False)
        head.encode(image)
        assert np.array_equal(image, kept)


def test_stages_of_a_defended_frame_in_order(tiny_bundles: dict[str, Path]) -> None:
    image = noisy(1)[0]
    plain = Head(load(tiny_bundles["fp"]), ONE)
    plain.encode(image)
    assert plain.report is not None and plain.report.before is None
    for reuse_mask, second in ((False, FIRST_PASS), (True, ["preprocess", "mask"])):
        head = Head(load(tiny_bundles["fp"]), ONE, guard=always(Defence(reuse_mask=reuse_mask)))
        for expected in (FIRST_PASS, second):
            head.encode(image)
            assert head.report is not None
            assert list(head.report.seconds) == expected + SECOND_PASS
            assert (head.report.before is None) == ("head" not in expected)


def test_reports_of_earlier_frames_stay_as_they_were(tiny_bundles: dict[str, Path]) -> None:
    """The defence works in buffers of its own; what it reports is not in them."""
    bundle = load(tiny_bundles["mshp"])
    head = Head(bundle, ONE, guard=always(Defence()))
    first, second = noisy(2)
    head.encode(first)
    report = head.report
    head.encode(second)
    assert report is not None and report.before is not None
    assert same(report.latent, ByHand(bundle).defended(first, Defence()))
    assert same(report.before, ByHand(bundle).latent(bundle.manifest.preprocess(first)))


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("variant", [{}, {"stretch": True, "power": 2.0}], ids=str)
def test_a_reused_mask_is_that_of_the_frames_before(
    variant: dict[str, float], prior: str, tiny_bundles: dict[str, Path]
) -> None:
    bundle = load(tiny_bundles[prior])
    defence = Defence(weight=0.2, reuse_mask=True, **variant)
    head, by_hand, memory = Head(bundle, ONE, guard=always(defence)), ByHand(bundle), MaskMemory()
    differs = False
    for image in noisy(5, seed=2):
        head.encode(image)
        expected = by_hand.defended(image, defence, memory.mask((SIZE, SIZE), **variant))
        assert same(sent(head), expected)
        differs |= not same(expected, by_hand.defended(image, defence))
        memory.update(expected.likelihood_map)
    assert differs


@pytest.mark.parametrize("prior", PRIORS)
def test_a_held_frame_is_seen_by_the_shield_alone_under_the_mask_of_the_frames_before(
    prior: str, tiny_bundles: dict[str, Path]
) -> None:
    bundle = load(tiny_bundles[prior])
    defence = Defence(weight=0.2, coarseness=0, rate_control=0.0)
    head, by_hand, memory = (
        Head(bundle, ONE, guard=Guard(defence=defence, hold=2)),
        ByHand(bundle),
        MaskMemory(),
    )
    head.alarm = lambda latent: Suspicion(1.0)
    for number, image in enumerate(noisy(6, seed=2)):
        head.encode(image)
        looked_at = number % 3 == 0
        if looked_at:
            memory = MaskMemory()
        expected = by_hand.defended(image, defence, memory.mask((SIZE, SIZE)))
        assert same(sent(head), expected) and head.report is not None
        first = [*FIRST_PASS[:-1], "guard", "mask"] if looked_at else ["preprocess", "mask"]
        assert list(head.report.seconds) == first + SECOND_PASS
        memory.update(expected.likelihood_map)


def test_warm_up_and_forget_leave_no_mask_behind(tiny_bundles: dict[str, Path]) -> None:
    bundle, image = load(tiny_bundles["fp"]), noisy(1)[0]
    head = Head(bundle, ONE, guard=always(Defence(reuse_mask=True)))
    for forget in (head.warm_up, head.forget):
        forget()
        head.encode(image)
        assert head.report is not None and head.report.before is not None
        assert same(sent(head), ByHand(bundle).defended(image, Defence()))
    Head(bundle, ONE).forget()


def test_a_frame_that_fails_leaves_the_memory_usable(
    tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = Head(load(tiny_bundles["fp"]), ONE, guard=always(Defence(reuse_mask=True)))
    image = noisy(1)[0]
    head.encode(image)
    with monkeypatch.context() as patch:
        patch.setattr(head.engine, "run", lambda *inputs: [np.full((1, 6, 4, 4), np.nan, np.float32)])
        with pytest.raises(EngineError, match="NaN"):
            head.encode(image)
    assert head.encode(image).flags == Flags.DENOISED


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "median"}, "unknown mode 'median': choose one of rof"),
        ({"weight": -0.1}, "weight must be"),
        ({"weight": float("nan")}, "weight must be"),
        ({"iterations": -1}, "iterations must be"),
        ({"iterations": 2.5}, "iterations must be"),
        ({"mode": "rof", "tolerance": 0.0}, "tolerance must be"),
        ({"tolerance": 0.01}, "tolerance is for 'rof' only"),
        ({"power": 0.0}, "power must be"),
        ({"power": float("nan")}, "power must be"),
        ({"threshold": 1.5}, "threshold must be"),
        ({"threshold": float("nan")}, "threshold must be"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_said_at_once(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(DefenceError, match=message) as caught:
        Defence(**wrong)  # type: ignore[arg-type]
    assert isinstance(caught.value, RateholdError)


def test_the_denoisers_errors_are_ours(tiny_bundles: dict[str, Path]) -> None:
    head = Head(load(tiny_bundles["fp"]), ONE, guard=always(Defence()))
    assert head.ladder.defender is not None
    with pytest.raises(DefenceError, match="does not fit"):
        head.ladder.defender.denoise(np.zeros((1, 3, SIZE, SIZE), np.float32), np.ones((3, 3), np.float32))
