"""The device's half: image -> packet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.clock import Clock
from runtime.coder import Backend, open_coder
from runtime.defence import Defence, Defender
from runtime.engines import EngineOptions, open_engine
from runtime.errors import BundleError
from runtime.latent import Latent
from runtime.packet import Flags, Packet, symbol_checksum
from runtime.prior import open_prior


@dataclass(frozen=True)
class HeadReport:
    """What the head did with one frame.

    latent: streams, expected bits and likelihood map of what was sent.
    seconds: wall time by stage, in order: preprocess, head, prior, encode; of a defended frame preprocess,
        head, prior, mask, denoise, head_defended, prior_defended, encode, without the first head and prior
        where the mask came from the frames before.
    stream_bits: bits that each stream took in the payload.
    before: of a defended frame the latent that it had before it was denoised: ``before.expected_bits`` is
        what it would have cost. None where nothing was denoised or the mask came from the frames before.
    """

    latent: Latent
    seconds: dict[str, float]
    stream_bits: dict[str, int]
    before: Latent | None = None


class Head:
    """Opens a bundle's device half once, then encodes frames.

    Not thread-safe: ``report`` describes the last frame. Use one Head a thread.

    Args:
        bundle: as ``runtime.bundle.load`` returns it.
        options: engine and threads.
        coder: entropy-coder backend.
        defence: how to denoise every frame before it is sent; None sends frames as they are.
    """

    def __init__(
        self,
        bundle: Bundle,
        options: EngineOptions | None = None,
        coder: Backend = "auto",
        defence: Defence | None = None,
    ):
        options = options or EngineOptions()
        self.bundle = bundle
        self.report: HeadReport | None = None
        self._prepare = bundle.manifest.preprocess
        self._engine = open_engine(bundle.path("head"), options)
        self._prior = open_prior(bundle, options)
        self._coder = open_coder(coder)
        self._energy = _energy(bundle)
        self._defender = Defender(defence, self._prepare.size, options.threads) if defence else None

    def encode(self, image: NDArray[np.uint8]) -> Packet:
        """Encode one frame, uint8 (H, W, 3) of any size (or grey, or RGBA); ``report`` then says how it went.

        Raises ImageError when it is not an image and EngineError when the graph fails.
        """
        clock = Clock()
        prepared = self._prepare(image)
        clock.lap("preprocess")
        if self._defender is None:
            before, latent, flags = None, self._look(prepared, clock), Flags.NONE
        else:
            before, latent = self._defend(self._defender, prepared, clock)
            flags = Flags.DENOISED
        packet, stream_bits = self._pack(latent, flags)
        clock.lap("encode")
        self.report = HeadReport(latent, clock.seconds, stream_bits, before)
        return packet

    def analyse(self, image: NDArray[np.uint8]) -> Latent:
        """The latent of one frame, neither defended nor coded; the same image and errors as ``encode``."""
        return self._latent(self._engine.run(self._prepare(image)))

    def warm_up(self) -> None:
        """Encode a frame of noise, so that the first real one does not pay for compilation and allocation."""
        size = self._prepare.size
        self.encode(np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8))
        self.forget()

    def forget(self) -> None:
        """Forget the frames before, as at a cut; only a defence that reuses masks remembers any."""
        if self._defender is not None:
            self._defender.forget()

    def _look(self, prepared: NDArray[np.float32], clock: Clock, suffix: str = "") -> Latent:
        """One pass of head and prior."""
        outputs = self._engine.run(prepared)
        clock.lap(f"head{suffix}")
        latent = self._latent(outputs)
        clock.lap(f"prior{suffix}")
        return latent

    def _defend(
        self, defender: Defender, prepared: NDArray[np.float32], clock: Clock
    ) -> tuple[Latent | None, Latent]:
        """The latent before denoising, None where the mask did not need it, and the one after it."""
        before = None
        mask = defender.recall_mask()
        if mask is None:
            before = self._look(prepared, clock)
            mask = defender.mask(before)
        clock.lap("mask")
        calm = defender.denoise(prepared, mask)
        clock.lap("denoise")
        latent = self._look(calm, clock, "_defended")
        defender.remember(latent)
        return before, latent

    def _latent(self, outputs: list[NDArray[np.float32]]) -> Latent:
        return Latent(self._prior.code(*outputs), self._energy, self.bundle.manifest.latent)

    def _pack(self, latent: Latent, flags: Flags = Flags.NONE) -> tuple[Packet, dict[str, int]]:
        """Push the streams in reverse: the coder is a stack, and the decoder needs z before y."""
        encoder = self._coder.encoder(symbol_checksum(*(stream.symbols for stream in latent.streams)))
        stream_bits = {}
        for stream in reversed(latent.streams):
            before = encoder.bits
            encoder.push(stream.symbols, stream.index, stream.tables)
            stream_bits[stream.name] = encoder.bits - before
        return Packet(self.bundle.id, flags, encoder.finish()), stream_bits


def _energy(bundle: Bundle) -> NDArray[np.float32]:
    energy = bundle.arrays("prior").get("energy")
    if energy is None or energy.ndim != 3 or len(energy) != bundle.manifest.latent[0]:
        raise BundleError(f"bundle {bundle.manifest.name}: its basis energy does not fit its latent")
    return energy.astype(np.float32)
