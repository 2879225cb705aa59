"""One frame through head, packet and tail, against the priors' definitions and against damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import load
from runtime.codec.limits import MEAN_STEPS
from runtime.codec.packet import MAX_OVERHEAD, Packet
from runtime.engines import EngineOptions, open_engine
from runtime.errors import EngineError, PacketBundleMismatch, PacketError
from runtime.guard import Guard
from runtime.head import Head
from runtime.prior import open_prior
from runtime.prior.exact import IntegerNetwork
from runtime.prior.factorized import FactorizedPrior
from runtime.prior.hyperprior import Hyperprior
from runtime.tail import Tail, max_payload
from tests.tiny_bundle import tiny_images

PRIORS = ("fp", "mshp")


@pytest.fixture(scope="module")
def pairs(tiny_bundles: dict[str, Path]) -> dict[str, tuple[Head, Tail]]:
    return {
        prior: (Head(load(folder), EngineOptions(threads=1)), Tail(load(folder), EngineOptions(threads=1)))
        for prior, folder in tiny_bundles.items()
    }


@pytest.mark.parametrize("prior", PRIORS)
def test_the_tail_sees_the_symbols_that_the_head_sent(
    prior: str, pairs: dict[str, tuple[Head, Tail]]
) -> None:
    head, tail = pairs[prior]
    for image in tiny_images(20):
        data = head.encode(image).to_bytes()
        logits = tail.decode(data)
        assert logits.shape == (10,) and np.isfinite(logits).all()
        assert head.report is not None and tail.report is not None
        for sent, got in zip(head.report.latent.streams, tail.report.streams, strict=True):
            assert sent.name == got.name
            assert np.array_equal(sent.symbols, got.symbols)
            assert np.array_equal(sent.index, got.index)


@pytest.mark.parametrize("prior", PRIORS)
def test_logits_are_those_of_the_rounded_latent(prior: str, pairs: dict[str, tuple[Head, Tail]]) -> None:
    """An independent path: engines by hand, rounding and h_s by their definitions, no coder."""
    head, tail = pairs[prior]
    bundle = head.bundle
    engine = open_engine(bundle.path("head"), EngineOptions(threads=1))
    for image in tiny_images(5, seed=3):
        outputs = engine.run(bundle.manifest.preprocess(image))
        mean = np.zeros(bundle.manifest.latent, dtype=np.float32)
        if prior == "mshp":
            network = IntegerNetwork.from_arrays(bundle.arrays("prior"))
            parameters = network(np.rint(outputs[1][0]).astype(np.int32))
            mean = (parameters[bundle.manifest.latent[0] :] / MEAN_STEPS).astype(np.float32)
        y_hat = np.rint(outputs[0] - mean) + mean
        (features,) = open_engine(bundle.path("restore"), EngineOptions()).run(y_hat.astype(np.float32))
        (expected,) = open_engine(bundle.path("tail"), EngineOptions()).run(features)
        assert np.allclose(tail.decode(head.encode(image).to_bytes()), expected[0], atol=1e-5)


@pytest.mark.parametrize("prior", PRIORS)
def test_packet_size_is_the_information_and_little_else(
    prior: str, pairs: dict[str, tuple[Head, Tail]]
) -> None:
    head, _ = pairs[prior]
    for image in tiny_images(20, seed=5):
        packet = head.encode(image)
        assert head.report is not None
        expected = head.report.latent.expected_bits / 8
        assert expected - 1 <= len(packet.payload) <= 1.002 * expected + 4
        assert len(packet.to_bytes()) - len(packet.payload) <= MAX_OVERHEAD
        assert abs(sum(head.report.stream_bits.values()) - 8 * expected) < 32


@pytest.mark.parametrize("prior", PRIORS)
def test_both_coders_write_the_same_packet(prior: str, tiny_bundles: dict[str, Path]) -> None:
    pytest.importorskip("constriction")
    bundle = load(tiny_bundles[prior])
    packets = [
        [Head(bundle, coder=coder).encode(image).to_bytes() for image in tiny_images(5)]
        for coder in ("numba", "constriction")
    ]
    assert packets[0] == packets[1]


@pytest.mark.parametrize("prior", PRIORS)
def test_report_has_every_stage_in_order(prior: str, pairs: dict[str, tuple[Head, Tail]]) -> None:
    head, tail = pairs[prior]
    tail.decode(head.encode(tiny_images(1)[0]).to_bytes())
    assert head.report is not None and tail.report is not None
    assert list(head.report.seconds) == ["preprocess", "head", "prior", "encode"]
    assert list(tail.report.seconds) == ["decode", "tail"]


@pytest.mark.parametrize("prior", PRIORS)
def test_likelihood_map_spreads_each_symbol_over_its_patch(
    prior: str, pairs: dict[str, tuple[Head, Tail]]
) -> None:
    head, _ = pairs[prior]
    latent = head.analyse(tiny_images(1)[0])
    channels, height, width = latent.shape
    patch = latent.energy.shape[1]
    mask = latent.likelihood_map
    assert mask.shape == (height * patch, width * patch)
    assert mask.min() > 0 and mask.max() <= 1
    likelihood = np.exp2(-latent.bits[-1].astype(np.float64)).reshape(channels, height, width)
    energy = latent.energy.astype(np.float64)
    for row, column in ((0, 0), (3, 5), (7, 6)):
        weights = energy[:, row % patch, column % patch]
        expected = (weights * likelihood[:, row // patch, column // patch]).sum() / weights.sum()
        assert mask[row, column] == pytest.approx(expected, rel=1e-5)


def test_a_packet_of_another_bundle_is_refused(pairs: dict[str, tuple[Head, Tail]]) -> None:
    data = pairs["fp"][0].encode(tiny_images(1)[0]).to_bytes()
    with pytest.raises(PacketBundleMismatch, match="load the bundle that encoded it"):
        pairs["mshp"][1].decode(data)


@pytest.mark.parametrize("prior", PRIORS)
def test_hostile_latents_are_coded_within_the_limit(prior: str, tiny_bundles: dict[str, Path]) -> None:
    """Whatever a graph returns is coded and decoded, except NaN, which is an error."""
    bundle = load(tiny_bundles[prior])
    head, tail, rng = Head(bundle), Tail(bundle), np.random.default_rng(0)
    shapes = [bundle.manifest.latent] + ([bundle.manifest.hyper] if bundle.manifest.hyper else [])
    for magnitude in (0.0, 1.0, 1e3, 1e6, 1e30, np.inf):
        signs = [rng.choice([-1.0, 1.0], (1, *shape)).astype(np.float32) for shape in shapes]
        with np.errstate(invalid="ignore"):
            outputs = [
                np.nan_to_num(s * np.float32(magnitude), nan=0, posinf=np.inf, neginf=-np.inf) for s in signs
            ]
        packet = head.pack(head.latent_of(outputs)).packet
        assert len(packet.payload) <= max_payload(bundle)
        streams = tail.read(packet.to_bytes())
        assert np.array_equal(streams[-1].symbols, head.latent_of(outputs).streams[-1].symbols)
    outputs[0][0, 0, 0, 0] = np.nan
    with pytest.raises(EngineError, match="NaN"):
        head.latent_of(outputs)


def test_wrong_shapes_from_a_graph_are_an_engine_error(tiny_bundles: dict[str, Path]) -> None:
    prior = open_prior(load(tiny_bundles["fp"]), EngineOptions())
    assert isinstance(prior, FactorizedPrior)
    with pytest.raises(EngineError, match="the manifest says"):
        prior.code(np.zeros((1, 2, 2, 2), dtype=np.float32))
    assert isinstance(open_prior(load(tiny_bundles["mshp"]), EngineOptions()), Hyperprior)


@given(seed=st.integers(0, 2**32 - 1), flips=st.integers(1, 4), prior=st.sampled_from(PRIORS))
@settings(max_examples=1500)
def test_damaged_packets_are_an_error(
    pairs: dict[str, tuple[Head, Tail]], seed: int, flips: int, prior: str
) -> None:
    """Bits flipped, the CRC repaired half of the time: never a wrong answer."""
    import zlib

    head, tail = pairs[prior]
    rng = np.random.default_rng(seed)
    data = bytearray(head.encode(tiny_images(1, seed=seed % 7)[0]).to_bytes())
    sent = tail.read(bytes(data))
    for bit in rng.choice(8 * (len(data) - 4), flips, replace=False):
        data[bit // 8] ^= 1 << (bit % 8)
    if rng.random() < 0.5:
        data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    try:
        got = tail.read(bytes(data))
    except PacketError:
        return
    # Only the flags are outside the symbols' checksum; whatever decodes must be what was sent.
    assert (
        Packet.from_bytes(bytes(data), 1 << 20).payload
        == head.encode(tiny_images(1, seed=seed % 7)[0]).payload
    )
    assert all(np.array_equal(a.symbols, b.symbols) for a, b in zip(sent, got, strict=True))


@given(data=st.binary(max_size=400), prior=st.sampled_from(PRIORS))
@settings(max_examples=500)
def test_random_bytes_are_a_packet_error(
    pairs: dict[str, tuple[Head, Tail]], data: bytes, prior: str
) -> None:
    with pytest.raises(PacketError):
        pairs[prior][1].decode(data)


def test_a_report_reads_in_a_few_lines(tiny_bundles: dict[str, Path]) -> None:
    bundle = load(tiny_bundles["mshp"])
    (image,) = tiny_images(1)
    head = Head(bundle, EngineOptions(threads=1), guard=Guard("always", budget=4000))
    packet, report = head.encode(image), head.report
    assert report is not None and report.before is not None
    size, rung, bits, times = str(report).splitlines()
    assert size.split(maxsplit=1) == ["bytes", f"{packet.size:,} (budget 4,000)"]
    assert rung.split(maxsplit=1) == ["rung", "defended"]
    assert f"{report.latent.expected_bits:,.0f}" in bits and f"{report.before.expected_bits:,.0f}" in bits
    assert all(f"{stage} " in times for stage in report.seconds)
    plain = Head(bundle, EngineOptions(threads=1), guard=Guard("never"))
    plain.encode(image)
    assert "(no budget)" in str(plain.report) and "rung           plain\n" in str(plain.report)
    assert plain.report is not None and "first frame, nothing warmed up" in str(plain.report)
    plain.encode(image)
    assert "warmed up" not in str(plain.report)
