"""The body of an HTTP request, parsed in bounded time; and the body of its answer.

A request has at most ``MAX_JSON`` bytes of JSON besides the numbers of its input. Those numbers are cut out
before the JSON is parsed, and read in pieces: the event loop never waits longer than for one piece.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from runtime.errors import RequestError
from runtime.serving.protocol import (
    INPUT,
    OUTPUTS,
    TOP_K,
    VERSION,
    Answer,
    Request,
    element,
    tensors,
    whole,
)

MAX_JSON = 1 << 14
"""Most bytes of JSON besides the numbers of a UINT8 tensor."""

PIECE = 1 << 14
"""Bytes of numbers that are read at a time."""

MOST_KEYS = 16
"""Places of "data" that are looked at."""

_DATA = re.compile(rb'"data"\s{0,99}:\s{0,99}(?=\[)')
_IN_NUMBERS = np.zeros(256, bool)
_IN_NUMBERS[list(b"0123456789, \t\r\n[]")] = True


async def parsed(body: bytes, json_length: int | None, model: str) -> HttpRequest:
    """The request in a body; between pieces of its numbers others have their turn. Raises RequestError."""
    text, numbers = without_numbers(body) if json_length is None else (body, None)
    if numbers is None:
        return HttpRequest(text, json_length, model)
    found = bytearray()
    for octets in octets_of(numbers):
        found += octets
        await asyncio.sleep(0)
    return HttpRequest(text, json_length, model, bytes(found))


def without_numbers(text: bytes) -> tuple[bytes, bytes | None]:
    """Long JSON with ``null`` in place of the list after "data", and that list; short JSON as it is.

    A text in which the key stands elsewhere is no request, and is told so afterwards.
    """
    if len(text) <= MAX_JSON:
        return text, None
    place = -1
    for _ in range(MOST_KEYS):
        place = text.find(b'"data"', place + 1)
        key = _DATA.match(text, place) if place >= 0 else None
        if key is not None and text[place - 1 : place] != b"\\":
            numbers = text[key.end() : _end_of_numbers(text, key.end())].rstrip(b", \t\r\n")
            return text[: key.end()] + b"null" + text[key.end() + len(numbers) :], numbers
        if place < 0:
            break
    return text, None


def _end_of_numbers(text: bytes, begin: int) -> int:
    """Where something follows that a list of numbers does not hold."""
    for place in range(begin, len(text), PIECE):
        piece = np.frombuffer(text, np.uint8, min(PIECE, len(text) - place), place)
        inside = _IN_NUMBERS[piece]
        if not inside.all():
            return place + int(inside.argmin())
    return len(text)


def octets_of(numbers: bytes) -> Iterator[bytes]:
    """The octets of a JSON list of 0 .. 255, in pieces; lists around the whole of it do not matter.

    Raises RequestError for anything else.
    """
    rest = numbers.lstrip(b"[ \t\r\n")
    inside = rest.rstrip(b"] \t\r\n")
    head, tail = numbers[: len(numbers) - len(rest)], rest[len(inside) :]
    if head.count(b"[") != tail.count(b"]"):
        raise RequestError(f"{INPUT}: data is not one list")
    place = 0
    while place < len(inside):
        end = inside.rfind(b",", place, place + PIECE) if place + PIECE < len(inside) else len(inside)
        if end <= place:
            raise RequestError(f"{INPUT}: data of UINT8 is a list of 0 .. 255")
        yield _octets(_list(_parse(b"[" + inside[place:end] + b"]"), "data"))
        place = end + 1


class HttpRequest:
    """A parsed request. Raises RequestError for anything else.

    Args:
        body: all of it, or what ``without_numbers`` left of it.
        json_length: bytes of JSON at its start; None: all of it.
        model: model name.
        octets: what had been in the place of ``"data": null``.

    Attributes:
        request: the form that both transports share.
        binary: outputs that the client wants as raw bytes.
    """

    def __init__(self, body: bytes, json_length: int | None, model: str, octets: bytes | None = None):
        length = len(body) if json_length is None else json_length
        if not 0 < length <= len(body):
            raise RequestError(f"{length} bytes of JSON announced, {len(body)} received")
        if length > MAX_JSON:
            raise RequestError(f"{length} bytes of JSON besides the data; at most {MAX_JSON}")
        header = _mapping(_parse(body[:length]), "the request")
        parameters = _optional(header, "parameters")
        outputs = [_mapping(entry, "an output") for entry in _list(header.get("outputs") or [], "outputs")]
        top_k, wanted = parameters.get("top_k", TOP_K), tuple(str(entry.get("name")) for entry in outputs)
        packet = _packet(header, body[length:], octets)
        self.request = Request(model, _identity(header.get("id")), packet, whole(top_k, "top_k"), wanted)
        default = parameters.get("binary_data_output", False) is True
        self.binary = {name for name in OUTPUTS if default and not wanted}
        for name, entry in zip(wanted, outputs, strict=True):
            if _optional(entry, "parameters").get("binary_data", default) is True:
                self.binary.add(name)

    def response(self, answer: Answer) -> tuple[bytes, int | None]:
        """The body of the answer, and the bytes of JSON at its start; None where all of it is JSON."""
        outputs, raw = [], b""
        for name, tensor in tensors(answer, self.request).items():
            entry: dict[str, Any] = {"name": name, "datatype": OUTPUTS[name], "shape": list(tensor.shape)}
            if name in self.binary:
                entry["parameters"] = {"binary_data_size": tensor.nbytes}
                raw += tensor.tobytes()
            else:
                entry["data"] = tensor.tolist()
            outputs.append(entry)
        header = {"model_name": self.request.model, "model_version": VERSION, "outputs": outputs}
        if self.request.identity:
            header["id"] = self.request.identity
        text = json.dumps(header, allow_nan=False).encode()
        return text + raw, len(text) if self.binary else None


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"not JSON: {error}") from error


def _identity(value: Any) -> str:
    """An id; a whole number counts as its digits."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise RequestError("id must be a string")
    return str(value) if not isinstance(value, int) or abs(value) < 1 << 64 else _too_large()


