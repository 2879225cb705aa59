"""Requests, answers, tensors, metadata and errors that HTTP and gRPC share.

Open Inference Protocol v2, https://github.com/kserve/open-inference-protocol:

    in    packet   BYTES [1], or UINT8 [n]: one packet of docs/format.md
    out            the tensors of the bundle's task (``runtime.tasks``), which has request parameters too
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
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
from runtime.tasks import Named, Task

ANY_BUNDLE = "ratehold"
"""Model name that takes packets of every served bundle: a packet names its own."""

VERSION = "1"
PLATFORM = "ratehold_packet"
EXTENSIONS = ("binary_tensor_data",)
INPUT = "packet"
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
    """One packet to decode. Raises RequestError for an id that makes no sense.

    model: model name, as in ``runtime.serving.models``.
    identity: id of the request, empty without one.
    parameters: the request's own, by name; ``checked`` looks at those that the task knows.
    outputs: names of the wanted outputs, in this order; empty: the usual ones of the task.
    """

    model: str
    identity: str
    packet: bytes
    parameters: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.identity) > MAX_ID:
            raise RequestError(f"a request id has at most {MAX_ID} characters, not {len(self.identity)}")


@dataclass(frozen=True)
class Answer:
    """The answer to one packet.

    bundle: name of the bundle that decoded it. task: of that bundle.
    raw: what the tail returned for this frame, float32, without the batch.
    flags: what the device did to the frame.
    coarseness: of the steps in which the device sent y (``runtime.codec.coarseness``).
    seconds: wall time by stage: queue (until a worker is free and has decoded the other frames of the run),
        decode (this packet), tail (the whole run).
    together: frames in the run of the tail.
    """

    bundle: str
    task: Task
    raw: NDArray[np.float32]
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


def checked(task: Task, request: Request) -> dict[str, int | float]:
    """The parameters of a request that the task knows; others are not looked at.

    Raises RequestError for a value beyond its bounds, and for an output that the task does not have.
    """
    there = [tensor.name for tensor in task.tensors]
    for name in request.outputs:
        if name not in there:
            raise RequestError(f"no output {name[:MAX_ID]!r}; there are: {', '.join(there)}")
    try:
        return {
            name: parameter.take(name, request.parameters[name])
            for name, parameter in task.parameters.items()
            if name in request.parameters
        }
    except ValueError as error:
        raise RequestError(str(error)) from error


def tensors(answer: Answer, request: Request) -> Named:
    """The outputs that a request asks for, little-endian arrays by name. Raises RequestError."""
    return answer.task.answer(answer.raw, request.outputs, **checked(answer.task, request))


def datatypes(task: Task) -> dict[str, str]:
    """Datatype of each output of a task, by its name."""
    return {tensor.name: tensor.datatype for tensor in task.tensors}


def metadata(tasks: list[Task]) -> dict[str, list[dict[str, Any]]]:
    """Inputs and outputs of a model whose bundles have these tasks.

    A size is -1 where it depends on the bundle or on the request.
    """
    shapes: dict[tuple[str, str], list[int]] = {}
    for task in tasks:
        for tensor in task.tensors:
            known = shapes.setdefault((tensor.name, tensor.datatype), list(tensor.shape))
            if len(known) == len(tensor.shape):
                known[:] = [n if n == size else -1 for n, size in zip(known, tensor.shape, strict=True)]
    outputs = [{"name": name, "datatype": kind, "shape": shape} for (name, kind), shape in shapes.items()]
    return {"inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [1]}], "outputs": outputs}
