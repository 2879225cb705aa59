"""A bundle's graph as a differentiable torch function: to attack the deployed file, or to train it.

It knows the operators of our own exports; any other raises NotImplementedError with its name.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch.nn import functional

from export.graphs.onnx_file import read_model
from runtime.engines import OnnxGraph

Attributes = dict[str, Any]
Values = list[torch.Tensor]


class TorchGraph:
    """Runs an ONNX file, or a bundle's graph, with torch, node by node, for any batch size.

    Takes the graph's inputs in order, float32 (N, ...), and returns its outputs in order.

    constants: the graph's weights by name; the floating-point ones are float32, whatever the file holds.
    """

    def __init__(self, source: Path | OnnxGraph):
        graph = read_model(source).graph
        self.constants = {i.name: _constant(i) for i in graph.initializer}
        self._nodes = list(graph.node)
        self._inputs = [value.name for value in graph.input]
        self._outputs = [value.name for value in graph.output]
        unknown = {node.op_type for node in self._nodes} - set(OPERATORS)
        if unknown:
            raise NotImplementedError(f"{source.name} has operators without a torch twin: {sorted(unknown)}")

    def __call__(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
        """Run once; gradients flow from outputs to inputs, and to the constants that ask for them."""
        values = dict(self.constants) | dict(zip(self._inputs, map(_channels_last, inputs), strict=True))
        for node in self._nodes:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            operands = [values[name] for name in node.input if name]
            values[node.output[0]] = OPERATORS[node.op_type](operands, attributes)
        return [values[name] for name in self._outputs]


def _constant(initializer: onnx.TensorProto) -> torch.Tensor:
    value = torch.from_numpy(numpy_helper.to_array(initializer).copy())
    return _channels_last(value.float() if value.is_floating_point() else value)


def _channels_last(value: torch.Tensor) -> torch.Tensor:
    """The same values in the memory layout in which a CPU convolves twice as fast."""
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def _convolution(v: Values, a: Attributes) -> torch.Tensor:
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    image, padding = v[0], (top, left)
    if (top, left) != (bottom, right):  # asymmetric, as with a stride of 2
        image, padding = functional.pad(image, (left, right, top, bottom)), (0, 0)
    bias = v[2] if len(v) > 2 else None
    strides = tuple(a.get("strides", (1, 1)))
    return functional.conv2d(image, v[1], bias, strides, padding, groups=a.get("group", 1))


def _clip(v: Values, _: Attributes) -> torch.Tensor:
    return functional.hardtanh(v[0], float(v[1]), float(v[2]))


def _transposed(v: Values, a: Attributes) -> torch.Tensor:
    bias = v[2] if len(v) > 2 else None
    return functional.conv_transpose2d(v[0], v[1], bias, tuple(a["strides"]))


def _reshape(v: Values, _: Attributes) -> torch.Tensor:
    """The exported shape has batch 1; the batch of the input stays."""
    return v[0].reshape(len(v[0]), *v[1].tolist()[1:])


def _slice(v: Values, _: Attributes) -> torch.Tensor:
    starts, ends, axes, steps = (operand.tolist() for operand in v[1:])
    cut = [slice(None)] * v[0].ndim
    for axis, *bounds in zip(axes, starts, ends, steps, strict=True):
        cut[axis] = slice(*bounds)
    return v[0][tuple(cut)]


def _gemm(v: Values, a: Attributes) -> torch.Tensor:
    return functional.linear(v[0], v[1] if a.get("transB") else v[1].T, v[2])


OPERATORS: dict[str, Callable[[Values, Attributes], torch.Tensor]] = {
    "Abs": lambda v, _: v[0].abs(),
    "Add": lambda v, _: v[0] + v[1],
    "Cast": lambda v, _: v[0].float(),
    "Clip": _clip,
    "Concat": lambda v, a: torch.cat(v, a["axis"]),
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Div": lambda v, _: v[0] / v[1],
    "Flatten": lambda v, _: v[0].flatten(1),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda v, _: v[0].mean((2, 3), keepdim=True),
    "LeakyRelu": lambda v, a: functional.leaky_relu(v[0], a.get("alpha", 0.01)),
    "MatMul": lambda v, _: v[0] @ v[1],
    "Mul": lambda v, _: v[0] * v[1],
    "ReduceMean": lambda v, a: v[0].mean(tuple(v[1].tolist()), keepdim=bool(a.get("keepdims", 1))),
    "Relu": lambda v, _: v[0].relu(),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sub": lambda v, _: v[0] - v[1],
    "Unsqueeze": lambda v, _: v[0].unsqueeze(int(v[1])),
}
