"""Priors (entropy models): which table codes which symbol, and what the decoded symbols mean.

    FactorizedPrior   one table a channel                    y_sym = round(y)         y_hat = y_sym
    Hyperprior        z, whose exact h_s gives table, mean   y_sym = round(y - mean)  y_hat = y_sym + mean

in steps of the bundle, or in coarser ones (``runtime.coarseness``). Quantisation happens here and not in a
graph. Everything between z_hat and (table, mean) is integer-valued, so that encoder and decoder agree on
every machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.coarseness import factor, rebinned, rungs
from runtime.coder import Decoder, Encoder
from runtime.engines import EngineOptions
from runtime.errors import BundleError, CoderError, EngineError, PacketSyncError
from runtime.steps import LATENT_LIMIT
from runtime.synthesis import Synthesis, open_synthesis
from runtime.tables import Tables

_NAN = "the head returned NaN: the graph or its input is damaged"

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Stream:
    """One part of a packet: int32[n] symbols and the table that codes each of them.

    values: float32[n], what the symbols of y were rounded from, its mean taken off, in the steps that they
        count; None where the symbols were decoded, and for z, which is only ever rounded.
    coarseness: of these steps (``runtime.coarseness``); 0 for z.
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


def push_streams(streams: tuple[Stream, ...], encoder: Encoder) -> dict[str, int]:
    """Give an encoder the streams that ``Prior.read`` will take; the bits that each of them took.

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

    def read(self, decoder: Decoder, coarseness: int = 0) -> tuple[tuple[Stream, ...], NDArray[np.float32]]:
        """Take all streams from a decoder, y in steps of this coarseness: the streams, and y_hat in those of
        the bundle, float32 (1, C, H, W).

        Raises PacketSyncError for symbols that no encoder writes.
        """


def open_prior(bundle: Bundle, options: EngineOptions) -> Prior:
    """The prior that a bundle's manifest names. Raises BundleError when its parts do not fit together."""
    manifest, arrays = bundle.manifest, bundle.arrays("prior")
    try:
        tables = Tables.from_arrays(arrays)
        if manifest.prior == "fp":
            return FactorizedPrior(tables, manifest.latent)
        if manifest.prior == "mshp" and manifest.hyper is not None:
            scales, h_s = Tables.from_arrays(bundle.arrays("scales")), open_synthesis(bundle, options)
            return Hyperprior(tables, scales, h_s, manifest.latent, manifest.hyper)
    except CoderError as error:
        raise BundleError(f"bundle {manifest.name}: {error}") from error
    raise BundleError(f"bundle {manifest.name}: unknown prior {manifest.prior!r}")


class FactorizedPrior:
    """One static table a channel. Means are zero: the transform has centred its latents."""

    def __init__(self, tables: Tables, latent: Shape):
        _check_tables(tables, latent[0])
        self._shape = latent
        self._index = _channel_index(latent)
        self._tables_at = lru_cache(maxsize=None)(partial(rebinned, tables))

    def code(self, *latents: NDArray[np.float32]) -> tuple[Stream, ...]:
        """See ``Prior.code``."""
        (y,) = latents
        values = _checked(y, self._shape).ravel()
        return (Stream("y", _round(values), self._index, self._tables_at(0), values),)

    def coarser(self, y: Stream, coarseness: int) -> Stream:
        """See ``Prior.coarser``."""
        return _rounded_at(coarseness, replace(y, tables=self._tables_at(coarseness)))

    def read(self, decoder: Decoder, coarseness: int = 0) -> tuple[tuple[Stream, ...], NDArray[np.float32]]:
        """See ``Prior.read``."""
        tables = self._tables_at(coarseness)
        symbols = decoder.pop(self._index, tables)
        y_hat = (symbols * factor(coarseness)).astype(np.float32).reshape(1, *self._shape)
        return (Stream("y", symbols, self._index, tables, coarseness=coarseness),), y_hat


