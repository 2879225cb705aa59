"""A budget is kept for every latent that a graph can return, and an impossible one is refused at once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.bundle import Bundle, load
from runtime.codec.coarseness import COARSEST, factor
from runtime.codec.packet import Flags
from runtime.codec.rate_control import RateControl
from runtime.codec.tables import SCALES
from runtime.engines import EngineOptions
from runtime.errors import BudgetError, EngineError, RateholdError
from runtime.guard import Guard
from runtime.guard.alarm import Suspicion
from runtime.guard.decision import Mode
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.prior.base import Prior, Stream
from runtime.tail import Tail
from tests.tiny_bundle import HYPER, LATENT, tiny_images

PRIORS = ("fp", "mshp")
MODES: tuple[Mode, ...] = ("never", "always", "auto")
ONE = EngineOptions(threads=1)
ROUNDING = 4  # bytes that a small packet may have above the expected ones
IMAGE = tiny_images(1)[0]
Arrays = list[NDArray[np.float32]]


class Scripted:
    """An engine that returns what it is told, whatever it is shown."""

    inputs: tuple[Any, ...] = ()
    outputs = ("y", "z")

    def __init__(self, outputs: Arrays):
        self.returned = outputs

    def run(self, *inputs: NDArray[np.float32]) -> Arrays:
        return self.returned


def noisy(count: int) -> list[NDArray[np.uint8]]:
    noise = np.random.default_rng(0).integers(-40, 41, (count, *IMAGE.shape))
    images = zip(tiny_images(count), noise, strict=True)
    return [np.clip(image + n, 0, 255).astype(np.uint8) for image, n in images]


def values_of(streams: tuple[Stream, ...]) -> NDArray[np.float32]:
    values = streams[-1].values
    assert values is not None
    return values


def least(folder: Path) -> int:
    """The least budget, as the refusal names it."""
    with pytest.raises(BudgetError) as refusal:
        Head(load(folder), ONE, guard=Guard(budget=1))
    assert isinstance(refusal.value, RateholdError)
    (number,) = re.findall(r"the least is (\d+)", str(refusal.value))
    return int(number)


@pytest.fixture(scope="module")
def heads(tiny_bundles: dict[str, Path], robust_bundles: dict[str, Path]) -> dict[tuple[str, Mode], Head]:
    """A Head of each prior and mode at its least budget; tests raise the budget as they need."""
    return {
        (prior, mode): Head(load(folder), ONE, guard=Guard(mode, Defence(iterations=1), least(folder)))
        for prior, folder in (tiny_bundles | {"robust": robust_bundles["mshp"]}).items()
        for mode in MODES
    }


def hostile(rng: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """A latent of some kind: quiet, loud, sparse, constant, infinite, of all magnitudes at once."""
    size = (1, *shape)
    magnitude = np.float64(10.0 ** rng.uniform(-2, 12))
    kinds = (
        lambda: rng.normal(0, magnitude, size),
        lambda: rng.choice([-magnitude, magnitude], size),
        lambda: np.where(rng.random(size) < 0.05, rng.normal(0, magnitude, size), 0.0),
        lambda: np.full(size, magnitude),
        lambda: rng.choice([-np.inf, 0.0, np.inf], size),
        lambda: rng.choice([-1, 1], size) * 10.0 ** rng.uniform(-3, 30, size),
        lambda: rng.choice([0.5, -0.5, 1.5, -0.49999], size),
        lambda: np.zeros(size),
    )
    return kinds[rng.integers(len(kinds))]().astype(np.float32)


def hostile_frame(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise, a constant, stripes, or an image with sign noise."""
    shape = IMAGE.shape
    kinds = (
        lambda: rng.integers(0, 256, shape),
        lambda: np.full(shape, rng.integers(0, 256)),
        lambda: np.broadcast_to(255 * (np.arange(shape[1]) // rng.integers(1, 9) % 2)[None, :, None], shape),
        lambda: np.clip(IMAGE + rng.choice([-32, 32], shape), 0, 255),
    )
    return kinds[rng.integers(len(kinds))]().astype(np.uint8)


ANY_FRAME = {
    "seed": st.integers(0, 2**32 - 1),
    "more": st.integers(0, 600),
    "mode": st.sampled_from(MODES),
    "prior": st.sampled_from([*PRIORS, "robust"]),
    "rate_control": st.sampled_from([0.0, 0.3]),
}
Heads = dict[tuple[str, Mode], Head]


@given(**ANY_FRAME)
@settings(max_examples=300)
def test_no_packet_is_over_its_budget(
    heads: Heads, seed: int, more: int, mode: Mode, prior: str, rate_control: float
) -> None:
    check_budget(heads, seed, more, mode, prior, rate_control)


@pytest.mark.slow
@given(**ANY_FRAME)
@settings(max_examples=100_000)
def test_no_packet_is_over_its_budget_in_100_000_frames(
    heads: Heads, seed: int, more: int, mode: Mode, prior: str, rate_control: float
) -> None:
    check_budget(heads, seed, more, mode, prior, rate_control)


def check_budget(heads: Heads, seed: int, more: int, mode: Mode, prior: str, rate_control: float) -> None:
    """Hostile latents at the outputs of both graphs, or hostile frames; any budget that a bundle accepts."""
    head, rng = heads[prior, mode], np.random.default_rng(seed)
    shapes = [LATENT] if prior == "fp" else [LATENT, HYPER]
    smallest = head.pack(head.emptiest).packet.size
    head.limit(smallest + more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "guard", Guard(mode, Defence(iterations=1, rate_control=rate_control)))
        for owner, engine in ((head, "engine"), (head.ladder, "shield")) if seed % 4 else ():
            patch.setattr(owner, engine, Scripted([hostile(rng, shape) for shape in shapes]))
        packet = head.encode(IMAGE if seed % 4 else hostile_frame(rng))
    data = packet.to_bytes()
    assert len(data) == packet.size <= smallest + more
    streams = Tail(head.bundle, ONE).read(data) if seed % 10 == 0 else None
    assert head.report is not None
    decision, sent = head.report.decision, head.report.latent
    for got, stream in zip(streams or sent.streams, sent.streams, strict=True):
        assert np.array_equal(got.symbols, stream.symbols)
    assert decision.bytes == len(data) and decision.budget == smallest + more
    assert decision.defended == (Flags.DENOISED in packet.flags)
    assert not (mode == "never" and decision.defended)
    assert decision.coarseness == packet.coarseness
    if decision.rung in ("fitted", "empty"):
        assert packet.coarseness > 0
    if decision.rung == "empty" or decision.rate_weight > 0:
        assert Flags.RATE_CONTROLLED in packet.flags


@pytest.mark.parametrize("prior", PRIORS)
def test_the_least_budget_is_kept_and_one_byte_less_refused(
    prior: str, tiny_bundles: dict[str, Path]
) -> None:
    folder = tiny_bundles[prior]
    number = least(folder)
    head = Head(load(folder), ONE, guard=Guard("never", budget=number))
    shapes = [LATENT] if prior == "fp" else [LATENT, HYPER]
    loud = [np.full((1, *shape), 1e9, np.float32) for shape in shapes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "engine", Scripted(loud))
        assert len(head.encode(IMAGE).to_bytes()) <= number
    with pytest.raises(BudgetError, match=f"budget of {number - 1} bytes"):
        Head(load(folder), ONE, guard=Guard("never", budget=number - 1))


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("mode", MODES)
def test_what_fits_is_sent_as_the_mode_alone_sends_it(
    prior: str, mode: Mode, tiny_bundles: dict[str, Path]
) -> None:
    """The budget is exactly what the packet takes: nothing is given up for a byte to spare."""
    bundle = load(tiny_bundles[prior])
    free = Head(bundle, ONE, guard=Guard(mode))
    for image in tiny_images(5):
        data = free.encode(image).to_bytes()
        tight = Head(bundle, ONE, guard=Guard(mode, budget=len(data)))
        assert tight.encode(image).to_bytes() == data
        assert tight.counters.over_budget == 0


@pytest.mark.parametrize("prior", PRIORS)
def test_the_ladder_descends_rung_by_rung(prior: str, tiny_bundles: dict[str, Path]) -> None:
    """A frame that nobody suspects under ever smaller budgets: sent, defended, coarser, rate-controlled."""
    bundle = load(tiny_bundles[prior])
    image = noisy(1)[0]
    plain = Head(bundle, ONE).encode(image).size
    rounded = Defence(coarseness=0, rate_control=0.0)
    defended = Head(bundle, ONE, guard=Guard("always", rounded)).encode(image).size
    lowest = least(tiny_bundles[prior])
    assert lowest < defended < plain
    seen: list[str] = []
    given_up: dict[str, list[tuple[int, float]]] = {}
    for budget in range(plain, lowest - 1, -1):
        head = Head(bundle, ONE, guard=Guard("auto", rounded, budget))
        head.alarm = lambda latent: Suspicion(-1.0)
        head.encode(image)
        assert head.report is not None
        decision = head.report.decision
        expected = "plain" if budget >= plain else "defended" if budget >= defended else None
        assert decision.rung == (expected or decision.rung)
        if expected is None:
            assert decision.rung in ("fitted", "without_z", "empty")
        seen.append("smaller" if decision.rung in ("fitted", "without_z") else decision.rung)
        if seen[-1] == "smaller":
            given_up.setdefault(decision.rung, []).append((decision.coarseness, decision.rate_weight))
        assert head.counters.over_budget == (budget < plain)
        assert head.counters.rate_controlled == (expected is None)
    assert seen == sorted(seen, key=["plain", "defended", "smaller", "empty"].index)
    assert "smaller" in seen
    for of_one in given_up.values():
        assert of_one == sorted(of_one) and of_one[-1] > (0, 0)
        assert all(coarseness == COARSEST for coarseness, weight in of_one if weight > 0)


@pytest.mark.parametrize("prior", PRIORS)
def test_an_ordinary_frame_that_is_over_the_budget_is_coarsened_and_not_defended(
    prior: str, tiny_bundles: dict[str, Path]
) -> None:
    bundle, image = load(tiny_bundles[prior]), tiny_images(1)[0] // 2 + 64
    plain = Head(bundle, ONE)
    size = plain.encode(image).size
    assert plain.report is not None
    assert plain.report.latent.expected_bits < dict(bundle.manifest.clean_bits)[0.99]
    head = Head(bundle, ONE, guard=Guard("auto", budget=size - 8))
    head.alarm = lambda latent: Suspicion(-1.0)
    assert head.encode(image).size <= size - 8 and head.report is not None
    decision = head.report.decision
    assert decision.rung in ("fitted", "without_z") and not decision.defended
    head.alarm = lambda latent: Suspicion(1.0)
    head.encode(image)
    assert head.report.decision.defended


def test_a_hyper_latent_that_is_too_dear_is_left_out(tiny_bundles: dict[str, Path]) -> None:
    """z of enormous symbols alone is over the budget; y of the frame is still sent, without it."""
    bundle = load(tiny_bundles["mshp"])
    free = Head(bundle, ONE)
    y, z = free.engine.run(bundle.manifest.preprocess(IMAGE))
    without = free.pack(free.latent_of([y, np.zeros_like(z)])).packet.size
    head = Head(bundle, ONE, guard=Guard("never", budget=without + 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "engine", Scripted([y, np.full_like(z, 1e5)]))
        packet = head.encode(IMAGE)
    assert head.report is not None and head.report.decision.rung == "without_z"
    assert packet.flags == Flags.NONE and packet.size <= without + 2
    z_sent, y_sent = Tail(bundle, ONE).read(packet.to_bytes())
    assert not z_sent.symbols.any() and y_sent.symbols.any()


def least_error(prior: Prior, streams: tuple[Stream, ...], size: int) -> float:
    """Squared error of y in the finest steps, or at the least lambda, that fit so many bytes."""
    *side, y = streams
    room = 8 * (size - 17 - ROUNDING) - sum(float(stream.information_bits().sum()) for stream in side)
    values = values_of(streams)
    for coarseness in range(COARSEST + 1):
        coarse = prior.coarser(y, coarseness)
        if float(coarse.information_bits().sum()) <= room:
            return float(np.square(values - coarse.symbols * factor(coarseness)).sum())
    control = RateControl(values / factor(COARSEST), coarse.index, coarse.tables)
    weight = control.least_weight(room)
    if weight is None:
        return float("inf")
    return float(np.square(values - control.symbols(weight) * factor(COARSEST)).sum())


@pytest.mark.parametrize("likely", [False, True])
def test_of_two_ways_to_fit_the_one_nearer_to_y_is_sent(
    likely: bool, tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With z or without, by hand from what is decoded: z is worth its bits where it says what y will be."""
    bundle, smallest = load(tiny_bundles["mshp"]), least(tiny_bundles["mshp"])
    free, rng, seen = Head(bundle, ONE), np.random.default_rng(0), set()
    prior = free.prior
    for image in noisy(4):
        y, z = free.engine.run(bundle.manifest.preprocess(image))
        if likely:
            z = rng.choice(np.float32([-6, 6]), z.shape)
            streams = prior.code(np.zeros_like(y), z)
            drawn = rng.normal(0, SCALES[streams[-1].index]) - values_of(streams)
            y = drawn.reshape(y.shape).astype(np.float32)
        for size in range(smallest + 2, free.pack(free.latent_of([y, z])).packet.size, 4):
            head = Head(bundle, ONE, guard=Guard("never", budget=size))
            monkeypatch.setattr(head, "engine", Scripted([y, z]))
            packet = head.encode(image)
            y_hat = prior.read(free.coder.decoder(packet.payload), packet.coarseness).y_hat
            assert head.report is not None
            seen.add(rung := head.report.decision.rung)
            sent = float(np.square(y_hat - y).sum())
            for name, hyper in (("fitted", z), ("without_z", np.zeros_like(z))):
                if name != rung:
                    assert sent <= least_error(prior, prior.code(y, hyper), size) * (1 + 1e-6)
    assert ("fitted" if likely else "without_z") in seen


@pytest.mark.parametrize("prior", PRIORS)
def test_where_no_rate_control_fits_all_symbols_are_zero(prior: str, tiny_bundles: dict[str, Path]) -> None:
    """The coder's bytes may be more than the expected ones; the last rung is what opening has tried."""
    number = least(tiny_bundles[prior])
    head = Head(load(tiny_bundles[prior]), ONE, guard=Guard("never", budget=number))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head.ladder.fitter, "fitting", lambda attempts, coarseness, budget: iter(()))
        packet = head.encode(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    assert packet.size == number and packet.flags == Flags.RATE_CONTROLLED
    streams = Tail(head.bundle, ONE).read(packet.to_bytes())
    assert not any(stream.symbols.any() for stream in streams)
    assert head.report is not None and head.report.decision.rung == "empty"
    assert head.counters.rate_controlled == head.counters.over_budget == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_latent_that_is_not_a_number_is_still_an_engine_error(
    mode: Mode, heads: dict[tuple[str, Mode], Head]
) -> None:
    head = heads["mshp", mode]
    counted = head.counters
    for broken in (0, 1):
        outputs = [np.zeros((1, *shape), np.float32) for shape in (LATENT, HYPER)]
        outputs[broken].flat[3] = np.nan
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(head, "engine", Scripted(outputs))
            with pytest.raises(EngineError, match="NaN"):
                head.encode(IMAGE)
    assert head.counters == counted


def with_budget(folder: Path, budget: int | None) -> Bundle:
    bundle = load(folder)
    return replace(bundle, manifest=replace(bundle.manifest, budget=budget))


@pytest.mark.parametrize("mode", MODES)
def test_the_bundles_budget_is_kept_unless_another_is_asked_for(
    mode: Mode, tiny_bundles: dict[str, Path]
) -> None:
    own, mine = least(tiny_bundles["mshp"]) + 9, least(tiny_bundles["mshp"]) + 3
    bundle, old = with_budget(tiny_bundles["mshp"], own), with_budget(tiny_bundles["mshp"], None)
    for budget, of, kept in (
        ("bundle", bundle, own), ("bundle", old, None), (None, bundle, None), (mine, bundle, mine)
    ):  # fmt: skip
        head = Head(of, ONE, guard=Guard(mode, budget=budget))  # type: ignore[arg-type]
        size = head.encode(noisy(1)[0]).size
        assert head.budget == kept and (size <= kept if kept else size > own)
        assert head.report is not None and head.report.decision.budget == kept
    assert Head(bundle, ONE).budget is None  # without a guard frames go as they are


@given(seed=st.integers(0, 2**32 - 1), hold=st.integers(0, 3), prior=st.sampled_from(PRIORS))
@settings(max_examples=60)
def test_the_bundles_budget_holds_for_hostile_videos(
    robust_bundles: dict[str, Path], seed: int, hold: int, prior: str
) -> None:
    """Hostile frames and latents in any order, suspected or not, held or looked at."""
    rng = np.random.default_rng(seed)
    own = least(robust_bundles[prior]) + int(rng.integers(60))
    head = Head(with_budget(robust_bundles[prior], own), ONE, guard=Guard(hold=hold))
    shapes = [LATENT] if prior == "fp" else [LATENT, HYPER]
    for _ in range(6):
        score = Suspicion(*rng.choice([-1.0, 1.0], 2))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(head, "alarm", lambda latent, score=score: score)
            if rng.random() < 0.5:
                for owner, engine in ((head, "engine"), (head.ladder, "shield"), (head, "_adapted")):
                    patch.setattr(owner, engine, Scripted([hostile(rng, shape) for shape in shapes]))
            data = head.encode(hostile_frame(rng)).to_bytes()
        assert len(data) <= own == head.budget
        Tail(head.bundle, ONE).read(data)


def test_a_budget_also_holds_where_masks_are_reused(tiny_bundles: dict[str, Path]) -> None:
    budget = least(tiny_bundles["fp"]) + 5
    guard = Guard("always", Defence(reuse_mask=True), budget)
    head = Head(load(tiny_bundles["fp"]), ONE, guard=guard)
    for image in tiny_images(5):
        assert head.encode(image).size <= budget
    assert head.report is not None and head.report.decision.expected_bits_before is None
    assert head.counters.over_budget == head.counters.rate_controlled == head.counters.defended == 5
