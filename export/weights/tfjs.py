"""A graph model of TensorFlow.js -> ONNX.

A graph model is JSON (``modelTopology``: nodes; ``weightsManifest``: names, shapes and types) and a file of
weights, one after the other. This knows the operators of converted detectors; any other raises GraphError
with its name. TensorFlow convolves in NHWC and ONNX in NCHW. A Transpose is therefore not written: a value
keeps the permutation that would make TensorFlow's tensor of it, and is transposed only where an operator asks
for that."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.errors import GraphError
from export.graphs.onnx_file import OPSET

TYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4"}
TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True)
class Value:
    """TensorFlow's tensor is ``numpy.transpose(the ONNX value, order)``; None: no permutation."""

    name: str
    order: tuple[int, ...] | None = None


def convert(topology: bytes, weights: bytes, name: str) -> onnx.ModelProto:
    """The ONNX model of a graph model, its outputs in the order of their names.

    topology: the JSON. weights: the one file that it names. Convolutions are named ``conv0.weight``,
    ``conv0.bias`` and so on, by TensorFlow's own numbers.

    Raises GraphError for an operator, or a use of one, that is not known here.
    """
    described = json.loads(topology)
    conversion = _Conversion(_constants(described, weights))
    nodes = {node["name"]: node for node in described["modelTopology"]["node"]}
    outputs = [
        n for n in sorted(nodes) if nodes[n]["op"] == "Identity" and not n.startswith("PartitionedCall")
    ]
    (placeholder,) = (node for node in nodes.values() if node["op"] == "Placeholder")
    shape = [int(dim["size"]) for dim in placeholder["attr"]["shape"]["shape"]["dim"]]
    conversion.values[placeholder["name"]] = Value("image")
    for node in _in_order(nodes):
        conversion.add(node)
    return conversion.model(name, shape, outputs)


def _constants(described: dict[str, Any], weights: bytes) -> dict[str, NDArray[Any]]:
    found, place = {}, 0
    for group in described["weightsManifest"]:
        for entry in group["weights"]:
            stored = np.dtype(TYPES[entry.get("quantization", entry)["dtype"]])
            size = math.prod(entry["shape"])
            values = np.frombuffer(weights, stored, size, place).reshape(entry["shape"])
            found[entry["name"]] = values.astype(TYPES[entry["dtype"]])
            place += size * stored.itemsize
    if place != len(weights):
        raise GraphError(f"the weights have {len(weights)} bytes, the graph describes {place}")
    return found


def _in_order(nodes: dict[str, Any]) -> list[dict[str, Any]]:
    """Each node behind its inputs."""
    ordered: dict[str, dict[str, Any]] = {}

    def visit(name: str) -> None:
        node = nodes[name.partition(":")[0]]
        if node["name"] not in ordered:
            for source in node.get("input", []):
                visit(source)
            ordered[node["name"]] = node

    for name in nodes:
        visit(name)
    return list(ordered.values())


