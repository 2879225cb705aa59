"""Requests, answers, tensors, metadata and errors that HTTP and gRPC share.

Open Inference Protocol v2, https://github.com/kserve/open-inference-protocol:

    in    packet              BYTES [1], or UINT8 [n]: one packet of docs/format.md
    out   logits              FP32 [classes]
          top_classes         INT32 [k], likeliest first
          top_probabilities   FP32 [k], softmax of the logits

k is the request parameter ``top_k`` (default 5, at most the number of classes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.codec.packet import Flags
from runtime.errors import (
    Crowded,
    PacketError,
    PacketTooLarge,
    RequestError,
    TooSlow,
    TryLater,
    UnknownModel,
)
from runtime.json_log import shortened

ANY_BUNDLE = "ratehold"
"""Model name that takes packets of every served bundle: a packet names its own."""

VERSION = "1"
PLATFORM = "ratehold_packet"
EXTENSIONS = ("binary_tensor_data",)
INPUT = "packet"
OUTPUTS = {"logits": "FP32", "top_classes": "INT32", "top_probabilities": "FP32"}
TOP_K = 5
MAX_ID = 128
"""Most characters of a request id."""

MAX_RANK = 4
"""Most numbers of a shape. Ones around [n] are welcome: clients add them."""

FOREIGN = "this server is for its own machine: ask for localhost"
"""What a foreign host or page is told by a listener on loopback."""

LENGTH_BYTES = 4
"""A BYTES element is its length, uint32 little-endian, followed by so many bytes."""


@dataclass(frozen=True)
class Request:
    """One packet to decode. Raises RequestError for an id, a ``top_k`` or an output that makes no sense.

    model: model name, as in ``runtime.serving.models``.
    identity: id of the request, empty without one.
    top_k: number of likeliest classes.
    outputs: names of the wanted outputs, in this order; empty: all of them.
    """

    model: str
    identity: str
    packet: bytes
    top_k: int = TOP_K
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.identity) > MAX_ID:
            raise RequestError(f"a request id has at most {MAX_ID} characters, not {len(self.identity)}")
        if not 0 < self.top_k <= 1 << 20:
            raise RequestError(f"top_k must be 1 or more, not {self.top_k}")
        for name in self.outputs:
            if name not in OUTPUTS:
                raise RequestError(f"no output {name[:MAX_ID]!r}; there are: {', '.join(OUTPUTS)}")


@dataclass(frozen=True)
class Answer:
    """The answer to one packet.

    bundle: name of the bundle that decoded it.
    logits: float32 (classes,).
    flags: what the device did to the frame.
    coarseness: of the steps in which the device sent y (``runtime.codec.coarseness``).
    seconds: wall time by stage: queue (until a worker is free and has decoded the other frames of the run),
        decode (this packet), tail (the whole run).
    together: frames in the run of the tail.
    """

    bundle: str
    logits: NDArray[np.float32]
    flags: Flags
    coarseness: int
    seconds: dict[str, float]
    together: int = 1


@dataclass(frozen=True)
class Fault:
    """The answer to a request that failed.

    kind: name of the error's class, for metrics and log.
    http: status code. grpc: name of the status code.
    retry_after: seconds after which the same request may succeed; None where it never will.
    """

    kind: str
    text: str
    http: int
    grpc: str
    retry_after: int | None = None


_FAULTS: tuple[tuple[type[Exception], int, str], ...] = (
    (PacketTooLarge, 413, "INVALID_ARGUMENT"),
    (PacketError, 400, "INVALID_ARGUMENT"),
    (RequestError, 400, "INVALID_ARGUMENT"),
    (UnknownModel, 404, "NOT_FOUND"),
    (Crowded, 503, "RESOURCE_EXHAUSTED"),
    (TryLater, 503, "UNAVAILABLE"),
    (TooSlow, 504, "DEADLINE_EXCEEDED"),
)


def fault(error: Exception) -> Fault:
    """The answer to an error. An error of the server itself is not explained to clients."""
    kind = type(error).__name__
    for known, http, grpc in _FAULTS:
        if isinstance(error, known):
            later = 1 if isinstance(error, TryLater) else None
            return Fault(kind, shortened(str(error)), http, grpc, later)
    return Fault(kind, "the server failed; its log says how", 500, "INTERNAL")


def whole(value: Any, name: str) -> int:
    """A whole number of either transport: 3.0 is one, as JSON has one kind of numbers; text is not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise RequestError(f"{name} must be a whole number, not {value!r}")
    return value


def check_version(version: str) -> None:
    """Raise UnknownModel for any version of a model except ``VERSION``."""
    if version not in ("", VERSION):
        raise UnknownModel(f"no version {version[:MAX_ID]!r}: there is only {VERSION}")


def element(datatype: str, shape: list[int], raw: bytes) -> bytes:
    """The packet in the raw bytes of a tensor. Raises RequestError when they are not exactly one element."""
    if len(shape) > MAX_RANK or any(type(n) is not int or not 0 <= n < 1 << 31 for n in shape):
        raise RequestError(f"{INPUT}: {shape[:MAX_RANK]} is not a shape, or not one of {MAX_RANK} numbers")
    count = math.prod(shape)
    if datatype == "UINT8":
        if count != len(raw):
            raise RequestError(f"{INPUT}: shape {shape} is {count} bytes, {len(raw)} are there")
        return raw
    if datatype != "BYTES":
        raise RequestError(f"{INPUT}: datatype BYTES or UINT8, not {datatype[:MAX_ID]!r}")
    length = int.from_bytes(raw[:LENGTH_BYTES], "little")
    if count != 1 or len(raw) < LENGTH_BYTES or length != len(raw) - LENGTH_BYTES:
        raise RequestError(
            f"{INPUT}: BYTES of shape [1] is one length of {LENGTH_BYTES} bytes and as many bytes as it says"
        )
    return raw[LENGTH_BYTES:]


def tensors(answer: Answer, request: Request) -> dict[str, NDArray[Any]]:
    """The outputs that a request asks for, little-endian arrays by name."""
    logits, wanted = answer.logits, request.outputs or tuple(OUTPUTS)
    found = {"logits": logits.astype("<f4")}
    if wanted != ("logits",):
        classes = likeliest(logits, request.top_k)
        shares = np.exp(logits - logits.max())
        found["top_classes"] = classes.astype("<i4")
        found["top_probabilities"] = (shares[classes] / shares.sum()).astype("<f4")
    return {name: found[name] for name in wanted}


def likeliest(logits: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The likeliest ``count`` classes, or all, likeliest first; equal logits stay in order of their class."""
    behind = -logits
    chosen = np.arange(len(logits))
    if count < len(logits):
        chosen = np.flatnonzero(~(behind > np.partition(behind, count - 1)[count - 1]))
    return chosen[np.argsort(behind[chosen], kind="stable")][:count]


def metadata(classes: int) -> dict[str, list[dict[str, Any]]]:
    """Inputs and outputs of a model; -1: the size depends on the bundle or on the request."""
    sizes = {"logits": classes, "top_classes": -1, "top_probabilities": -1}
    outputs = [{"name": name, "datatype": kind, "shape": [sizes[name]]} for name, kind in OUTPUTS.items()]
    return {"inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [1]}], "outputs": outputs}
