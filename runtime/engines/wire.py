"""Fields of a protobuf message, read from its bytes: what is needed of a graph before an engine is there.

A device decodes without the package protobuf, and no parser that builds objects has a bound on their number.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.errors import EngineError

MOST_FIELDS = 1 << 19
"""Fields that are read of one file, those of messages inside included. Shipped graphs have some 10,000."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""


class Reader:
    """Reads messages of one file. Raises EngineError for what is none, and beyond ``MOST_FIELDS``."""

    def __init__(self) -> None:
        self._left = MOST_FIELDS

    def fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """Number and value of each field: an integer below 2**64, or the bytes of a text or a message."""
        at, end = 0, len(data)
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise EngineError(f"not an ONNX file: more than {MOST_FIELDS:,} fields")
            tag = data[at]
            at += 1
            if tag > 127:
                tag, at = _varint(data, at - 1)
            kind = tag & 7
            if kind == BYTES:
                size, at = _varint(data, at)
                value: int | memoryview = data[at : at + size]
                at += size
            elif kind == VARINT:
                value, at = _varint(data, at)
            elif kind in (FIXED32, FIXED64):
                value, at = 0, at + (4 if kind == FIXED32 else 8)
            else:
                raise EngineError("not an ONNX file: a field of an unknown kind")
            if at > end or not 8 <= tag < 1 << 32:
                raise EngineError("not an ONNX file: it ends inside a field, or a field has no number")
            yield tag >> 3, value

    def messages(self, data: memoryview, number: int) -> list[memoryview]:
        """The messages, or texts, in fields of one number."""
        return [v for n, v in self.fields(data) if n == number and isinstance(v, memoryview)]


def integers(value: int | memoryview) -> list[int]:
    """The int64 values of a field that may repeat: one, or many in one field."""
    if isinstance(value, int):
        return [_signed(value)]
    found, at = [], 0
    while at < len(value):
        one, at = _varint(value, at)
        found.append(_signed(one))
    return found


def text(value: int | memoryview) -> str:
    """A text for a comparison or a message."""
    return "" if isinstance(value, int) else bytes(value[:256]).decode("utf-8", "replace")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[at : at + 10]:
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, at
        shift += 7
    raise EngineError("not an ONNX file: an integer has no end")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