class _Conversion:
    """The ONNX nodes so far. values: by TensorFlow's name; constants are known by value until used."""

    def __init__(self, constants: dict[str, NDArray[Any]]):
        self.values: dict[str, Value] = {}
        self._constants = constants
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._convolutions: dict[str, onnx.NodeProto] = {}

    def add(self, node: dict[str, Any]) -> None:
        """Convert one node, whose inputs have been."""
        kind, name = node["op"], node["name"]
        if kind in ("Placeholder", "Const"):
            return
        if kind not in _KNOWN:
            raise GraphError(f"{name}: no conversion of TensorFlow's {kind}")
        _KNOWN[kind](self, name, node.get("input", []), node.get("attr", {}))

    def model(self, name: str, shape: list[int], outputs: list[str]) -> onnx.ModelProto:
        """The whole model, checked, with static shapes."""
        for output in outputs:
            self._nodes.append(helper.make_node("Identity", [self._plain(output)], [output]))
        image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)
        results = [helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, None) for o in outputs]
        graph = helper.make_graph(self._nodes, name, [image], results, self._initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        del model.graph.value_info[:]
        onnx.checker.check_model(model, full_check=True)
        return model

    def constant(self, name: str) -> NDArray[Any]:
        """The value of a constant."""
        if name not in self._constants:
            raise GraphError(f"{name} is computed; a constant was expected")
        return self._constants[name]

    def emit(
        self, kind: str, inputs: list[str], name: str, order: tuple[int, ...] | None, **more: Any
    ) -> None:
        """Add a node whose one result is TensorFlow's ``name`` but for the permutation ``order``."""
        self._nodes.append(helper.make_node(kind, inputs, [name], **more))
        self.values[name] = Value(name, order)

    def store(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant of ONNX."""
        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def same_order(self, sources: list[str]) -> tuple[list[str], tuple[int, ...] | None]:
        """Names and common permutation of several values. Raises GraphError where they differ."""
        found = [self.values[source] for source in sources]
        if len({value.order for value in found}) != 1:
            raise GraphError(f"{', '.join(sources)} are permuted differently")
        return [value.name for value in found], found[0].order

    def channels_first(self, source: str) -> str:
        """The NCHW value behind an NHWC tensor."""
        value = self.values[source]
        if value.order != TO_NHWC:
            raise GraphError(f"{source} is not an NCHW tensor, transposed")
        return value.name

    def _plain(self, source: str) -> str:
        value = self.values[source]
        if value.order is None:
            return value.name
        self.emit("Transpose", [value.name], f"{value.name}/plain", None, perm=value.order)
        return f"{value.name}/plain"

    def transpose(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        value = self.values[inputs[0]]
        order = tuple(int(axis) for axis in self.constant(inputs[1]))
        if value.order is not None:
            order = tuple(value.order[axis] for axis in order)
        plain = order == tuple(range(len(order)))
        self.values[name] = Value(value.name, None if plain else order)

    def convolution(self, name: str, inputs: list[str], attr: dict[str, Any]) -> None:
        if _text(attr["padding"]) != "VALID" or _text(attr.get("data_format", {"s": "TkhXQw=="})) != "NHWC":
            raise GraphError(f"{name}: only VALID convolutions in NHWC are known")
        number = len(self._convolutions) and int(name.rpartition("_")[2])
        kernel = self.constant(inputs[1]).transpose(3, 2, 0, 1)
        weight = self.store(f"conv{number}.weight", kernel)
        strides = [int(stride) for stride in attr["strides"]["list"]["i"][1:3]]
        self.emit(
            "Conv", [self.channels_first(inputs[0]), weight], name, TO_NHWC,
            kernel_shape=kernel.shape[2:], strides=strides,
        )  # fmt: skip
        self._convolutions[name] = self._nodes[-1]

    def add_two(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        """A convolution and its bias, or two values."""
        one, other = inputs
        if all(source in self._constants for source in inputs):
            self._constants[name] = self._constants[one] + self._constants[other]
        elif other in self._constants:
            if one not in self._convolutions:
                raise GraphError(f"{name}: a constant is added to something else than a convolution")
            node = self._convolutions[one]
            node.input.append(self.store(node.input[1].replace("weight", "bias"), self.constant(other)))
            self.values[name] = self.values[one]
        else:
            names, order = self.same_order(inputs)
            self.emit("Add", names, name, order)

    def pad(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        (source,), order = self.same_order(inputs[:1])
        if order is not None:
            raise GraphError(f"{name}: padding of a transposed tensor is not known")
        pads = self.store(f"{name}/pads", self.constant(inputs[1]).T.reshape(-1).astype(np.int64))
        fill = [self.store(f"{name}/fill", self.constant(inputs[2]))] if len(inputs) > 2 else []
        self.emit("Pad", [source, pads, *fill], name, None)

    def max_pool(self, name: str, inputs: list[str], attr: dict[str, Any]) -> None:
        if _text(attr["padding"]) != "VALID":
            raise GraphError(f"{name}: only VALID pooling is known")
        kernel, strides = ([int(n) for n in attr[key]["list"]["i"][1:3]] for key in ("ksize", "strides"))
        source = self.channels_first(inputs[0])
        self.emit("MaxPool", [source], name, TO_NHWC, kernel_shape=kernel, strides=strides)

    def resize(self, name: str, inputs: list[str], attr: dict[str, Any]) -> None:
        if not attr["half_pixel_centers"].get("b") or attr["align_corners"].get("b"):
            raise GraphError(f"{name}: only half-pixel centres are known")
        source = self.channels_first(inputs[0])
        sides = self.store(f"{name}/sides", self.constant(inputs[1]).astype(np.int64))
        self.emit(
            "Resize", [source, "", "", sides], name, TO_NHWC, axes=[2, 3], mode="linear",
            coordinate_transformation_mode="half_pixel",
        )  # fmt: skip

    def concat(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        names, order = self.same_order(inputs[:-1])
        axis = int(self.constant(inputs[-1]))
        self.emit("Concat", names, name, order, axis=axis if order is None else order[axis])

    def split(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        (source,), order = self.same_order(inputs[:1])
        axis = int(self.constant(inputs[2]).reshape(()))
        sizes = self.constant(inputs[1]).astype(np.int64)
        results = [f"{name}:{number}" if number else name for number in range(len(sizes))]
        self._nodes.append(
            helper.make_node(
                "Split", [source, self.store(f"{name}/sizes", sizes)], results,
                axis=axis if order is None else order[axis],
            )
        )  # fmt: skip
        self.values |= {result: Value(result, order) for result in results}

    def reshape(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        shape = self.store(f"{name}/shape", self.constant(inputs[1]).astype(np.int64))
        self.emit("Reshape", [self._plain(inputs[0]), shape], name, None)

    def leaky(self, name: str, inputs: list[str], attr: dict[str, Any]) -> None:
        (source,), order = self.same_order(inputs[:1])
        self.emit("LeakyRelu", [source], name, order, alpha=attr["alpha"]["f"])

    def sigmoid(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        (source,), order = self.same_order(inputs[:1])
        self.emit("Sigmoid", [source], name, order)

    def same(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        self.values[name] = self.values[inputs[0]]

    def dense(self, name: str, inputs: list[str], _: dict[str, Any]) -> None:
        """A shape that the exporter has patched at no place: all of it is its default."""
        places, shape, values, fill = (self.constant(source) for source in inputs)
        if places.size or values.size:
            raise GraphError(f"{name}: a sparse tensor with values")
        self._constants[name] = np.full(shape, fill)


def _text(attribute: dict[str, str]) -> str:
    return base64.b64decode(attribute["s"]).decode()


_KNOWN: dict[str, Callable[[_Conversion, str, list[str], dict[str, Any]], None]] = {
    "Add": _Conversion.add_two,
    "AddV2": _Conversion.add_two,
    "ConcatV2": _Conversion.concat,
    "Conv2D": _Conversion.convolution,
    "Identity": _Conversion.same,
    "LeakyRelu": _Conversion.leaky,
    "MaxPool": _Conversion.max_pool,
    "Pad": _Conversion.pad,
    "PadV2": _Conversion.pad,
    "Reshape": _Conversion.reshape,
    "ResizeBilinear": _Conversion.resize,
    "Sigmoid": _Conversion.sigmoid,
    "SparseToDense": _Conversion.dense,
    "SplitV": _Conversion.split,
    "Transpose": _Conversion.transpose,
}
