"""The bytes of one frame on the wire: a header, the coded symbols, a CRC-32.

docs/format.md describes every field. Nothing is allocated before the declared length has been checked.
The checksum of the symbols is not a field: it is the seal of the coder's stack (``runtime.codec.coder``).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codec.coarseness import COARSEST
from runtime.errors import PacketChecksumError, PacketFormatError, PacketTooLarge, PacketTruncated

MAGIC = b"RH"
VERSION = 2
BUNDLE_ID_BYTES = 8
MAX_LENGTH_BYTES = 4
MAX_PAYLOAD = (1 << 7 * MAX_LENGTH_BYTES) - 1
"""Most bytes that the length field can declare."""

_FIXED = struct.Struct(f"<2sB{BUNDLE_ID_BYTES}sB")
_CRC = struct.Struct("<I")

MAX_OVERHEAD = _FIXED.size + MAX_LENGTH_BYTES + _CRC.size
MIN_PACKET = _FIXED.size + 1 + _CRC.size


class Flags(IntFlag):
    """What was done to the frame before it was coded; the two low bits of their byte."""

    NONE = 0
    DENOISED = 1
    RATE_CONTROLLED = 2


_FLAG_BITS = 2
_FLAGS = (1 << _FLAG_BITS) - 1


@dataclass(frozen=True)
class Packet:
    """One frame on the wire.

    Attributes:
        bundle_id: first 8 bytes of the SHA-256 of the manifest of the bundle that made the frame.
        flags: what was done to the frame.
        payload: the stream of ``runtime.codec.coder``, sealed with ``symbol_checksum``; at most 2**28 - 1
            bytes.
        coarseness: of the steps that y counts (``runtime.codec.coarseness``), 0 to 63.
    """

    bundle_id: bytes
    flags: Flags
    payload: bytes
    coarseness: int = 0

    @property
    def size(self) -> int:
        """Bytes of the packet as it is sent, header and CRC included."""
        return MIN_PACKET - 1 + len(_varint(len(self.payload))) + len(self.payload)

    def to_bytes(self) -> bytes:
        """The packet as it is sent: ``len(payload)`` + 17 to 20 bytes.

        Raises:
            PacketError: a field does not fit its place on the wire.
        """
        if len(self.bundle_id) != BUNDLE_ID_BYTES:
            raise PacketFormatError(f"a bundle id has {BUNDLE_ID_BYTES} bytes, not {len(self.bundle_id)}")
        if not 0 <= int(self.flags) <= _FLAGS:
            raise PacketFormatError(f"there are no such flags: {int(self.flags):#04x}")
        if not 0 <= self.coarseness <= COARSEST:
            raise PacketFormatError(f"a coarseness is 0 to {COARSEST}, not {self.coarseness}")
        if len(self.payload) > MAX_PAYLOAD:
            raise PacketTooLarge(f"a payload has at most {MAX_PAYLOAD} bytes, not {len(self.payload)}")
        head = _FIXED.pack(MAGIC, VERSION, self.bundle_id, self.flags | self.coarseness << _FLAG_BITS)
        body = head + _varint(len(self.payload)) + self.payload
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, data: bytes, max_payload: int) -> Packet:
        """Read a packet and check everything that can be checked without its bundle.

        Args:
            data: exactly one packet; anything at all may be in it.
            max_payload: most payload bytes that the receiver is ready to take.

        Raises:
            PacketTruncated, PacketFormatError, PacketTooLarge, PacketChecksumError: in this order, whichever
                check fails first; a wrong CRC-32 is reported only for a packet that is otherwise well formed.
        """
        if len(data) < MIN_PACKET:
            raise PacketTruncated(f"{len(data)} bytes: a packet has at least {MIN_PACKET}")
        magic, version, bundle_id, done = _FIXED.unpack_from(data)
        if magic != MAGIC:
            raise PacketFormatError(f"begins with {bytes(magic)!r}, not {MAGIC!r}: not a ratehold packet")
        if version != VERSION:
            raise PacketFormatError(f"format version {version}; this release reads version {VERSION}")
        length, start = _read_varint(data, _FIXED.size)
        if length > max_payload:
            raise PacketTooLarge(f"{length} payload bytes declared, at most {max_payload} accepted")
        end = start + length
        _check_size(len(data), end + _CRC.size)
        if _CRC.unpack_from(data, end)[0] != zlib.crc32(memoryview(data)[:end]):
            raise PacketChecksumError("CRC-32 does not match: the packet was damaged on the way")
        return cls(bytes(bundle_id), Flags(done & _FLAGS), bytes(data[start:end]), done >> _FLAG_BITS)


def symbol_checksum(*symbols: NDArray[Any]) -> int:
    """Low 16 bits of the CRC-32 of all symbols, array after array, as little-endian int32.

    It seals the stream that codes them (``Encoder`` and ``Decoder.finish`` of ``runtime.codec.coder``).
    """
    crc = 0
    for array in symbols:
        crc = zlib.crc32(np.ascontiguousarray(array, dtype="<i4").data, crc)
    return crc & 0xFFFF


def _varint(value: int) -> bytes:
    """Canonical LEB128: seven bits a byte, lowest first, the high bit says that more follow."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    """Value at ``start``, and the place after it. ``data`` is known to be longer than any varint here."""
    value = 0
    for i in range(MAX_LENGTH_BYTES):
        byte = data[start + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if byte == 0 and i:
                raise PacketFormatError("payload length is not in its shortest form")
            return value, start + i + 1
    raise PacketFormatError(f"payload length takes more than {MAX_LENGTH_BYTES} bytes")


def _check_size(actual: int, declared: int) -> None:
    if actual < declared:
        raise PacketTruncated(f"{actual} bytes of {declared}: {declared - actual} are missing")
    if actual > declared:
        raise PacketFormatError(f"{actual - declared} bytes follow the end of the packet")
