"""The decoder written from docs/format.md and the product agree on anything: packets, tables, networks."""

from __future__ import annotations

import json
import zlib
from functools import cache
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.bundle import DEFAULT, INSTALLED
from tests.runtime.codec.agreement import check_verdict
from tests.runtime.codec.page_decoder import PageDecoder, Synthesis, Table
from tests.runtime.codec.product import Codec, Flags, IntegerNetwork, rebinned
from tests.vectors.make import BUNDLES, FOLDER, INDEX, Noise

quick = settings(max_examples=300, database=None, suppress_health_check=list(HealthCheck))


@cache
def small() -> dict[str, tuple[Codec, PageDecoder, list[bytes]]]:
    """The bundles of the vectors, each with packets."""
    found = {}
    for name in ("fp", "mshp", "mshp-leaky"):
        vectors = json.loads((FOLDER / INDEX).read_text(encoding="utf-8"))["vectors"]
        files = [FOLDER / "packets" / f"{v['name']}.bin" for v in vectors if v["name"].startswith(f"{name}.")]
        found[name] = (
            Codec(BUNDLES / name),
            PageDecoder(BUNDLES / name),
            [path.read_bytes() for path in files],
        )
    return found


edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "delete", "insert", "set", "cut"]),
        st.integers(0, 1 << 12),
        st.binary(max_size=5),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """``data`` with each change at a place of its own."""
    damaged = bytearray(data)
    for kind, where, content in changes:
        at = where % (len(damaged) + 1)
        if kind == "flip" and at < len(damaged):
            damaged[at] ^= 1 << len(content)
        elif kind == "delete":
            del damaged[at : at + 1 + len(content)]
        elif kind == "insert":
            damaged[at:at] = content
        elif kind == "set":
            damaged[at : at + len(content)] = content
        elif kind == "cut":
            del damaged[at:]
    return bytes(damaged)


def with_crc(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def with_length(head: bytes, payload: bytes) -> bytes:
    """A packet whose length and CRC-32 fit its payload."""
    length, rest = b"", len(payload)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    return with_crc(head[:12] + length + bytes([rest]) + payload)


def payload_of(packet: bytes) -> bytes:
    return packet[13 if packet[12] < 128 else 14 : -4]


@given(st.sampled_from(["fp", "mshp", "mshp-leaky"]), st.integers(0, 99), edits, st.integers(0, 2))
@quick
def test_tampered_packets_get_the_same_verdict(name: str, which: int, changes: Any, repair: int) -> None:
    """Damage as it is, with the CRC-32 made right, and inside a payload whose packet is right."""
    codec, page, examples = small()[name]
    packet = examples[which % len(examples)]
    if repair == 0:
        tampered = edited(packet, changes)
    elif repair == 1:
        tampered = with_crc(edited(packet[:-4], changes))
    else:
        tampered = with_length(packet, edited(payload_of(packet), changes))
    check_verdict(codec, page, tampered)


@given(st.sampled_from(["fp", "mshp", "mshp-leaky"]), st.binary(max_size=120), st.integers(0, 255))
@quick
def test_streams_of_anything_get_the_same_verdict(name: str, stream: bytes, done: int) -> None:
    codec, page, examples = small()[name]
    check_verdict(codec, page, with_length(examples[0][:11] + bytes([done]), stream))


@given(
    st.sampled_from(["fp", "mshp", "mshp-leaky"]),
    st.integers(0, 63),
    st.integers(0, 1 << 20),
    st.integers(0, 1 << 30),
)
@quick
def test_any_symbols_are_read(name: str, c: int, most: int, seed: int) -> None:
    """Latents of any size at any coarseness, sealed by the product: accepted, with these very symbols."""
    codec, page, _ = small()[name]
    noise = Noise(str(seed))
    y = noise.integers(-most, most, codec.latent) // np.exp2(noise.integers(0, 20, codec.latent))
    z = noise.integers(-min(most, 65536), min(most, 65536), codec.hyper) if codec.hyper else None
    packet = codec.encode(z, y, c, Flags(seed % 4))
    assert check_verdict(codec, page, packet) == "accepted"
    assert np.array_equal(page.decode(packet).y, y)


@given(st.integers(0, 24), st.integers(0, 255))
@settings(quick, max_examples=12)
def test_a_tampered_packet_of_the_default_bundle(place: int, value: int) -> None:
    codec, page, packet = default()
    tampered = bytearray(payload_of(packet))
    tampered[place * len(tampered) // 25] = value
    check_verdict(codec, page, with_length(packet, bytes(tampered)))


@cache
def default() -> tuple[Codec, PageDecoder, bytes]:
    """The default bundle, with a packet of made-up symbols."""
    codec, noise = Codec(DEFAULT), Noise("default")
    y = noise.integers(-20, 20, codec.latent) // 16
    packet = codec.encode(noise.integers(-2, 2, codec.hyper), y)
    return codec, PageDecoder(INSTALLED / DEFAULT), packet


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], int]:
    """Counts in any order and an offset anywhere."""
    cuts = draw(
        st.lists(st.integers(1, (1 << 24) - 1) | st.integers(1, 9), min_size=1, max_size=9, unique=True)
    )
    counts = draw(st.permutations(np.diff([0, *sorted(cuts), 1 << 24]).tolist()))
    offset = draw(st.integers(-9, 3) | st.integers(-(1 << 20), (1 << 20) + 2 - len(counts)))
    return list(counts), offset