def _too_large() -> str:
    raise RequestError("an id that is a number has at most 64 bits")


def _packet(header: dict[str, Any], raw: bytes, octets: bytes | None) -> bytes:
    inputs = [_mapping(entry, "an input") for entry in _list(header.get("inputs"), "inputs")]
    if len(inputs) != 1 or inputs[0].get("name") != INPUT:
        raise RequestError(f"exactly one input, with the name {INPUT!r}")
    (tensor,) = inputs
    shape, datatype, data = _list(tensor.get("shape"), "shape"), tensor.get("datatype"), tensor.get("data")
    size = _optional(tensor, "parameters").get("binary_data_size")
    if size is not None:
        if type(size) is not int or size != len(raw) or data is not None or octets is not None:
            raise RequestError(f"{INPUT}: {size!r} bytes announced, {len(raw)} follow the JSON")
        return element(str(datatype), shape, raw)
    if raw:
        raise RequestError(f"{len(raw)} bytes follow the JSON, and no input has a binary_data_size")
    if datatype != "UINT8":
        raise RequestError(
            f"{INPUT}: JSON cannot hold {datatype} that is not text; send it as binary or UINT8"
        )
    if octets is None or "data" not in tensor or data is not None:
        octets = _octets(_flat(_list(data, "data")))
    return element("UINT8", shape, octets)


def _flat(data: list[Any]) -> list[Any]:
    """A tensor's data in one list: nested lists, row by row, mean the same."""
    while data and all(isinstance(row, list) for row in data):
        data = [value for row in data for value in row]
    return data


def _octets(data: list[Any]) -> bytes:
    try:
        return bytes(data)
    except (ValueError, TypeError) as error:
        raise RequestError(f"{INPUT}: data of UINT8 is a list of 0 .. 255") from error


def _optional(owner: dict[str, Any], name: str) -> dict[str, Any]:
    """A member that need not be there; null is as if it were not."""
    value = owner.get(name)
    return {} if value is None else _mapping(value, name)


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{name} must be a JSON object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise RequestError(f"{name} must be a list")
    return value
