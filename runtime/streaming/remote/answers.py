"""What a server's answer says: tensors, a refusal, or that the frame must be sent again.

Whatever comes back may be the work of a proxy, a login page or an attacker. Only an answer of the Open
Inference Protocol settles a frame; everything else says nothing about it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

import numpy as np

from runtime.tasks import Task, Tensor

GIVEN_UP = (400, 413, 422)
"""Status codes, with the protocol's JSON error, of a frame that no repetition makes acceptable."""

BUSY = (408, 425, 429, 502, 503, 504)
"""Status codes of a server that may take the frame soon."""

CAUSES = {
    400: "another server, or one that wants https://?",
    401: "a proxy or a login page?",
    403: "a proxy or a login page?",
    404: "another server, or no model of this name?",
    405: "another server?",
    407: "a proxy asks for a login",
    413: "a proxy with a lower limit?",
    500: "an error of the server's own",
    511: "the network asks for a login",
}
"""The likely cause of an odd status code."""

LARGEST = 2.0**128
"""Values of a tensor without bounds stay below this one."""

MOST_TEXT = 200
"""Most characters of a peer's text that are repeated."""


@dataclass(frozen=True)
class ServerAnswer:
    """The server's answer to a frame: the brief tensors of its task, by name, as lists of numbers."""

    tensors: Mapping[str, list[Any]]


class Refused(Exception):
    """The server does not take this frame and never will; the message is the server's."""


class TryAgain(Exception):
    """The frame has no answer yet.

    Args:
        seconds: the pause that the server asks for, or None.
        odd: the answer is not one of a tail server: ask less and less often.
    """

    def __init__(self, text: str, seconds: float | None = None, odd: bool = False):
        super().__init__(text)
        self.seconds, self.odd = seconds, odd


class Elsewhere(Exception):
    """This server has no answer to the frame; another one may be asked at once."""


class Ended(Exception):
    """The client ends: what is under way is given up."""


def read_answer(
    status: int, reason: str, headers: Message, body: bytes, identity: str, task: Task
) -> ServerAnswer:
    """The answer to the frame ``identity``. Raises Refused or TryAgain."""
    if status == 200:
        return _tensors(body, identity, task)
    said = f"{status} {error_text(body) or printable(reason)}"
    if status in GIVEN_UP and error_text(body):
        raise Refused(said)
    if status in BUSY:
        raise TryAgain(f"server says {said}", _seconds(headers.get("Retry-After") or ""))
    if 300 <= status < 400:
        where = printable(headers.get("Location") or "nowhere")
        raise TryAgain(f"{said}: it sends us to {where}; a proxy or a login page?", odd=True)
    raise TryAgain(f"{said}: {CAUSES.get(status, 'not a tail server?')}", odd=True)


def error_text(body: bytes) -> str:
    """The text of the protocol's error, ``{"error": text}``; empty for anything else."""
    try:
        text = json.loads(body.decode())["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    return printable(text) if isinstance(text, str) else ""


def printable(text: str) -> str:
    """A peer's text, cut, and without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text[:MOST_TEXT])


def _seconds(text: str) -> float | None:
    """A Retry-After in seconds; None for a date, which would need a clock that is right."""
    return float(text) if text.isascii() and text.isdigit() else None


def _tensors(body: bytes, identity: str, task: Task) -> ServerAnswer:
    try:
        parsed = json.loads(body.decode())
        data = {output["name"]: output["data"] for output in parsed["outputs"]}
        wanted = [(tensor, data[tensor.name]) for tensor in task.tensors if tensor.name in task.brief]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        page = body.lstrip()[:1] == b"<"
        what = (
            "a web page: a proxy or a login page?" if page else f"no answer of a tail server ({error!r:.80})"
        )
        raise TryAgain(f"200, but {what}", odd=True) from error
    if (parsed.get("id") or "") != identity:  # a request without an id has an answer without one
        raise TryAgain("200, but the answer to another frame", odd=True)
    rows = [_rows(tensor, values) for tensor, values in wanted]
    if (
        None in rows
        or len({n for n, (tensor, _) in zip(rows, wanted, strict=True) if tensor.shape[0] < 0}) > 1
    ):
        raise TryAgain(f"200, but {task.plural} that make no sense", odd=True)
    return ServerAnswer({tensor.name: _nested(tensor, values) for tensor, values in wanted})


def _rows(tensor: Tensor, values: Any) -> int | None:
    """The size of the first axis; None where this is no such tensor."""
    if not isinstance(values, list) or not all(_fits(tensor, value) for value in values):
        return None
    row = math.prod(tensor.shape[1:])
    count = len(values) // row
    if len(values) % row or count < tensor.least or tensor.shape[0] not in (-1, count):
        return None
    return count


def _fits(tensor: Tensor, value: Any) -> bool:
    whole = tensor.datatype.startswith(("INT", "UINT"))
    right = type(value) is int or (type(value) is float and not whole and math.isfinite(value))
    return right and max(tensor.low, -LARGEST) <= value <= min(tensor.high, LARGEST)


def _nested(tensor: Tensor, values: list[Any]) -> list[Any]:
    """Numbers of their kind, one list a row."""
    if tensor.datatype.startswith("FP"):
        values = [float(value) for value in values]
    nested: list[Any] = np.reshape(np.array(values, dtype=object), tensor.shape).tolist()
    return nested
