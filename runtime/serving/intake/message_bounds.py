"""A protobuf message's fields and bytes, counted before it is parsed.

A field costs two bytes on the wire and a hundred in memory, so a message of a few hundred kilobytes could
hold the loop, and megabytes. Here its length prefixes are followed, one step a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.errors import RequestError

MAX_FIELDS = 512
"""Most fields of a message and of those inside it."""

MAX_BYTES = 1 << 14
"""Most bytes of a message besides its packet."""

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_VARINT = 10

Inside = Mapping[int, Any]
"""By number of a field: the fields of the message that it holds, or None where it holds the packet."""

MODEL_INFER: Inside = {4: {2: {}}, 5: {4: {2: {}}, 5: {4: None, 8: None}}, 6: {2: {2: {}}}, 7: None}
"""``ModelInferRequest``: parameters, inputs (parameters, contents), outputs and raw_input_contents."""


def check(message: bytes, inside: Inside = MODEL_INFER) -> None:
    """Raise RequestError for a message with too many fields, or too many bytes besides its packet."""
    Count(message).fields(0, len(message), inside)


class Count:
    """Counts the fields of one message."""

    def __init__(self, message: bytes):
        self._message, self._fields, self._bytes = message, 0, 0

    def fields(self, place: int, end: int, inside: Inside) -> None:
        """Follow the fields between two places."""
        while place < end:
            begin = place
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise RequestError(f"a message of more than {MAX_FIELDS} fields")
            tag, place = self._varint(place, end)
            number, kind = tag >> 3, tag & 7
            if kind == VARINT:
                _, place = self._varint(place, end)
            elif kind in (FIXED64, FIXED32):
                place += 8 if kind == FIXED64 else 4
            elif kind == LENGTH:
                length, place = self._varint(place, end)
                if place + length > end:
                    raise RequestError("not a ModelInferRequest: it ends in the middle of a field")
                held = inside.get(number, _TEXT)
                if held is None:
                    begin += length
                elif held is not _TEXT:
                    self.fields(place, place + length, held)
                    begin += length
                place += length
            else:
                raise RequestError(f"not a ModelInferRequest: a field of wire type {kind}")
            self._bytes += place - begin
            if self._bytes > MAX_BYTES:
                raise RequestError(f"a message of more than {MAX_BYTES} bytes besides its packet")

    def _varint(self, place: int, end: int) -> tuple[int, int]:
        value = 0
        for step in range(min(MAX_VARINT, end - place)):
            octet = self._message[place + step]
            value |= (octet & 0x7F) << 7 * step
            if octet < 0x80:
                return value, place + step + 1
        raise RequestError("not a ModelInferRequest: a number without an end")


_TEXT: Inside = {-1: None}
"""Stands for a field whose content is no message."""
