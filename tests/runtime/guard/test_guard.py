"""The guard: what it suspects, what it holds, who looks a second time, and bundles that do not fit it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from native_denoise import denoise_planar, settings, soft_mask
from runtime.bundle import MANIFEST, Bundle, load
from runtime.codec.packet import Flags
from runtime.codec.rate_control import control_rate
from runtime.engines import EngineOptions, open_engine
from runtime.errors import BundleError, DefenceError
from runtime.guard import Guard
from runtime.guard.alarm import Discriminant, Suspicion, Watch, features, open_score
from runtime.guard.decision import Decision
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.tail import Tail
from tests.tiny_bundle import LATENT, SIZE, adapt, make_tiny_bundle, rewrite, tiny_images

PRIORS = ("fp", "mshp")
ONE = EngineOptions(threads=1)
Image = NDArray[np.uint8]


def ordinary(count: int, seed: int = 0) -> list[Image]:
    """Half of the contrast of what the bundles were calibrated on."""
    return [image // 2 + 64 for image in tiny_images(count, seed)]


def noisy(count: int, seed: int = 0) -> list[Image]:
    noise = np.random.default_rng(seed).integers(-120, 121, (count, 48, 40, 3))
    images = zip(tiny_images(count, seed), noise, strict=True)
    return [np.clip(image + n, 0, 255).astype(np.uint8) for image, n in images]


def decided(head: Head, image: Image) -> Decision:
    head.encode(image)
    assert head.report is not None
    return head.report.decision


@pytest.fixture(params=[f"{kind}{prior}" for kind in ("plain-", "robust-") for prior in PRIORS])
def folder(
    request: pytest.FixtureRequest, tiny_bundles: dict[str, Path], robust_bundles: dict[str, Path]
) -> Path:
    """Each tiny bundle, with one head and with two."""
    kind, prior = request.param.split("-")
    return (robust_bundles if kind == "robust" else tiny_bundles)[prior]


def test_auto_sends_calm_frames_as_never_does(folder: Path) -> None:
    auto, never = Head(load(folder), ONE, guard=Guard()), Head(load(folder), ONE)
    for image in ordinary(20):
        assert auto.encode(image).to_bytes() == never.encode(image).to_bytes()
        assert auto.report is not None and never.report is not None
        decision = auto.report.decision
        assert decision.score is not None and decision.score <= 0
        assert (decision.rung, decision.defended, decision.suspicious) == ("plain", False, False)
        assert auto.report.before is None
        assert list(auto.report.seconds) == ["preprocess", "head", "prior", "guard", "encode"]
        assert never.report.decision.score is None
    assert auto.counters.frames == 20 and auto.counters.defended == auto.counters.suspicious == 0


def test_auto_sends_suspicious_frames_as_always_does(folder: Path) -> None:
    auto, always = Head(load(folder), ONE, guard=Guard()), Head(load(folder), ONE, guard=Guard("always"))
    for image in noisy(10):
        assert auto.encode(image).to_bytes() == always.encode(image).to_bytes()
        assert auto.report is not None and auto.report.before is not None
        decision = auto.report.decision
        assert decision.score is not None and decision.score > 0 and decision.suspicious
        assert (decision.rung, decision.defended) == ("defended", True)
        assert decision.expected_bits_before == auto.report.before.expected_bits
        assert decision.expected_bits == auto.report.latent.expected_bits
        assert decision.bytes == len(auto.encode(image).to_bytes())


@pytest.mark.parametrize("prior", PRIORS)
def test_dear_frames_are_suspicious_whatever_the_discriminant_says(
    prior: str, robust_bundles: dict[str, Path]
) -> None:
    bundle = load(robust_bundles[prior])
    score = open_score(bundle)
    assert isinstance(score, Discriminant)
    blind = replace(score, weights=np.zeros_like(score.weights), bias=score.bias * 0 - 1)
    head, limit = Head(bundle, ONE), 1.15 * dict(bundle.manifest.clean_bits)[0.99]
    latents = [head.analyse(image) for image in (*ordinary(5), *noisy(5))]
    assert {latent.expected_bits > limit for latent in latents} == {True, False}
    for latent in latents:
        assert (blind(latent).attack > 0) == (latent.expected_bits > limit)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_score_is_the_discriminant_written_out(prior: str, robust_bundles: dict[str, Path]) -> None:
    bundle = load(robust_bundles[prior])
    arrays, head = bundle.arrays("guard"), Head(bundle, ONE, guard=Guard())
    for image in (*ordinary(5), *noisy(5)):
        latent = head.analyse(image)
        y = latent.streams[-1]
        scores = [float(bias) for bias in arrays["bias"]]
        for kind, weights in enumerate(arrays["discriminants"]):
            for channel, weight in enumerate(weights):
                of = slice(channel * 16, (channel + 1) * 16)
                bits = y.tables.information_bits(y.symbols[of], y.index[of])
                scores[kind] += float(weight) * float(bits.sum(dtype=np.float64))
        excess = latent.expected_bits / (1.15 * dict(bundle.manifest.clean_bits)[0.99]) - 1
        decision = decided(head, image)
        assert decision.score == pytest.approx(max(scores[0], excess), rel=1e-5, abs=1e-3)
        assert decision.corruption == pytest.approx(scores[1], rel=1e-5, abs=1e-3)
        assert features(latent).dtype == np.float32 and features(latent).shape == (LATENT[0],)


def test_without_a_discriminant_the_score_is_the_excess_of_bits(tiny_bundles: dict[str, Path]) -> None:
    bundle = load(tiny_bundles["mshp"])
    q99 = dict(bundle.manifest.clean_bits)[0.99]
    head = Head(bundle, ONE, guard=Guard())
    for image in (*ordinary(5), *noisy(5)):
        bits = head.analyse(image).expected_bits
        assert decided(head, image).score == pytest.approx((bits - q99) / q99)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("rate_control", [0.0, 0.2])
def test_a_defended_frame_of_two_heads_is_the_shields_and_decodes(
    prior: str, rate_control: float, robust_bundles: dict[str, Path]
) -> None:
    """By hand: mask of the head's latent, denoiser, shield, rate control; then through the plain tail."""
    bundle = load(robust_bundles[prior])
    defence = Defence(coarseness=0, rate_control=rate_control)
    head, tail = Head(bundle, ONE, guard=Guard("always", defence)), Tail(bundle, ONE)
    shield = open_engine(bundle.path("shield"), ONE)
    flags = Flags.DENOISED | (Flags.RATE_CONTROLLED if rate_control else Flags.NONE)
    for image in noisy(5):
        prepared = bundle.manifest.preprocess(image)
        mask = soft_mask(head.analyse(image).likelihood_map, (SIZE, SIZE))
        smooth = np.empty_like(prepared)
        denoise_planar(prepared[0], mask, settings("descent", 0.02, 30), smooth[0], threads=1)
        *side, y = head.prior.code(*shield.run(smooth))
        assert y.values is not None
        symbols = control_rate(y.values, y.index, y.tables, rate_control)
        packet = head.encode(image)
        assert packet.flags == flags
        assert np.isfinite(tail.decode(packet.to_bytes())).all()
        assert tail.report is not None
        assert np.array_equal(tail.report.streams[-1].symbols, symbols)
        for sent, expected in zip(tail.report.streams[:-1], side, strict=True):
            assert np.array_equal(sent.symbols, expected.symbols)
        assert head.report is not None
        assert head.report.decision.rate_weight == rate_control
        assert ("rate_control" in head.report.seconds) == bool(rate_control)


