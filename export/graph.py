"""torch module -> ONNX file, proven: checked by ONNX's checker and compared with the module it came from."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper
from torch import nn

from export.errors import GraphError
from runtime.exact import LEAK, IntegerNetwork, Layer

OPSET = 18
TOLERANCE = 1e-4  # of the largest output: float32 in another order of summation
HALF_FROM = 1024  # elements: smaller constants stay in float32


def round_to_half(module: nn.Module) -> None:
    """Round large parameters to what 16 bits hold, in place, so that ``write_graph`` stores them exactly."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() >= HALF_FROM:
                parameter.copy_(parameter.half().float())


def write_graph(
    module: nn.Module, example: torch.Tensor, path: Path, inputs: list[str], outputs: list[str]
) -> None:
    """Export ``module`` at the static shape of ``example``, as one file, weights in 16 bits where they fit.

    Arithmetic stays float32: a Cast behind each stored constant is folded when an engine opens the graph.
    Raises GraphError when the graph differs from the module by more than ``TOLERANCE``.
    """
    module = module.eval()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module, (example,), dynamo=True, opset_version=OPSET, external_data=False,
            input_names=inputs, output_names=outputs, verbose=False,
        )  # fmt: skip
    assert program is not None
    save(_anonymous(store_in_half(program.model_proto)), path)
    compare(module, example, path)


def save(model: onnx.ModelProto, path: Path) -> None:
    """Check a model fully and write it."""
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def compare(module: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Run module and graph on ``example``; raise GraphError when they differ."""
    with torch.no_grad():
        expected = module(example)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    if given.shape != list(example.shape):
        raise GraphError(f"{path.name}: takes {given.shape}, the module {list(example.shape)}")
    actual = session.run(None, {given.name: example.numpy()})
    for name, e, a in zip(
        [o.name for o in session.get_outputs()],
        expected if isinstance(expected, tuple) else (expected,),
        actual,
        strict=True,
    ):
        if e.shape != a.shape:
            raise GraphError(f"{path.name}: output {name} is {a.shape}, the module's {tuple(e.shape)}")
        error = float(np.abs(e.numpy() - a).max() / max(np.abs(e.numpy()).max(), 1e-12))
        if not error <= TOLERANCE:
            raise GraphError(f"{path.name}: output {name} differs from the torch module by {error:.1e}")


def store_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store each large float32 constant that 16 bits hold exactly as float16, with a Cast behind it."""
    casts = []
    for initializer in model.graph.initializer:
        values = numpy_helper.to_array(initializer)
        if values.dtype != np.float32 or values.size < HALF_FROM:
            continue
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = casts + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _anonymous(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes: stack traces with paths of this machine, half of a small file."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.doc_string = ""
    return model


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
    if network.rungs is not None:
        _look_up(network.rungs, value, nodes, constants)
    nodes[-1].output[0] = "parameters"
    out_shape = network(np.zeros(shape, dtype=np.int32)).shape
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
    rungs: NDArray[np.int32], value: str, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]
) -> None:
    """Scales -> Clip -> Gather; means stay as they are."""
    of = {"low": 0, "high": len(rungs) - 1, "table": rungs}
    constants += [
        numpy_helper.from_array(np.asarray(array, dtype=np.float32), f"rungs.{name}")
        for name, array in of.items()
    ]
    nodes += [
        helper.make_node("Split", [value], ["rungs.scale", "rungs.mean"], axis=1, num_outputs=2),
        helper.make_node("Clip", ["rungs.scale", "rungs.low", "rungs.high"], ["rungs.inside"]),
        helper.make_node("Cast", ["rungs.inside"], ["rungs.rung"], to=onnx.TensorProto.INT32),
        helper.make_node("Gather", ["rungs.table", "rungs.rung"], ["rungs.index"], axis=0),
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
