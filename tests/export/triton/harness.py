"""What Triton does with a model repository, as far as the ensemble of it needs: no server, the same files.

``Backend`` stands for the Python backend and its module ``triton_python_backend_utils``, ONNX Runtime for
Triton's own; configurations are parsed with the messages that tritonclient was generated with.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
from google.protobuf import json_format, text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor, triton_to_np_dtype

Arrays = dict[str, NDArray[Any]]


def config(folder: Path) -> Any:
    """The configuration of a model; raises ParseError for what Triton's schema does not know."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def datatype(tensor: Any) -> str:
    """As the Open Inference Protocol calls it."""
    name = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


class Tensor:
    """``pb_utils.Tensor``: what comes from Triton has been serialized on its way."""

    def __init__(self, name: str, array: NDArray[Any]):
        assert array.flags.c_contiguous
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> NDArray[Any]:
        if self._array.dtype != object:
            return self._array
        raw = serialize_byte_tensor(self._array).item()
        return deserialize_bytes_tensor(raw).reshape(self._array.shape)


class TritonError:
    UNKNOWN, INTERNAL, NOT_FOUND, INVALID_ARG = range(4)

    def __init__(self, message: str, code: int = INTERNAL):
        self.message, self.code = message, code


class Logger:
    @staticmethod
    def log_error(_: str) -> None:
        """Say nothing."""


@dataclass
class InferenceRequest:
    tensors: list[Tensor]


@dataclass
class InferenceResponse:
    output_tensors: list[Tensor] | None = None
    error: TritonError | None = None


def _get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor | None:
    return next((tensor for tensor in request.tensors if tensor.name() == name), None)


def utils() -> ModuleType:
    """``triton_python_backend_utils``."""
    module = ModuleType("triton_python_backend_utils")
    for made in (Tensor, TritonError, InferenceRequest, InferenceResponse, Logger):
        setattr(module, made.__name__, made)
    module.get_input_tensor_by_name = _get_input_tensor_by_name  # type: ignore[attr-defined]
    return module


class Backend:
    """The Python backend with one model in it."""

    def __init__(self, folder: Path):
        spec = importlib.util.spec_from_file_location("model", folder / "1" / "model.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["triton_python_backend_utils"] = utils()
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules["triton_python_backend_utils"]
        self.model = module.TritonPythonModel()
        self.model.initialize(
            {
                "model_config": json_format.MessageToJson(config(folder)), "model_repository": str(folder),
                "model_version": "1", "model_name": folder.name, "model_instance_kind": "CPU",
                "model_instance_device_id": "0",
            }
        )  # fmt: skip

    def __call__(self, requests: list[Arrays]) -> list[Arrays | TritonError]:
        """All in one call, as Triton may do it."""
        asked = [InferenceRequest([Tensor(*item) for item in arrays.items()]) for arrays in requests]
        responses = self.model.execute(asked)
        assert len(responses) == len(requests)
        return [_result(response) for response in responses]


def _result(response: InferenceResponse) -> Arrays | TritonError:
    if response.error is not None:
        return response.error
    assert response.output_tensors is not None
    return {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors}


class Ensemble:
    """The model ``split``, run step by step as its configuration says; every tensor is checked against it."""

    def __init__(self, repository: Path):
        self.config = config(repository / "split")
        self._steps = list(self.config.ensemble_scheduling.step)
        self._configs = {step.model_name: config(repository / step.model_name) for step in self._steps}
        self.decode = Backend(repository / "decode")
        graph = repository / "tail" / "1" / "model.onnx"
        self.tail = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])

    def __call__(self, packets: list[bytes]) -> list[Arrays | TritonError]:
        flowing: list[Arrays | TritonError] = [{"packet": np.array([p], dtype=object)} for p in packets]
        for step in self._steps:
            flowing = self._step(step, flowing)
        return [self._outputs(tensors) for tensors in flowing]

    def _step(self, step: Any, flowing: list[Arrays | TritonError]) -> list[Arrays | TritonError]:
        alive = [number for number, tensors in enumerate(flowing) if isinstance(tensors, dict)]
        given = [{i: flowing[n][e] for i, e in step.input_map.items()} for n in alive]  # type: ignore[index]
        about = self._configs[step.model_name]
        for arrays in given:
            _check(about.input, arrays)
        for number, result in zip(alive, self._run(step.model_name, given), strict=True):
            if isinstance(result, TritonError):
                flowing[number] = result
            else:
                _check(about.output, result)
                flowing[number] |= {e: result[o] for o, e in step.output_map.items()}  # type: ignore[operator]
        return flowing

    def _run(self, model: str, requests: list[Arrays]) -> list[Arrays | TritonError]:
        if model == "decode":
            return self.decode(requests)
        names = [output.name for output in self.tail.get_outputs()]
        return [dict(zip(names, self.tail.run(None, arrays), strict=True)) for arrays in requests]

    def _outputs(self, tensors: Arrays | TritonError) -> Arrays | TritonError:
        if isinstance(tensors, TritonError):
            return tensors
        found = {output.name: tensors[output.name] for output in self.config.output}
        _check(self.config.output, found)
        return found


class Front(BaseHTTPRequestHandler):
    """Inference over HTTP as Triton has it: the datatype must be the declared one, JSON data comes flat."""

    protocol_version = "HTTP/1.1"
    ensemble: Ensemble

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body[: int(self.headers["Inference-Header-Content-Length"])])
        raw = body[int(self.headers["Inference-Header-Content-Length"]) :]
        (declared,) = self.ensemble.config.input
        shape, (given,) = list(declared.dims), asked["inputs"]
        if self.path != f"/v2/models/{self.ensemble.config.name}/infer":
            return self._send(404, {"error": f"unknown model: {self.path}"})
        if (given["datatype"], given["shape"]) != (datatype(declared), shape):
            return self._send(400, {"error": f"inference input '{given['name']}' data-type or shape"})
        (packet,) = deserialize_bytes_tensor(raw)
        (answer,) = self.ensemble([packet])
        if isinstance(answer, TritonError):
            return self._send(400, {"error": answer.message})
        outputs = [
            {"name": name, "shape": list(answer[name].shape), "data": answer[name].ravel().tolist()}
            for name in (output["name"] for output in asked["outputs"])
        ]
        self._send(200, {"id": asked["id"], "model_name": "split", "outputs": outputs})

    def _send(self, status: int, told: dict[str, Any]) -> None:
        text = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _check(declared: Any, arrays: Arrays) -> None:
    assert {tensor.name for tensor in declared} == set(arrays)
    for tensor in declared:
        assert list(arrays[tensor.name].shape) == list(tensor.dims), tensor.name
        assert arrays[tensor.name].dtype == triton_to_np_dtype(datatype(tensor)), tensor.name