class Hyperprior:
    """Mean-scale hyperprior with an exact h_s."""

    def __init__(self, z_tables: Tables, scales: Tables, h_s: Synthesis, latent: Shape, hyper: Shape):
        _check_tables(z_tables, hyper[0])
        self._z_tables, self._scales, self._h_s = z_tables, scales, h_s
        self._latent, self._hyper = latent, hyper
        self._z_index = _channel_index(hyper)

    def code(self, *latents: NDArray[np.float32]) -> tuple[Stream, ...]:
        """See ``Prior.code``."""
        from runtime import rounding  # Numba, half a second to import: only for who has a frame

        y, z = latents
        _check_shape(y, self._latent)
        z_symbols = _round(_checked(z, self._hyper))
        parameters = self._h_s(z_symbols)
        values, symbols = np.empty(y.size, dtype=np.float32), np.empty(y.size, dtype=np.int32)
        if not rounding.rounded(y.ravel(), parameters, values, symbols):
            raise EngineError(_NAN)
        index = self._tables_of(parameters)
        return (self._z_stream(z_symbols.ravel()), Stream("y", symbols, index, self._scales, values))

    def coarser(self, y: Stream, coarseness: int) -> Stream:
        """See ``Prior.coarser``."""
        return _rounded_at(coarseness, replace(y, index=_below(y.index, coarseness)))

    def read(self, decoder: Decoder, coarseness: int = 0) -> tuple[tuple[Stream, ...], NDArray[np.float32]]:
        """See ``Prior.read``."""
        from runtime import rounding

        z_symbols = decoder.pop(self._z_index, self._z_tables)
        if np.abs(z_symbols).max(initial=0) > LATENT_LIMIT:
            raise PacketSyncError("a symbol of z is larger than any encoder writes")
        parameters = self._h_s(z_symbols.reshape(self._hyper))
        index = _below(self._tables_of(parameters), coarseness)
        symbols = decoder.pop(index, self._scales)
        y_hat = np.empty((1, *self._latent), dtype=np.float32)
        rounding.restored(symbols, factor(coarseness), parameters, y_hat.reshape(-1))
        y = Stream("y", symbols, index, self._scales, coarseness=coarseness)
        return (self._z_stream(z_symbols), y), y_hat

    def _tables_of(self, parameters: NDArray[np.float32]) -> NDArray[np.int32]:
        """Table of each symbol of y, int32[n]."""
        from runtime import rounding

        index = np.empty(parameters.size // 2, dtype=np.int32)
        rounding.tables_of(parameters, len(self._scales), index)
        return index

    def _z_stream(self, symbols: NDArray[np.int32]) -> Stream:
        return Stream("z", symbols, self._z_index, self._z_tables)


def _round(values: NDArray[np.float32]) -> NDArray[np.int32]:
    return np.rint(values).astype(np.int32)


def _rounded_at(coarseness: int, y: Stream) -> Stream:
    assert y.values is not None and y.coarseness == 0, "only what was coded in the bundle's steps"
    if coarseness == 0:
        return y
    values = y.values / factor(coarseness)
    return replace(y, symbols=_round(values), values=values, coarseness=coarseness)


def _below(index: NDArray[np.int32], coarseness: int) -> NDArray[np.int32]:
    """The table of each scale in steps of this coarseness."""
    if coarseness == 0:
        return index
    lower: NDArray[np.int32] = np.maximum(index - np.int32(rungs(coarseness)), 0)
    return lower


def _checked(latent: NDArray[np.float32], shape: Shape) -> NDArray[np.float32]:
    """The latent (C, H, W), clipped. Raises EngineError when it has another shape or is not a number."""
    _check_shape(latent, shape)
    clipped: NDArray[np.float32] = np.clip(latent[0], -LATENT_LIMIT, LATENT_LIMIT)
    if np.isnan(clipped.sum()):  # one pass without a temporary: only a NaN survives the clipping
        raise EngineError(_NAN)
    return clipped


def _check_shape(latent: NDArray[np.float32], shape: Shape) -> None:
    if latent.shape != (1, *shape):
        raise EngineError(f"the head returned {latent.shape}; the manifest says {(1, *shape)}")


def _channel_index(shape: Shape) -> NDArray[np.int32]:
    """Table of each symbol when each channel has its own, int32[C H W]."""
    channels, height, width = shape
    return np.repeat(np.arange(channels, dtype=np.int32), height * width)


def _check_tables(tables: Tables, channels: int) -> None:
    if len(tables) != channels:
        raise BundleError(f"{len(tables)} tables for {channels} channels")
