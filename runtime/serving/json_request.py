"""The body of an HTTP request for inference, and that of its answer: JSON, then raw tensors.

With the header ``Inference-Header-Content-Length`` the JSON takes so many bytes and the tensors follow, in
order (binary tensor data extension); without it the whole body is JSON.
"""

from __future__ import annotations

import json
from typing import Any

from runtime.errors import RequestError
from runtime.serving.answer import Answer
from runtime.serving.protocol import INPUT, OUTPUTS, TOP_K, VERSION, Request, element, tensors

MAX_JSON = 1 << 16
"""Most bytes of the JSON that goes with binary tensors."""


class HttpRequest:
    """A parsed request. Raises RequestError for anything that is not one.

    Attributes:
        request: what both transports understand.
        binary: the outputs that are to come as raw bytes.
    """

    def __init__(self, body: bytes, json_length: int | None, model: str):
        if json_length is not None and not 0 < json_length <= min(len(body), MAX_JSON):
            raise RequestError(f"{json_length} bytes of JSON announced, in a body of {len(body)}")
        end = len(body) if json_length is None else json_length
        header = _mapping(_parse(body[:end]), "the request")
        parameters = _mapping(header.get("parameters", {}), "parameters")
        outputs = [_mapping(entry, "an output") for entry in _list(header.get("outputs", []), "outputs")]
        top_k = parameters.get("top_k", TOP_K)
        identity = header.get("id", "")
        if not isinstance(identity, str) or type(top_k) is not int:
            raise RequestError("id must be a string, and top_k a whole number")
        wanted = tuple(str(entry.get("name")) for entry in outputs)
        self.request = Request(model, identity, _packet(header, body[end:]), top_k, wanted)
        default = parameters.get("binary_data_output", False) is True
        self.binary = {name for name in OUTPUTS if default and not wanted}
        for name, entry in zip(wanted, outputs, strict=True):
            if _mapping(entry.get("parameters", {}), "parameters").get("binary_data", default) is True:
                self.binary.add(name)

    def response(self, answer: Answer) -> tuple[bytes, int | None]:
        """The body of the answer, and the bytes of JSON in it, None where all of it is."""
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


def _packet(header: dict[str, Any], raw: bytes) -> bytes:
    inputs = [_mapping(entry, "an input") for entry in _list(header.get("inputs"), "inputs")]
    if len(inputs) != 1 or inputs[0].get("name") != INPUT:
        raise RequestError(f"exactly one input, with the name {INPUT!r}")
    (tensor,) = inputs
    shape, datatype = _list(tensor.get("shape"), "shape"), tensor.get("datatype")
    size = _mapping(tensor.get("parameters", {}), "parameters").get("binary_data_size")
    if size is not None:
        if type(size) is not int or size != len(raw) or "data" in tensor:
            raise RequestError(f"{INPUT}: {size!r} bytes announced, {len(raw)} follow the JSON")
        return element(str(datatype), shape, raw)
    if raw:
        raise RequestError(f"{len(raw)} bytes follow the JSON, and no input has a binary_data_size")
    if datatype != "UINT8":
        raise RequestError(
            f"{INPUT}: JSON cannot hold {datatype} that is not text; send it as binary or UINT8"
        )
    return element("UINT8", shape, _octets(_list(tensor.get("data"), "data")))


def _octets(data: list[Any]) -> bytes:
    try:
        return bytes(data)
    except (ValueError, TypeError) as error:
        raise RequestError(f"{INPUT}: data of UINT8 is a flat list of 0 .. 255") from error


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{name} must be a JSON object")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise RequestError(f"{name} must be a list")
    return value
