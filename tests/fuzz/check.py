"""What must hold for any bytes at all: two decoders agree, and a packet that is taken is the only one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime.bundle import load
from runtime.codec.coarseness import COARSEST
from runtime.codec.coder import open_coder
from runtime.codec.packet import Flags, Packet, symbol_checksum
from runtime.engines import EngineOptions
from runtime.errors import PacketError
from runtime.head import Head
from runtime.prior import open_prior
from runtime.prior.base import Stream
from runtime.tail import Tail, max_payload
from tests.tiny_bundle import tiny_images


class Checks:
    """Tails of some bundles, each with either backend."""

    def __init__(self, bundles: list[Path]):
        self._bundles = [load(path) for path in bundles]
        self._tails = [
            (Tail(bundle, coder="constriction"), Tail(bundle, coder="numba")) for bundle in self._bundles
        ]
        self._priors = {bundle.id: open_prior(bundle, EngineOptions(threads=1)) for bundle in self._bundles}
        self._most = max(max_payload(bundle) for bundle in self._bundles)

    def examples(self) -> dict[str, bytes]:
        """Packets of photographs and of noise, and some that are none."""
        found = {"empty": b"", "header": Packet(self._bundles[0].id, Flags.NONE, b"").to_bytes()}
        noise = np.random.default_rng(0).integers(0, 256, (2, 48, 40, 3), dtype=np.uint8)
        for number, bundle in enumerate(self._bundles):
            head = Head(bundle)
            for name, image in zip("abcd", [*tiny_images(2), *noise], strict=True):
                found[f"{number}{name}"] = head.encode(image).to_bytes()
        return found

    def payload(self, data: bytes) -> bytes:
        """What a mutation that seals may change: the payload of a packet, or else all of it."""
        try:
            return Packet.from_bytes(data, self._most).payload
        except PacketError:
            return data

    def sealed(self, payload: bytes, seed: int) -> bytes:
        """A packet of one of the bundles with this payload."""
        flags, coarseness = Flags(seed // 2 % 4), seed // 8 % (COARSEST + 1)
        return Packet(self._bundles[seed % len(self._bundles)].id, flags, payload, coarseness).to_bytes()

    def coded(self, data: bytes, seed: int) -> bytes:
        """A packet of whatever symbols these bytes make, up to the largest: its seal is right."""
        bundle = self._bundles[seed % len(self._bundles)]
        shapes = [shape for shape in (bundle.manifest.latent, bundle.manifest.hyper) if shape]
        sizes = [int(np.prod(shape)) for shape in shapes]
        values = np.resize(np.frombuffer(data + b"\0", np.int8), sum(sizes)) * 2.0 ** (seed // 2 % 10)
        latents = np.split(values.astype(np.float32), np.cumsum(sizes)[:-1])
        prior, coarseness = self._priors[bundle.id], seed // 8 % (COARSEST + 1)
        *side, y = prior.code(
            *(latent.reshape(1, *shape) for latent, shape in zip(latents, shapes, strict=True))
        )
        streams = (*side, prior.coarser(y, coarseness))
        return Packet(bundle.id, Flags.NONE, _payload(streams), coarseness).to_bytes()

    def check(self, data: bytes) -> None:
        """Raises AssertionError, or whatever should not be raised."""
        for one, other in self._tails:
            symbols = [_symbols(tail, data) for tail in (one, other)]
            if symbols[0] is None or symbols[1] is None:
                assert symbols[0] is symbols[1], "one backend takes what the other refuses"
                continue
            for first, second in zip(*symbols, strict=True):
                np.testing.assert_array_equal(first, second)
            _check_unique(one, data)


def _symbols(tail: Tail, data: bytes) -> list[np.ndarray] | None:
    try:
        return [stream.symbols for stream in tail.read(data)]
    except PacketError:
        return None


def _check_unique(tail: Tail, data: bytes) -> None:
    """What was decoded, coded again, is the same bytes; and the networks take it."""
    packet = Packet.from_bytes(data, max_payload(tail.bundle))
    again = replace(packet, payload=_payload(tail.read(data))).to_bytes()
    assert again == data, "not the only packet"
    assert np.isfinite(tail.decode(data)).all()


def _payload(streams: tuple[Stream, ...]) -> bytes:
    encoder = open_coder("numba").encoder(symbol_checksum(*(stream.symbols for stream in streams)))
    for stream in reversed(streams):
        encoder.push(stream.symbols, stream.index, stream.tables)
    return encoder.finish()
