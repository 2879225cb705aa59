"""The packets of one bundle, read in every way that this machine has, and the symbols compared."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from rich.progress import Progress

from bench.common.photos import photos
from bench.engines.frames import frames
from bench.engines.priors import priors
from runtime.bundle import Bundle
from runtime.codec.coder import BACKENDS, Coder, open_coder
from runtime.codec.packet import symbol_checksum
from runtime.engines import EngineOptions
from runtime.errors import CoderError, PacketError
from runtime.prior import open_prior
from runtime.prior.base import Prior, Stream, push_streams


@dataclass
class EngineReader:
    """One way to read packets, and how many packets it read wrongly."""

    name: str
    prior: Prior
    coder: Coder
    mismatches: int = 0

    def read(self, payload: bytes, wanted: tuple[Stream, ...]) -> None:
        """Read a payload and compare symbols and indices with those that were written."""
        decoder = self.coder.decoder(payload)
        try:
            streams = self.prior.read(decoder).streams
            decoder.finish(symbol_checksum(*(stream.symbols for stream in streams)))
        except PacketError:
            self.mismatches += 1
            return
        self.mismatches += any(
            not (np.array_equal(a.symbols, b.symbols) and np.array_equal(a.index, b.index))
            for a, b in zip(streams, wanted, strict=True)
        )


@dataclass
class EngineComparison:
    """The frames of one bundle, and who read them. skipped: by engine, why it is not on this machine."""

    bundle: Bundle
    readers: list[EngineReader]
    skipped: dict[str, str]
    kinds: Counter[str] = field(default_factory=Counter)
    bytes: int = 0


def open_readers(bundle: Bundle) -> tuple[list[EngineReader], dict[str, str]]:
    """Every way to read packets of this bundle on this machine, and the engines that are missing."""
    found, skipped = priors(bundle)
    coder = open_coder()
    readers = [EngineReader(name, prior, coder) for name, prior in found.items()]
    name, prior = next(iter(found.items()))
    for backend in set(BACKENDS) - {coder.name}:
        with suppress(CoderError):
            readers.append(EngineReader(f"{name}, coder {backend}", prior, open_coder(backend)))
    return readers, skipped


def compare(bundle: Bundle, count: int, seed: int, progress: Progress) -> EngineComparison:
    """Encode ``count`` frames once each, and read them in every way."""
    comparison = EngineComparison(bundle, *open_readers(bundle))
    prior, coder = open_prior(bundle, EngineOptions(threads=1)), open_coder()
    photographs = [image for _, image in photos()]
    task = progress.add_task(bundle.manifest.name, total=count)
    for kind, latents in islice(frames(bundle, photographs, seed), count):
        streams = prior.code(*latents)
        payload = encode(streams, coder)
        for reader in comparison.readers:
            reader.read(payload, streams)
        comparison.kinds[kind] += 1
        comparison.bytes += len(payload)
        progress.advance(task)
    return comparison


def encode(streams: tuple[Stream, ...], coder: Coder) -> bytes:
    """A packet's payload."""
    encoder = coder.encoder(symbol_checksum(*(stream.symbols for stream in streams)))
    push_streams(streams, encoder)
    return encoder.finish()
