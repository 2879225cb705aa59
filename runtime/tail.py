"""The server's half: packet -> logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.clock import Clock
from runtime.codec.coder import Backend, open_coder
from runtime.codec.packet import Flags, Packet, symbol_checksum
from runtime.engines import EngineOptions, open_engine
from runtime.errors import PacketBundleMismatch
from runtime.prior import open_prior
from runtime.prior.base import Stream

ESCAPED_SYMBOL_BYTES = 9
"""Most bytes of one symbol: 24 bits for an escape, then at most 44 for its sign and Elias-gamma code."""

STREAM_BYTES = 16
"""Seal, state and rounding of a stream, generously."""

READ_ROLES = ("prior", "h_s", "scales")
"""Files of a bundle that decoding needs; the exact h_s of a hyperprior is the only network among them."""


@dataclass(frozen=True)
class TailReport:
    """What the tail did with one packet.

    streams: the decoded symbols, in decoding order.
    flags: what the head did to the frame.
    seconds: wall time by stage, in order: decode, tail (restore included).
    """

    streams: tuple[Stream, ...]
    flags: Flags
    seconds: dict[str, float]


@dataclass(frozen=True)
class Received:
    """A packet that has been read.

    streams: the decoded symbols, in decoding order.
    y_hat: float32 (1, C, H, W), what ``restore`` takes.
    flags: what the head did to the frame.
    coarseness: of the steps of y (``runtime.codec.coarseness``).
    """

    streams: tuple[Stream, ...]
    y_hat: NDArray[np.float32]
    flags: Flags
    coarseness: int


class PacketReader:
    """The tail without its networks: packet -> y_hat. Not thread-safe.

    Args:
        bundle: the very one that encoded; only its files ``READ_ROLES`` are opened.
        options: engine and threads, of the exact h_s.
        coder: entropy-coder backend; any decodes what any other wrote.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions | None = None, coder: Backend = "auto"):
        self.bundle = bundle
        self._prior = open_prior(bundle, options or EngineOptions())
        self._coder = open_coder(coder)
        self._max_payload = max_payload(bundle)

    def read(self, data: bytes) -> Received:
        """Decode the symbols of one packet. Raises a PacketError for anything but a packet of this bundle."""
        packet = Packet.from_bytes(data, self._max_payload)
        if packet.bundle_id != self.bundle.id:
            raise PacketBundleMismatch(
                f"packet of bundle {packet.bundle_id.hex()}, this is {self.bundle.id.hex()} "
                f"({self.bundle.manifest.name}): load the bundle that encoded it"
            )
        decoder = self._coder.decoder(packet.payload)
        decoded = self._prior.read(decoder, packet.coarseness)
        decoder.finish(symbol_checksum(*(stream.symbols for stream in decoded.streams)))
        return Received(decoded.streams, decoded.y_hat, packet.flags, packet.coarseness)


class Tail:
    """Opens a bundle's server half once, then decodes packets.

    Not thread-safe: ``report`` describes the last packet. Use one Tail a thread.

    Args:
        bundle: as ``runtime.bundle.load`` returns it; the very one that encoded.
        options: engine and threads.
        coder: entropy-coder backend; any decodes what any other wrote.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions | None = None, coder: Backend = "auto"):
        options = options or EngineOptions()
        self.bundle = bundle
        self.report: TailReport | None = None
        self._reader = PacketReader(bundle, options, coder)
        self._restore = open_engine(bundle.graph("restore"), options)
        self._tail = open_engine(bundle.graph("tail"), options)

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Decode one packet to logits, float32 (classes,); ``report`` then says how it went.

        Raises a PacketError for anything but a packet of this bundle, before any network runs.
        """
        clock = Clock()
        received = self._reader.read(data)
        clock.lap("decode")
        (features,) = self._restore.run(received.y_hat)
        (logits,) = self._tail.run(features)
        clock.lap("tail")
        self.report = TailReport(received.streams, received.flags, clock.seconds)
        return logits[0]

    def read(self, data: bytes) -> tuple[Stream, ...]:
        """The symbols of one packet, without running a network; the same errors as ``decode``."""
        return self._reader.read(data).streams

    def warm_up(self) -> None:
        """Run each network once, so that the first packet does not pay for allocation."""
        for engine in (self._restore, self._tail):
            engine.warm_up()


def max_payload(bundle: Bundle) -> int:
    """Most bytes of payload that any frame of this bundle can have, hostile ones included."""
    shapes = (bundle.manifest.latent, bundle.manifest.hyper or (0, 0, 0))
    return STREAM_BYTES + ESCAPED_SYMBOL_BYTES * sum(c * h * w for c, h, w in shapes)
