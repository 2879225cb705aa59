"""Half graphs: a head in half precision, convolutions in float16 and GDN in float32.

GDN divides by a weighted sum over all channels: in float16 that sum overflows or loses its small terms.
Inputs and outputs stay float32, so a half graph replaces its original in any engine. Where the file lies, and
why h_s has no half graph: ``runtime.engines.precision``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from export.errors import GraphError
from export.graphs.onnx_file import read_model, save
from runtime.bundle import Bundle
from runtime.engines import OnnxGraph
from runtime.engines.precision import HALVED, half_graph

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def write_half_graphs(bundle: Bundle) -> list[Path]:
    """Write the half graph of each head of a bundle beside its original; returns their paths."""
    graphs = [bundle.graph(role) for role in HALVED if role in bundle.manifest.files]
    return [write_half_graph(graph) for graph in graphs]


def write_half_graph(graph: OnnxGraph) -> Path:
    """Write the half graph beside its original, remove those of earlier originals; returns the new path.

    Raises GraphError for a weight that float16 cannot hold, or an operator without a float16 form.
    """
    path = half_graph(graph)
    half = to_half(read_model(graph), graph.name)
    try:
        save(half, path)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        raise GraphError(f"{graph.name} has an operator without a float16 form: {error}") from error
    for old in set(path.parent.glob(f"{graph.path.stem}-fp16-*.onnx")) - {path}:
        old.unlink()
    return path


def to_half(model: onnx.ModelProto, name: str = "graph") -> onnx.ModelProto:
    """The model with float16 arithmetic everywhere except in GDN; inputs and outputs stay float32."""
    constants, nodes = _constants(model)
    writer = Fp16Writer(model, constants, name)
    kept = _gdn(nodes)
    for number, node in enumerate(nodes):
        writer.add(node, FLOAT if number in kept or node.op_type == "Cast" else HALF)
    for output in model.graph.output:
        writer.value(output.name, FLOAT)
    graph = helper.make_graph(
        writer.nodes, model.graph.name, model.graph.input, model.graph.output, writer.initializers
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _constants(model: onnx.ModelProto) -> tuple[dict[str, NDArray[Any]], list[onnx.NodeProto]]:
    """The weights by name, their storage casts applied, and the remaining nodes."""
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in constants:
            to = helper.tensor_dtype_to_np_dtype(helper.get_node_attr_value(node, "to"))
            constants[node.output[0]] = constants[node.input[0]].astype(to)
        else:
            nodes.append(node)
    return constants, nodes


def _float_values(model: onnx.ModelProto) -> set[str]:
    """Names of all float32 values except constants."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name for value in values if value.type.tensor_type.elem_type == FLOAT}


def _gdn(nodes: list[onnx.NodeProto]) -> set[int]:
    """Positions of the nodes that make up a GDN, x / Conv(|x|), or its inverse, x * Conv(|x|)."""
    producer = {output: number for number, node in enumerate(nodes) for output in node.output}
    found = set()
    for number, node in enumerate(nodes):
        if node.op_type not in ("Div", "Mul"):
            continue
        x, norm = node.input
        conv = nodes[producer[norm]] if norm in producer else None
        if conv is None or conv.op_type != "Conv" or conv.input[0] not in producer:
            continue
        absolute = nodes[producer[conv.input[0]]]
        if absolute.op_type == "Abs" and absolute.input[0] == x:
            found |= {number, producer[norm], producer[conv.input[0]]}
    return found


class Fp16Writer:
    """Collects nodes and constants. A value ``v`` is called ``v`` in float32 and ``v.half`` in float16."""

    def __init__(self, model: onnx.ModelProto, constants: dict[str, NDArray[Any]], name: str):
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._constants, self._floats, self._name = constants, _float_values(model), name
        self._there = {value.name for value in model.graph.input}

    def add(self, node: onnx.NodeProto, precision: int) -> None:
        """Add a node that computes in ``precision``; only its float32 values change."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self.value(value, precision) if value else "" for value in node.input]
        copy.output[:] = [_name(v, precision) if v in self._floats else v for v in node.output]
        self._there |= set(copy.output)
        self.nodes.append(copy)

    def value(self, name: str, precision: int) -> str:
        """The name of a value in this precision; adds its constant or a cast where it is missing."""
        if name in self._constants:
            return self._constant(name, precision)
        if name not in self._floats:
            return name
        wanted, other = _name(name, precision), _name(name, HALF if precision == FLOAT else FLOAT)
        if wanted not in self._there:
            self.nodes.append(helper.make_node("Cast", [other], [wanted], to=precision))
            self._there.add(wanted)
        return wanted

    def _constant(self, name: str, precision: int) -> str:
        array = self._constants[name]
        if array.dtype not in (np.float32, np.float16):
            precision = FLOAT  # integers keep their name and type
        else:
            with np.errstate(over="ignore"):
                array = array.astype(helper.tensor_dtype_to_np_dtype(precision))
        name = _name(name, precision)
        if name not in self._there:
            if array.dtype == np.float16 and not np.isfinite(array).all():
                raise GraphError(f"{self._name}: {name} has weights that float16 cannot hold")
            self.initializers.append(numpy_helper.from_array(array, name))
            self._there.add(name)
        return name


def _name(value: str, precision: int) -> str:
    return f"{value}.half" if precision == HALF else value