@given(st.lists(tables(), min_size=1, max_size=4), st.integers(0, 63))
@quick
def test_tables_are_rebinned_alike(tables: list[tuple[list[int], int]], c: int) -> None:
    expected = rebinned([counts for counts, _ in tables], [offset for _, offset in tables], c)
    for (counts, offset), table in zip(tables, expected, strict=True):
        page = Table(counts, offset).rebinned(c)
        assert (page.counts, page.offset) == table


@st.composite
def networks(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    """Arrays of an integer network of one to three layers, and an input that every layer takes."""
    noise, channels, arrays = Noise(str(draw(st.integers(0, 1 << 30)))), draw(st.integers(1, 3)), {}
    shape = (channels, draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    for number in range(draw(st.integers(1, 3))):
        transposed, stride = draw(st.booleans()), draw(st.integers(1, 3))
        kernel = draw(st.integers(stride, 5))
        # Enough of it for a convolution to have an output, little enough for a transposed one.
        fitting = (0, (kernel - 1) // 2) if transposed else (kernel // 2, kernel - 1)
        padding = draw(st.integers(*fitting))
        extra = draw(st.integers(0, stride - 1)) if transposed else 0
        out = draw(st.integers(1, 4)) * 2
        weight = noise.integers(-40, 40, (out, channels, kernel, kernel))
        shift, leaky = draw(st.integers(0, 12)), draw(st.booleans())
        arrays[f"h_s.{number}.weight"] = weight.swapaxes(0, 1) if transposed else weight
        arrays[f"h_s.{number}.bias"] = noise.integers(-999, 999, (out,))
        geometry = [transposed, stride, padding, extra, shift, -draw(st.integers(0, 127)), 127, leaky]
        whole = leaky or draw(st.booleans())  # the last number, leaky, may be left out where it is 0
        arrays[f"h_s.{number}.geometry"] = np.array(geometry if whole else geometry[:7], np.int32)
        if draw(st.booleans()):
            arrays[f"h_s.{number}.shift"] = noise.integers(0, 12, (out,))
        channels = out
    if draw(st.booleans()):
        arrays["h_s.rungs"] = noise.integers(0, 63, (draw(st.integers(2, 90)),))
    return arrays, noise.integers(-200, 200, shape)


@given(networks())
@settings(quick, max_examples=100)
def test_integer_networks_are_computed_alike(network: tuple[dict[str, Any], Any]) -> None:
    arrays, z = network
    assert np.array_equal(Synthesis(arrays)(z), IntegerNetwork.from_arrays(arrays)(z))