def test_a_head_that_never_defends_opens_no_shield(
    robust_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_and_note(graph: Path, options: EngineOptions) -> Any:
        opened.append(graph.name)
        return open_engine(graph, options)

    monkeypatch.setattr("runtime.head.open_engine", open_and_note)
    for mode, expected in (("never", ["head.onnx"]), ("always", ["head.onnx", "shield.onnx"])):
        opened.clear()
        Head(load(robust_bundles["fp"]), ONE, guard=Guard(mode))  # type: ignore[arg-type]
        assert opened == expected


@pytest.mark.parametrize(
    ("hold", "attacked", "done"),
    [
        (0, "..x..x", "..x..x"),
        (1, "..x.xx..", "..xhxh.."),
        (2, ".x...x.x...", ".xhh.xhh..."),
        (3, "xxxxxxxxx.....", "xhhhxhhhxhhh.."),
    ],
)
def test_hold_in_a_scripted_video(
    hold: int, attacked: str, done: str, tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """x: looked at and suspicious; h: defended without a look; then one is looked at again."""
    head = Head(load(tiny_bundles["fp"]), ONE, guard=Guard(hold=hold))
    image, decisions = ordinary(1)[0], []
    for frame in attacked:
        score = Suspicion(1.0 if frame == "x" else -1.0)
        monkeypatch.setattr(head, "alarm", lambda latent, score=score: score)
        decisions.append(decided(head, image))
    assert "".join("x" if d.suspicious else "h" if d.held else "." for d in decisions) == done
    assert all(d.defended == (d.suspicious or d.held) for d in decisions)
    assert all((d.first is None) == (d.score is None) == d.held for d in decisions)
    counters = head.counters
    assert (counters.frames, counters.suspicious, counters.held) == (
        len(done), done.count("x"), done.count("h"),
    )  # fmt: skip
    assert counters.defended == counters.suspicious + counters.held
    assert counters.rate_controlled == counters.defended
    assert counters.over_budget == 0


def test_forgetting_ends_the_hold() -> None:
    watch = Watch(5)
    watch.passed(True)
    assert watch.holding
    watch.forget()
    assert not watch.holding


def test_warm_up_defends_but_neither_counts_nor_holds(robust_bundles: dict[str, Path]) -> None:
    head = Head(load(robust_bundles["fp"]), ONE, guard=Guard(hold=9))
    head.encode(noisy(1)[0])
    before = head.counters
    head.warm_up()
    assert head.counters == before and before.frames == before.suspicious == 1
    assert not decided(head, ordinary(1)[0]).defended


def test_no_score_above_zero_is_no_suspicion(
    tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = Head(load(tiny_bundles["fp"]), ONE, guard=Guard())
    monkeypatch.setattr(head, "alarm", lambda latent: Suspicion(0.0, 0.0))
    assert decided(head, ordinary(1)[0]).rung == "plain"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "sometimes"}, "unknown guard mode 'sometimes': choose one of never, always, auto"),
        ({"budget": 0}, "budget must be a whole number of bytes above 0"),
        ({"budget": 99.5}, "budget must be"),
        ({"budget": "none"}, "budget must be"),
        ({"hold": -1}, "hold must be"),
        ({"hold": 0.5}, "hold must be"),
        ({"defence": Defence(reuse_mask=True)}, "needs: use 'always'"),
        ({"mode": "never", "defence": Defence(reuse_mask=True)}, "needs: use 'always'"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_said_at_once(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DefenceError, match=message):
        Guard(**wrong)


@pytest.fixture
def copy(robust_bundles: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(robust_bundles["mshp"].parent, tmp_path / "bundles")
    return tmp_path / "bundles" / "tiny-mshp-robust"


@pytest.mark.parametrize("role", ["shield", "guard"])
def test_one_flipped_bit_in_what_is_optional_is_found(copy: Path, role: str) -> None:
    path = load(copy).path(role)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="SHA-256"):
        load(copy)


GOOD, ZEROS = np.ones((3, LATENT[0]), np.float32), np.zeros(3, np.float32)
WRONG_GUARDS: tuple[dict[str, Any], ...] = (
    {"discriminants": GOOD[:, :-1], "bias": ZEROS},
    {"discriminants": GOOD[0], "bias": np.float32(0)},
    {"discriminants": GOOD, "bias": np.float32(0)},
    {"discriminants": GOOD, "bias": ZEROS[:2]},
    {"discriminants": GOOD[:2], "bias": ZEROS},
    {"discriminants": GOOD[:0], "bias": ZEROS[:0]},
    {"discriminants": GOOD, "bias": ZEROS + np.float32("nan")},
    {"discriminants": np.where(GOOD.cumsum(1) == 2, np.float32("nan"), GOOD), "bias": ZEROS},
    {"discriminants": GOOD * np.float32("inf"), "bias": ZEROS},
    {"discriminants": GOOD.astype(np.float64), "bias": ZEROS},
    {"discriminants": GOOD.astype("U4"), "bias": ZEROS},
    {"bias": ZEROS},
    {"weights": GOOD, "bias": ZEROS},  # of earlier releases, with two rows a kind
    {"discriminants": GOOD, "bias": ZEROS, "gain": np.ones(1, np.float32)},
    {},
)


@pytest.mark.parametrize("arrays", WRONG_GUARDS, ids=lambda arrays: "-".join(arrays) or "empty")
def test_a_wrong_guard_is_a_bundle_error_at_open(copy: Path, arrays: dict[str, Any]) -> None:
    np.savez(copy / "guard.npz", **arrays)
    bundle = load(rewrite(copy, "guard", copy / "guard.npz"))
    with pytest.raises(BundleError, match=r"finite float32 discriminants|not a file of arrays"):
        Head(bundle, ONE, guard=Guard())
    Head(bundle, ONE, guard=Guard("always"))  # which does not ask it


def alarming(copy: Path, attack: float, corruption: float) -> Bundle:
    """The copied bundle with a guard of two kinds that gives every frame these scores, the second one's, and
    the shield for an adapted head, so that it differs from the head.
    """
    bias = np.array([attack, -9, corruption], np.float32)
    return load(adapt(copy, np.zeros((3, LATENT[0]), np.float32), bias))


def test_what_looks_corrupted_is_sent_as_the_adapted_head_sees_it(copy: Path) -> None:
    bundle = alarming(copy, -1, 0.5)
    plain, auto, tail = Head(bundle, ONE), Head(bundle, ONE, guard=Guard()), Tail(bundle)
    adapted = open_engine(bundle.path("adapted"), ONE)
    for image in tiny_images(5):
        whole, packet = plain.encode(image), auto.encode(image)
        assert auto.report is not None
        decision = auto.report.decision
        assert (decision.rung, decision.suspicious, decision.defended) == ("adapted", False, False)
        assert decision.score is not None and decision.score < 0 and decision.corruption == 0.5
        assert (packet.flags, packet.coarseness, decision.rate_weight) == (Flags.NONE, 0, 0)
        streams = auto.prior.code(*adapted.run(bundle.manifest.preprocess(image)))
        for sent, seen in zip(auto.report.latent.streams, streams, strict=True):
            assert np.array_equal(sent.symbols, seen.symbols)
        assert packet.to_bytes() != whole.to_bytes()
        assert {"head_adapted", "prior_adapted"} <= set(auto.report.seconds)
        assert np.isfinite(tail.decode(packet.to_bytes())).all()
    assert auto.counters.rate_controlled == auto.counters.defended == auto.counters.suspicious == 0


@pytest.mark.parametrize(("corruption", "rung"), [(0.5, "adapted"), (0, "plain"), (-0.1, "plain")])
def test_only_what_looks_corrupted_is_looked_at_again(copy: Path, corruption: float, rung: str) -> None:
    auto = Head(alarming(copy, -1, corruption), ONE, guard=Guard())
    plain, image = Head(auto.bundle, ONE), ordinary(1)[0]
    decision = decided(auto, image)
    assert decision.rung == rung and decision.corruption == pytest.approx(corruption)
    if rung == "plain":
        assert auto.encode(image).to_bytes() == plain.encode(image).to_bytes()


@pytest.mark.parametrize(("share", "rung"), [(1.01, "plain"), (0.99, "adapted")])
def test_a_frame_cheaper_than_most_clean_ones_does_not_look_corrupted(
    copy: Path, share: float, rung: str
) -> None:
    bundle, image = alarming(copy, -1, 0.5), ordinary(1)[0]
    bits = Head(bundle, ONE).analyse(image).expected_bits
    manifest = replace(bundle.manifest, clean_bits=((0.25, share * bits), (0.99, 9 * bits)))
    decision = decided(Head(replace(bundle, manifest=manifest), ONE, guard=Guard()), image)
    assert (decision.rung, decision.corruption) == (rung, 0.5 if rung == "adapted" else -np.inf)


def test_a_guard_that_knows_no_corruption_sees_none(copy: Path) -> None:
    np.savez(copy / "guard.npz", discriminants=GOOD[:1] * 0, bias=ZEROS[:1])
    head = Head(load(rewrite(copy, "guard", copy / "guard.npz")), ONE, guard=Guard())
    decision = decided(head, ordinary(1)[0])
    assert (decision.rung, decision.corruption) == ("plain", -np.inf)


def test_without_an_adapted_head_what_looks_corrupted_is_left_as_it_is(copy: Path) -> None:
    bundle = alarming(copy, -1, 0.5)
    files = {role: entry for role, entry in bundle.manifest.files.items() if role != "adapted"}
    without = replace(bundle, manifest=replace(bundle.manifest, files=files))
    plain = Head(bundle, ONE)
    for auto in (Head(bundle, ONE, guard=Guard(adapt=False)), Head(without, ONE, guard=Guard())):
        for image in ordinary(3):
            assert auto.encode(image).to_bytes() == plain.encode(image).to_bytes()
            assert auto.report is not None and auto.report.decision.rung == "plain"


def test_what_looks_attacked_is_defended_whatever_else_it_looks_like(copy: Path) -> None:
    both, attacked = (alarming(copy, 1, corruption) for corruption in (0.5, -0.5))
    heads = [Head(bundle, ONE, guard=Guard()) for bundle in (both, attacked)]
    for image in ordinary(3):
        decisions = [decided(head, image) for head in heads]
        assert [d.rung for d in decisions] == ["defended", "defended"]
        assert decisions[0].bytes == decisions[1].bytes


def test_an_adapted_frame_over_budget_goes_down_the_ladder(copy: Path) -> None:
    bundle = alarming(copy, -1, 0.5)
    auto = Head(bundle, ONE, guard=Guard())
    for image in tiny_images(3):
        auto.limit(None)
        budget = auto.encode(image).size - 4
        auto.limit(budget)
        assert auto.encode(image).size <= budget
        assert auto.report is not None and auto.report.decision.rung not in ("plain", "adapted")


def other_shields(folder: Path) -> Iterable[Path]:
    """A head of the other prior, one of another size, and a graph of another kind."""
    yield make_tiny_bundle(folder, "fp") / "head.onnx"
    model = onnx.load(folder / "tiny-mshp-robust" / "head.onnx")
    node = next(node for node in model.graph.node if node.output[0] == "z")
    node.attribute[0].ints[:] = [8, 8]
    model.graph.output[1].type.tensor_type.shape.dim[2].dim_value = 3
    model.graph.output[1].type.tensor_type.shape.dim[3].dim_value = 3
    onnx.save(model, folder / "larger.onnx")
    yield folder / "larger.onnx"
    yield folder / "shared" / "tail.onnx"


def test_a_shield_that_does_not_fit_is_a_bundle_error_at_open(copy: Path) -> None:
    for number, graph in enumerate(other_shields(copy.parent)):
        shutil.copyfile(graph, copy / f"other{number}.onnx")
        bundle = load(rewrite(copy, "shield", copy / f"other{number}.onnx"))
        with pytest.raises(BundleError, match="its shield"):
            Head(bundle, ONE, guard=Guard("always"))
        Head(bundle, ONE)  # which does not need it


def test_a_bundle_that_does_not_know_its_clean_bits_cannot_be_guarded_by_them(
    tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(tiny_bundles["fp"].parent, tmp_path / "bundles")
    copy = tmp_path / "bundles" / "tiny-fp"
    raw = json.loads((copy / MANIFEST).read_text())
    for clean_bits in ([], [[0.99, 0.0]], [[0.5, 100.0]]):
        (copy / MANIFEST).write_text(json.dumps(raw | {"clean_bits": clean_bits}))
        with pytest.raises(BundleError, match="bits of clean frames"):
            open_score(load(copy))
