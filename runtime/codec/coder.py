"""Entropy coder: one stack of bits that all parts of a packet share.

rANS with 24-bit probabilities, 32-bit words and a 64-bit state (Duda et al., Picture Coding Symposium 2015).
Two backends write the same bytes, bit for bit: ``constriction``, the reference, and ``numba``, which runs
where constriction has no wheel (Linux on ARM). docs/format.md defines the stream.

**The coder is a stack: what was pushed last is popped first.** Push the parts of a packet in the reverse of
the order in which the decoder needs them; inside one ``push`` the symbols keep their order.

    seal = symbol_checksum(z, y)
    encoder = open_coder().encoder(seal)
    encoder.push(y, y_index, y_tables)       # needs z to be decoded, so z goes on top
    encoder.push(z, z_index, z_tables)
    decoder = open_coder().decoder(encoder.finish())
    z = decoder.pop(z_index, z_tables)
    y = decoder.pop(y_index, y_tables)
    decoder.finish(symbol_checksum(z, y))

The *seal*, a 16-bit number, lies at the bottom of the stack. Coding on an empty stack
wastes about 17 bits, since its first entry takes 24 whatever its probability; a checksum of the symbols that
lies there instead of in the header costs nothing (measured: 0.1 bits).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.codec.stream import checked_seal
from runtime.codec.tables import Tables
from runtime.errors import CoderError

Backend = Literal["auto", "numba", "constriction"]
BACKENDS: tuple[Literal["numba", "constriction"], ...] = ("numba", "constriction")
"""Fastest first: the order in which ``auto`` looks for an installed one."""


class Encoder(Protocol):
    """Writes one stream."""

    @property
    def bits(self) -> int:
        """Bits on the stack so far; differences of it attribute the size to the parts pushed."""

    def push(self, symbols: NDArray[Any], index: NDArray[Any], tables: Tables) -> None:
        """Put symbols on top of the stack.

        Args:
            symbols: int32[n], |symbol| <= 2**20; any such symbol can be coded by any table.
            index: int32[n] or uint16[n], table of each symbol, 0 .. len(tables) - 1.

        Raises:
            CoderError: a shape, a symbol or an index is not as above; the stack is then unchanged.
        """

    def finish(self) -> bytes:
        """The stream: ``ceil(bits / 8)`` bytes."""


class Decoder(Protocol):
    """Reads one stream. No bytes make it crash, hang, or take more memory than what it is asked to return."""

    def pop(self, index: NDArray[Any], tables: Tables) -> NDArray[np.int32]:
        """Take the part on top of the stack: int32[n] symbols, given the ``index`` (n) that pushed them.

        Raises:
            CoderError: ``index`` has a table that ``tables`` has not.
            PacketSyncError: an escape that no encoder writes.
        """

    def finish(self, seal: int = 0) -> None:
        """Raise PacketSyncError unless exactly ``seal`` is left: nothing lost, nothing left over."""


@dataclass(frozen=True)
class Coder:
    """Makes encoders and decoders of one backend, which is a module with these two classes."""

    name: str
    _encoder: Callable[[int], Encoder]
    _decoder: Callable[[bytes], Decoder]

    def encoder(self, seal: int = 0) -> Encoder:
        """A new stack with nothing on it but ``seal``, 0 .. 65535 (CoderError otherwise)."""
        return self._encoder(checked_seal(seal))

    def decoder(self, data: bytes) -> Decoder:
        """A stack as ``Encoder.finish`` left it. Raises PacketSyncError for a last byte of zero."""
        return self._decoder(data)


def open_coder(backend: Backend = "auto") -> Coder:
    """Coder of one backend; ``auto`` takes the faster one installed: numba, or else constriction.

    Raises:
        CoderError: the backend is unknown or not installed; the message says how to install it.
    """
    if backend == "auto":
        for name in BACKENDS:
            with suppress(CoderError):
                return open_coder(name)
        raise CoderError("no coder backend is installed: pip install numba")
    if backend not in BACKENDS:
        raise CoderError(f"unknown coder backend {backend!r}: use auto, {' or '.join(BACKENDS)}")
    try:
        module = import_module(f"runtime.codec.{backend}_backend")
    except ImportError as error:
        raise CoderError(f"coder backend {backend} cannot be imported: pip install {backend}") from error
    except RuntimeError as error:  # Numba finds no folder that it may write its compiled code to
        raise CoderError(f"{error}: set NUMBA_CACHE_DIR to a folder that can be written to") from error
    return Coder(backend, module.Encoder, module.Decoder)
