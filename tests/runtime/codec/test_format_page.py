"""docs/format.md is enough to write a decoder, and what it says is what the product does."""

from __future__ import annotations

import ast
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.common.attack_pack import FOLDER as PACK
from runtime.bundle import DEFAULT, INSTALLED, installed, load
from runtime.guard import Guard
from runtime.head import Head
from runtime.pictures import read_image
from tests.runtime.codec import page_decoder
from tests.runtime.codec.agreement import check_equal
from tests.runtime.codec.page_decoder import FACTORS, PageDecoder, Stack, Table, seal
from tests.runtime.codec.product import Codec, Flags, factors
from tests.vectors.make import PAGE, Noise

TEXT = PAGE.read_text(encoding="utf-8")
ATTACKED = sorted(PACK.glob("*.png"))
BUDGET = 550
"""Bytes that need coarser steps with every bundle."""


def synthetic(seed: int) -> NDArray[np.uint8]:
    """uint8 (224, 224, 3): blocks of colour under a little noise, from a seed."""
    rng = np.random.default_rng(seed)
    blocks = np.kron(rng.integers(0, 256, (7, 7, 3)), np.ones((32, 32, 1)))
    return np.clip(blocks + rng.normal(0, 6, (224, 224, 3)), 0, 255).astype(np.uint8)


def test_the_page_decoder_imports_nothing_of_the_product() -> None:
    tree = ast.parse(Path(page_decoder.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    assert modules == {
        "__future__", "bisect", "dataclasses", "hashlib", "json", "numpy", "pathlib", "re", "typing",
        "zipfile", "zlib",
    }  # fmt: skip


def packets(name: str) -> Iterator[bytes]:
    """What the product sends with a bundle: a made-up image, and an attacked one plain, guarded and small."""
    bundle, number = load(name), installed().index(name)
    attacked = read_image(ATTACKED[number % len(ATTACKED)])
    head = Head(bundle)
    yield head.encode(synthetic(number)).to_bytes()
    yield head.encode(attacked).to_bytes()
    yield Head(bundle, guard=Guard("never", budget=BUDGET)).encode(attacked).to_bytes()
    if name == DEFAULT:
        guarded = Head(bundle, guard=Guard())
        for path in ATTACKED[:3]:
            yield guarded.encode(read_image(path)).to_bytes()


@pytest.mark.parametrize("name", installed())
def test_packets_of_every_bundle(name: str) -> None:
    codec, page, seen = Codec(name), PageDecoder(INSTALLED / name), set()
    for packet in packets(name):
        frame = page.decode(packet)
        check_equal(frame, codec.decode(packet))
        seen.add(frame.coarseness > 0)
    assert seen == {True, False}


@pytest.mark.parametrize("name", [DEFAULT, "efficientnet_lite0-fp-r4"])
def test_escapes_of_shipped_bundles(name: str) -> None:
    """No image reaches an escape; made-up symbols do."""
    codec, page, noise = Codec(name), PageDecoder(INSTALLED / name), Noise(name)
    y = noise.choice([0] * 40 + [1, -1, 2, 90, -3000, 1 << 20, -1 << 20], codec.latent)
    z = noise.integers(-40, 40, codec.hyper) if codec.hyper else None
    packet = codec.encode(z, y, 17, Flags.DENOISED)
    frame = page.decode(packet)
    check_equal(frame, codec.decode(packet))
    assert np.array_equal(frame.y, y)


def test_the_seal_is_not_in_the_order_of_reading() -> None:
    """In a shipped hyperprior bundle the two differ, so that the tests above can tell them apart."""
    page, packet = PageDecoder(INSTALLED / DEFAULT), next(packets(DEFAULT))
    frame = page.decode(packet)
    order = page_decoder.reading_order(page.parameters(frame.z, frame.coarseness)[0])
    assert order != sorted(order)
    assert seal(frame.z, frame.y.ravel()[order]) != seal(frame.z, frame.y)


def test_the_factors_of_the_page() -> None:
    rows = re.findall(r"^\| (\d+) \|((?: \d{5,6} \|){8})$", TEXT, re.MULTILINE)
    assert [int(first) for first, _ in rows] == list(range(0, 64, 8))
    assert [int(f) for _, row in rows for f in row.split("|")[:-1]] == FACTORS
    assert [f / 65536 for f in FACTORS] == factors()


def test_the_examples_of_the_page() -> None:
    example = Table([1 << 23, 1 << 22, 1 << 22], 0)
    stack = Stack(bytes([0, 0, 0, 1]))
    assert (stack.part([0, 0], [example]), stack.x) == ([0, 1], 0)

    rebinned_at_63 = example.rebinned(63)
    assert (rebinned_at_63.counts, rebinned_at_63.offset) == ([(1 << 23) + (1 << 22), 1 << 22], 0)

    data = re.search(r"low half of the CRC-32 of\n`([0-9a-f ]+)`", TEXT)
    assert data is not None
    assert seal([1, -2], [3, 0]) == zlib.crc32(bytes.fromhex(data[1])) & 0xFFFF

    for value, bits in ((6, "0 00 1 01"), (-2, "1 1")):
        assert f"`{bits}`" in TEXT
        stack, written = Stack(b""), iter(int(bit) for bit in bits.replace(" ", ""))
        stack.bit = written.__next__  # type: ignore[method-assign]
        assert stack.escaped(Table([1 << 22] * 4, -1)) == value
        assert list(written) == []
