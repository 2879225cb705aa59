"""The graph of an exact integer network, compared with its NumPy definition. Without torch.

The graph is written for speed, and for engines that are exact only to less than 0.5 of a sum (Winograd, FFT).
Let n be the exact sum, |e| < 0.5 an engine's error and s the shift; then ``floor(n / 2**s)`` is

    floor((n + e + 0.5) / 2**s)                      without a leak: n < n + e + 0.5 < n + 1
    floor(leaky_relu(round(n + e)) / 2**s)           with one: 5 n / 2**9 needs n itself

Without a leak the weights are scaled by 2**-s, which float32 does exactly, and the bias holds the 0.5. All
partial sums are then multiples of 2**-(s + 1) below 2**(21 - s): 22 bits, exact in any order. A leak is
``max(floor(v), floor(5 v / 2**9))``, which is the floor of LeakyRelu, in 23 bits. Limits are whole numbers,
so they may come before the floor: there engines fuse them with the sums.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from export.errors import GraphError
from export.graphs.onnx_file import OPSET, save, store_in_half
from export.graphs.polyphase import polyphase, repeat_for_phases
from runtime.prior.exact import ACCUMULATOR_LIMIT, LEAK, IntegerNetwork, Layer

BLOCK = 16
"""With AVX-512, ONNX Runtime's CPU convolutions pad their input channels to a multiple of this."""

Shape = tuple[int, ...]


def write_integer_network(network: IntegerNetwork, shape: tuple[int, int, int], path: Path) -> None:
    """Write an exact network as a float32 graph whose activations are whole numbers.

    ``runtime.prior.exact`` defines the network; ``shape`` is that of its input z. Raises GraphError when the
    graph differs from the definition anywhere on random inputs.
    """
    writer = IntegerGraphWriter()
    value, a = "z", np.zeros(shape, dtype=np.int32)
    for number, layer in enumerate(network.layers):
        writer.prefix = f"h_s.{number}"
        size, a = a.shape, layer(a)
        value = writer.sums(layer, value)
        if layer.transposed:
            value = writer.interleaved(layer, value, size, a.shape)
        if layer.leaky:
            value = writer.leaked(layer, value)
        if network.rungs is None or layer is not network.layers[-1]:
            value = writer.node("Floor", value)
    if network.rungs is not None:
        writer.look_up(network.rungs, value, a.shape)
    writer.nodes[-1].output[0] = "parameters"
    graph = helper.make_graph(
        writer.nodes,
        "h_s",
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, (1, *shape))],
        [helper.make_tensor_value_info("parameters", onnx.TensorProto.FLOAT, (1, *a.shape))],
        writer.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    save(store_in_half(model), path)
    _compare_integers(network, shape, path)


