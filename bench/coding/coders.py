"""Entropy coders behind one interface, so that a benchmark treats ours and its peers alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.codec.coder import BACKENDS, open_coder
from runtime.codec.limits import TOTAL
from runtime.codec.tables import SCALES, Tables, scale_index
from runtime.errors import CoderError


@dataclass(frozen=True)
class Part:
    """Symbols (int32[n]) of one stream, their table indices (int32[n]), scales (float32[n]) where known."""

    symbols: NDArray[np.int32]
    index: NDArray[np.int32]
    tables: Tables
    scales: NDArray[np.float32] | None = None


Frame = list[Part]
"""The parts of one packet, in the order in which a decoder reads them."""


class CoderPeer(Protocol):
    """A coder under test."""

    name: str

    def index(self, frame: Frame) -> list[Any]:
        """Table indices of each part, from its scales where it has scales."""

    def encode(self, frame: Frame, index: list[Any]) -> Any:
        """Streams of the frame."""

    def decode(self, data: Any, frame: Frame, index: list[Any]) -> list[NDArray[np.int32]]:
        """Symbols of each part; of ``frame`` only the tables may be used."""

    def size(self, data: Any) -> int:
        """Bytes of what ``encode`` returned, without any header."""


class Ours:
    """One of our backends."""

    def __init__(self, backend: Any) -> None:
        self.coder = open_coder(backend)
        self.name = self.coder.name
        self.size = len

    def index(self, frame: Frame) -> list[NDArray[np.int32]]:
        """See ``CoderPeer``."""
        return [part.index if part.scales is None else scale_index(part.scales) for part in frame]

    def encode(self, frame: Frame, index: list[Any]) -> bytes:
        """See ``CoderPeer``; sealed with 16 bits of checksum, which a packet would compute."""
        encoder = self.coder.encoder(0xFFFF)
        for part, tables_of_symbols in zip(reversed(frame), reversed(index), strict=True):
            encoder.push(part.symbols, tables_of_symbols, part.tables)
        return encoder.finish()

    def decode(self, data: bytes, frame: Frame, index: list[Any]) -> list[NDArray[np.int32]]:
        """See ``CoderPeer``."""
        decoder = self.coder.decoder(data)
        symbols = [decoder.pop(i, part.tables) for part, i in zip(frame, index, strict=True)]
        decoder.finish(0xFFFF)
        return symbols


class CompressAI:
    """CompressAI's ``GaussianConditional.build_indexes`` and its C++ ``ans`` module."""

    name = "compressai"

    def __init__(self, threads: int) -> None:
        import torch
        from compressai import ans
        from compressai.entropy_models import GaussianConditional

        torch.set_num_threads(threads)
        self._torch, self._ans = torch, ans
        self._gaussian = GaussianConditional(SCALES.tolist())
        self._gaussian.update()
        self._lists: dict[int, Any] = {}

    def index(self, frame: Frame) -> list[Any]:
        """See ``CoderPeer``."""
        return [
            part.index
            if part.scales is None
            else self._gaussian.build_indexes(self._torch.from_numpy(part.scales))
            for part in frame
        ]

    def encode(self, frame: Frame, index: list[Any]) -> list[bytes]:
        """See ``CoderPeer``: one string a part."""
        return [
            self._ans.RansEncoder().encode_with_indexes(
                part.symbols.tolist(), i.tolist(), *self._tables(part)
            )
            for part, i in zip(frame, index, strict=True)
        ]

    def decode(self, data: list[bytes], frame: Frame, index: list[Any]) -> list[NDArray[np.int32]]:
        """See ``CoderPeer``."""
        symbols = [
            self._ans.RansDecoder().decode_with_indexes(string, i.tolist(), *self._tables(part))
            for string, part, i in zip(data, frame, index, strict=True)
        ]
        return [self._torch.tensor(values, dtype=self._torch.int32).numpy() for values in symbols]

    def size(self, data: list[bytes]) -> int:
        """See ``CoderPeer``."""
        return sum(map(len, data))

    def _tables(self, part: Part) -> Any:
        """Cumulative counts, their lengths and offsets as the lists that ``ans`` takes; made once."""
        key = id(part.tables)
        if key not in self._lists:
            self._lists[key] = self._own_tables() if part.scales is not None else _sixteen_bits(part.tables)
        return self._lists[key]

    def _own_tables(self) -> tuple[list[list[int]], list[int], list[int]]:
        gaussian = self._gaussian
        return gaussian._quantized_cdf.tolist(), gaussian._cdf_length.tolist(), gaussian._offset.tolist()


def _sixteen_bits(tables: Tables) -> tuple[list[list[int]], list[int], list[int]]:
    """Our tables at CompressAI's precision, rounded by CompressAI; there, too, the escape comes last."""
    from compressai._CXX import pmf_to_quantized_cdf

    cdfs = [
        list(pmf_to_quantized_cdf((counts / TOTAL).tolist(), 16))
        for counts in np.split(tables.counts, tables.start[1:])
    ]
    return cdfs, [len(cdf) for cdf in cdfs], tables.offset.tolist()


def peers(threads: int, tell: Callable[[str], object]) -> list[CoderPeer]:
    """Every coder that is installed, ours first; ``tell`` hears of the others. ``threads`` are torch's."""
    found: list[CoderPeer] = []
    for name in (*BACKENDS, CompressAI.name):
        try:
            found.append(CompressAI(threads) if name == CompressAI.name else Ours(name))
        except (ImportError, CoderError) as error:
            tell(f"{name}: skipped ({error})")
    return found
