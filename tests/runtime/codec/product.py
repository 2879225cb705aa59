"""The product's codec behind one small seam: all that the tests of the format import of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle, load
from runtime.codec.coarseness import COARSEST, factor
from runtime.codec.coarseness import rebinned as coarser_tables
from runtime.codec.coder import open_coder
from runtime.codec.packet import VERSION, Flags, Packet, symbol_checksum
from runtime.codec.tables import Tables
from runtime.engines import EngineOptions
from runtime.errors import (
    PacketBundleMismatch,
    PacketChecksumError,
    PacketError,
    PacketFormatError,
    PacketSyncError,
    PacketTooLarge,
    PacketTruncated,
)
from runtime.prior import open_prior
from runtime.prior.base import Stream, push_streams
from runtime.prior.exact import IntegerNetwork
from runtime.tail import READ_ROLES, PacketReader

__all__ = ["VERSION", "Codec", "Flags", "Frame", "IntegerNetwork", "factors", "rebinned"]

VERDICTS: dict[type[PacketError], str] = {
    PacketTruncated: "truncated",
    PacketFormatError: "format",
    PacketTooLarge: "too_large",
    PacketChecksumError: "checksum",
    PacketBundleMismatch: "bundle",
    PacketSyncError: "sync",
}
"""The product's errors -> the words of docs/format.md."""


@dataclass(frozen=True)
class Frame:
    """A frame as the product decodes it: int32 z (or None) and y, float32 y_hat, of the bundle's shapes."""

    z: NDArray[np.int32] | None
    y: NDArray[np.int32]
    y_hat: NDArray[np.float32]
    flags: Flags
    coarseness: int


class Codec:
    """Encodes and decodes frames of one bundle without its networks (but the exact h_s)."""

    def __init__(self, folder: str | Path):
        self.bundle: Bundle = load(folder, READ_ROLES)
        self.latent, self.hyper = self.bundle.manifest.latent, self.bundle.manifest.hyper
        self._prior = open_prior(self.bundle, EngineOptions(threads=1))
        self._reader = PacketReader(self.bundle, EngineOptions(threads=1))

    def encode(
        self, z: Any, y: Any, coarseness: int = 0, flags: Flags = Flags.NONE, broken_seal: int = 0
    ) -> bytes:
        """The packet of symbols of the bundle's shapes, |z| at most 127 apart from hostile ones; z is None
        without a hyperprior. ``broken_seal`` is xored with the seal.
        """
        pairs = zip(self._streams(z, coarseness), _given(z, y), strict=True)
        streams = [replace(stream, symbols=_flat(symbols)) for stream, symbols in pairs]
        encoder = open_coder().encoder(symbol_checksum(*(s.symbols for s in streams)) ^ broken_seal)
        push_streams(tuple(streams), encoder)
        return Packet(self.bundle.id, flags, encoder.finish(), coarseness).to_bytes()

    def symbols(self, z: Any, y: NDArray[np.float32], coarseness: int = 0, weight: float = 0) -> Any:
        """Symbols of a float32 y at a z: rounded, or what rate control at lambda ``weight`` makes of them."""
        stream = self._streams(z, coarseness, y)[-1]
        assert stream.values is not None
        chosen = stream.tables.cheapest(stream.values, stream.index, weight) if weight else stream.symbols
        return chosen.reshape(self.latent)

    def decode(self, data: bytes) -> Frame | str:
        """The frame, or the verdict."""
        try:
            received = self._reader.read(data)
        except PacketError as error:
            return VERDICTS[type(error)]
        *z, y = (stream.symbols for stream in received.streams)
        z_symbols = z[0].reshape(self.hyper) if self.hyper else None
        y_hat = received.y_hat[0]
        return Frame(z_symbols, y.reshape(self.latent), y_hat, received.flags, received.coarseness)

    def _streams(self, z: Any, coarseness: int, y: Any = None) -> list[Stream]:
        """The streams with their tables, in the order of reading."""
        values = np.zeros(self.latent, np.float32) if y is None else y
        *side, last = self._prior.code(
            *(np.asarray(a, np.float32)[None] for a in reversed(list(_given(z, values))))
        )
        return [*side, self._prior.coarser(last, coarseness)]


def _given(z: Any, y: Any) -> list[Any]:
    return [y] if z is None else [z, y]


def _flat(symbols: Any) -> NDArray[np.int32]:
    return np.ascontiguousarray(symbols, np.int32).ravel()


def rebinned(counts: list[list[int]], offsets: list[int], c: int) -> list[tuple[list[int], int]]:
    """Counts and offset of coding tables at coarseness c."""
    tables = coarser_tables(Tables(np.concatenate(counts), [len(table) for table in counts], offsets), c)
    ends = np.cumsum(tables.size)[:-1]
    parts = [part.tolist() for part in np.split(tables.counts, ends)]
    return list(zip(parts, tables.offset.tolist(), strict=True))


def factors() -> list[float]:
    """The steps of each coarseness, in those of the bundle."""
    return [float(factor(c)) for c in range(COARSEST + 1)]