class IntegerGraphWriter:
    """Collects nodes and constants. Each method adds some and returns the name of its result.

    prefix: of the names that are added.
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.prefix = ""

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        output = f"{self.prefix}.{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, array: ArrayLike, dtype: Any = np.float32) -> str:
        """Add a constant."""
        name = f"{self.prefix}.{name}"
        self.constants.append(numpy_helper.from_array(np.asarray(array, dtype=dtype), name))
        return name

    def sums(self, layer: Layer, value: str) -> str:
        """The sums of a layer, in phases where it is transposed.

        A leaky layer's sums are whole numbers; those of another layer are scaled, with the 0.5, and clipped.
        """
        weight, bias, scale = layer.weight, layer.bias.astype(np.float64), _scale(layer)
        geometry: dict[str, Any] = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
        if layer.transposed:
            plain = polyphase(layer)
            weight = plain.weight
            bias, scale = (repeat_for_phases(values, layer.stride) for values in (bias, scale))
            geometry = {"pads": [plain.before] * 2 + [plain.after] * 2}
        if not layer.leaky:
            weight, bias = weight * scale[:, None, None, None], (bias + 0.5) * scale
        value = self._convolution(value, weight, bias, **geometry)
        return value if layer.leaky else self._clipped(layer, value)

    def leaked(self, layer: Layer, sums: str) -> str:
        """The values of a leaky layer before the floor, from its sums."""
        value = self.node("LeakyRelu", self.node("Round", sums), alpha=LEAK[0] / 2 ** LEAK[1])
        scale = self.constant("scale", _scale(layer)[:, None, None])
        return self._clipped(layer, self.node("Mul", value, scale))

    def interleaved(self, layer: Layer, value: str, size: Shape, out: Shape) -> str:
        """The outputs (1, *out) of a transposed layer from its phases on inputs of ``size``.

        DepthToSpace would do the same; ONNX Runtime takes 2.5 times as long for it.
        """
        plain, stride, channels = polyphase(layer), layer.stride, out[0]
        height, width = (n + plain.growth for n in size[1:])
        value = self._reshaped("columns", value, (stride, channels * stride * height * width))
        value = self.node("Transpose", value, perm=[1, 0])
        value = self._reshaped("rows", value, (channels, stride, height, width * stride))
        value = self.node("Transpose", value, perm=[0, 2, 1, 3])
        value = self._reshaped("turns", value, (1, channels, height * stride, width * stride))
        ends = self.constant("ends", out[1:], np.int64)
        starts, axes = self.constant("starts", (0, 0), np.int64), self.constant("axes", (2, 3), np.int64)
        return self.node("Slice", value, starts, ends, axes)

    def look_up(self, rungs: NDArray[np.int32], value: str, shape: Shape) -> None:
        """Turn scales, the first half of the channels, into table indices, and floor the means.

        The limits come first: then a cast to integers is the floor. Gather would do for the look-up, but it
        copies each number as if it were a row: ONNX Runtime takes 9 times as long for it.
        """
        self.prefix = "rungs"
        low, high = self.constant("low", 0), self.constant("high", len(rungs) - 1)
        self.nodes.append(helper.make_node("Split", [value], ["scale", "mean"], axis=1, num_outputs=2))
        rung = self.node("Cast", self.node("Clip", "scale", low, high), to=onnx.TensorProto.INT32)
        line = self._reshaped("line", rung, (-1,))
        index = self.node("GatherElements", self.constant("table", rungs), line, axis=0)
        index = self._reshaped("indices", index, (1, shape[0] // 2, *shape[1:]))
        self.node("Concat", index, self.node("Floor", "mean"), axis=1)

    def _convolution(self, value: str, weight: NDArray[Any], bias: NDArray[Any], **geometry: Any) -> str:
        """A convolution; input channels beyond the last whole block get one of their own.

        24 channels then take three quarters of the time of 32. A 1x1 kernel is too cheap for that: there the
        two more operators cost more.
        """
        size, kernel = weight.shape[1:3]
        whole = size - size % BLOCK
        offset = self.constant("bias", bias)
        if whole in (0, size) or kernel == 1:
            return self.node("Conv", value, self.constant("weight", weight), offset, **geometry)
        blocks, rest = f"{self.prefix}.blocks", f"{self.prefix}.rest"
        sizes = self.constant("sizes", (whole, size - whole), np.int64)
        self.nodes.append(helper.make_node("Split", [value, sizes], [blocks, rest], axis=1))
        of_blocks = self.constant("weight", weight[:, :whole])
        of_rest = self.constant("weight_of_rest", weight[:, whole:])
        added = self.node("Conv", rest, of_rest, **geometry)
        return self.node("Add", self.node("Conv", blocks, of_blocks, offset, **geometry), added)

    def _clipped(self, layer: Layer, value: str) -> str:
        if layer.low <= -ACCUMULATOR_LIMIT and layer.high >= ACCUMULATOR_LIMIT:
            return value  # no sum is so large
        return self.node("Clip", value, self.constant("low", layer.low), self.constant("high", layer.high))

    def _reshaped(self, name: str, value: str, shape: Shape) -> str:
        return self.node("Reshape", value, self.constant(name, shape, np.int64))


def _scale(layer: Layer) -> NDArray[np.float64]:
    """2**-shift of each channel."""
    return np.exp2(-np.broadcast_to(layer.shift, layer.bias.shape).astype(np.float64))


def _compare_integers(network: IntegerNetwork, shape: tuple[int, int, int], path: Path) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"], enable_fallback=0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        z = rng.integers(-127, 128, shape, dtype=np.int32)
        (actual,) = session.run(None, {"z": z[None].astype(np.float32)})
        if not np.array_equal(actual[0].astype(np.int32), network(z)):
            raise GraphError(f"{path.name}: the graph differs from its NumPy definition")
