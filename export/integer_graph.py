"""An exact network -> ONNX file, compared with its NumPy definition. Without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from export.errors import GraphError
from export.onnx_file import OPSET, save, store_in_half
from runtime.exact import LEAK, IntegerNetwork, Layer


def write_integer_network(network: IntegerNetwork, shape: tuple[int, int, int], path: Path) -> None:
    """An exact network as a float32 graph whose every value is an integer; see ``runtime.exact``.

    ``IntegerNetwork`` has asserted the bound on its accumulators. Raises GraphError when the graph differs
    from the NumPy definition anywhere on random inputs.
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    value = "z"
    for number, layer in enumerate(network.layers):
        value = _integer_layer(layer, f"h_s.{number}", value, nodes, constants)
    out_shape = network(np.zeros(shape, dtype=np.int32)).shape
    if network.rungs is not None:
        of_scales = (1, out_shape[0] // 2, *out_shape[1:])
        _look_up(network.rungs, of_scales, value, nodes, constants)
    nodes[-1].output[0] = "parameters"
    graph = helper.make_graph(
        nodes,
        "h_s",
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, (1, *shape))],
        [helper.make_tensor_value_info("parameters", onnx.TensorProto.FLOAT, (1, *out_shape))],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    save(store_in_half(model), path)
    _compare_integers(network, shape, path)


def _integer_layer(
    layer: Layer, prefix: str, value: str, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]
) -> str:
    """Convolution -> Round -> times 2**-shift -> Floor -> Clip. Returns the name of the result.

    A leaky layer takes the larger of that and the same with its slope.
    """

    def constant(name: str, array: ArrayLike) -> str:
        constants.append(numpy_helper.from_array(np.asarray(array, dtype=np.float32), f"{prefix}.{name}"))
        return f"{prefix}.{name}"

    def node(kind: str, inputs: list[str], part: str = "", **attributes: Any) -> str:
        output = f"{prefix}{part}.{kind}"
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    geometry: dict[str, Any] = {"strides": [layer.stride] * 2, "pads": [layer.padding] * 4}
    if layer.transposed:
        geometry["output_padding"] = [layer.output_padding] * 2
    weights = [constant("weight", layer.weight), constant("bias", layer.bias)]
    kind = "ConvTranspose" if layer.transposed else "Conv"
    value = node(kind, [value, *weights], **geometry)
    value = node("Round", [value])
    shift = np.asarray(layer.shift, dtype=np.float64)
    shape = () if shift.ndim == 0 else (-1, 1, 1)
    sums, scale = value, np.exp2(-shift).reshape(shape)
    value = node("Floor", [node("Mul", [sums, constant("scale", scale)])])
    if layer.leaky:
        slope = constant("slope", LEAK[0] * np.exp2(-LEAK[1]) * scale)
        leak = node("Floor", [node("Mul", [sums, slope], ".leak")], ".leak")
        value = node("Max", [value, leak])
    low, high = constant("low", np.float32(layer.low)), constant("high", np.float32(layer.high))
    return node("Clip", [value, low, high])


def _look_up(
    rungs: NDArray[np.int32],
    shape: tuple[int, ...],
    value: str,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
) -> None:
    """Scales -> Clip -> GatherElements; means stay as they are.

    Not Gather, which copies each number as if it were a row: ONNX Runtime takes 9 times as long for it.
    """
    of = {"low": 0, "high": len(rungs) - 1, "table": rungs}
    constants += [
        numpy_helper.from_array(np.asarray(array, dtype=np.float32), f"rungs.{name}")
        for name, array in of.items()
    ]
    constants += [
        numpy_helper.from_array(np.array(to, dtype=np.int64), f"rungs.{name}")
        for name, to in (("flat", [-1]), ("shape", shape))
    ]
    nodes += [
        helper.make_node("Split", [value], ["rungs.scale", "rungs.mean"], axis=1, num_outputs=2),
        helper.make_node("Clip", ["rungs.scale", "rungs.low", "rungs.high"], ["rungs.inside"]),
        helper.make_node("Cast", ["rungs.inside"], ["rungs.rung"], to=onnx.TensorProto.INT32),
        helper.make_node("Reshape", ["rungs.rung", "rungs.flat"], ["rungs.line"]),
        helper.make_node("GatherElements", ["rungs.table", "rungs.line"], ["rungs.found"], axis=0),
        helper.make_node("Reshape", ["rungs.found", "rungs.shape"], ["rungs.index"]),
        helper.make_node("Concat", ["rungs.index", "rungs.mean"], ["parameters"], axis=1),
    ]


def _compare_integers(network: IntegerNetwork, shape: tuple[int, int, int], path: Path) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for _ in range(20):
        z = rng.integers(-127, 128, shape, dtype=np.int32)
        (actual,) = session.run(None, {"z": z[None].astype(np.float32)})
        if not np.array_equal(actual[0].astype(np.int32), network(z)):
            raise GraphError(f"{path.name}: the graph differs from its NumPy definition")
