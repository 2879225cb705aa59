"""What every prior (entropy model) does, and what its streams are.

Quantisation happens here and not in a graph. Everything between z_hat and (table, mean) is integer-valued, so
encoder and decoder agree on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.codec.coarseness import factor
from runtime.codec.coder import Decoder, Encoder
from runtime.codec.limits import LATENT_LIMIT
from runtime.codec.tables import Tables
from runtime.errors import BundleError, EngineError

NAN = "the head returned NaN: the graph or its input is damaged"

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Stream:
    """One part of a packet: int32[n] symbols and the table that codes each of them.

    values: float32[n], (y - mean) / steps, which the symbols of y are rounded from; None where the symbols
        were decoded, and for z, which is only ever rounded.
    coarseness: of these steps (``runtime.codec.coarseness``); 0 for z.
    """

    name: str
    symbols: NDArray[np.int32]
    index: NDArray[np.int32]
    tables: Tables
    values: NDArray[np.float32] | None = None
    coarseness: int = 0

    def information_bits(self) -> NDArray[np.float32]:
        """Exact cost of each symbol in bits, float32[n]."""
        return self.tables.information_bits(self.symbols, self.index)

    def total_bits(self, runs: int = 1) -> NDArray[np.float32]:
        """Cost of each of so many equal runs of symbols in bits, float32[runs]."""
        return self.tables.total_bits(self.symbols, self.index, runs)


@dataclass(frozen=True)
class Decoded:
    """What a prior reads from a packet.

    streams: the symbols, in decoding order.
    y_hat: float32 (1, C, H, W), y as the server sees it, in the bundle's own steps.
    """

    streams: tuple[Stream, ...]
    y_hat: NDArray[np.float32]


def push_streams(streams: tuple[Stream, ...], encoder: Encoder) -> dict[str, int]:
    """Give an encoder the streams that ``Prior.read`` will take; returns the bits of each by name.

    In reverse: the coder is a stack, and the decoder needs z before y.
    """
    bits = {}
    for stream in reversed(streams):
        before = encoder.bits
        encoder.push(stream.symbols, stream.index, stream.tables)
        bits[stream.name] = encoder.bits - before
    return bits


class Prior(Protocol):
    """What encoder and decoder share."""

    def code(self, *latents: NDArray[np.float32]) -> tuple[Stream, ...]:
        """The head's outputs (y, and z with a hyperprior), float32 (1, C, H, W) -> streams in decoding order.

        Raises EngineError when the head returned something that is not a number.
        """

    def coarser(self, y: Stream, coarseness: int) -> Stream:
        """The y that ``code`` returned, rounded in steps of this coarseness; as it is at 0."""

    def read(self, decoder: Decoder, coarseness: int = 0) -> Decoded:
        """Take all streams from a decoder; its y is in steps of this coarseness.

        Raises PacketSyncError for symbols that no encoder writes.
        """


def nearest(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """The whole numbers nearest to values, ties to even."""
    return np.rint(values).astype(np.int32)


def rounded_at(coarseness: int, y: Stream) -> Stream:
    """The stream in steps of this coarseness; ``y`` must be in the bundle's own."""
    assert y.values is not None and y.coarseness == 0, "only what was coded in the bundle's steps"
    if coarseness == 0:
        return y
    values = y.values / factor(coarseness)
    return replace(y, symbols=nearest(values), values=values, coarseness=coarseness)


def checked(latent: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """The latent (C, H, W), clipped. Raises EngineError when it has another shape or is not a number."""
    check_shape(latent, shape)
    clipped: NDArray[np.float32] = np.clip(latent[0], -LATENT_LIMIT, LATENT_LIMIT)
    if np.isnan(clipped.sum()):  # one pass without a temporary: only a NaN survives the clipping
        raise EngineError(NAN)
    return clipped


def check_shape(latent: NDArray[np.float32], shape: Shape) -> None:
    """Raise EngineError unless a head's output is (1, *shape)."""
    if latent.shape != (1, *shape):
        raise EngineError(f"the head returned {latent.shape}; the manifest says {(1, *shape)}")


def channel_index(shape: Shape) -> NDArray[np.int32]:
    """Table of each symbol when each channel has its own, int32[C H W]."""
    channels, height, width = shape
    return np.repeat(np.arange(channels, dtype=np.int32), height * width)


def check_tables(tables: Tables, channels: int) -> None:
    """Raise BundleError unless there is one table a channel."""
    if len(tables) != channels:
        raise BundleError(f"{len(tables)} tables for {channels} channels")
