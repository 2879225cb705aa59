"""Graph models of TensorFlow.js: a small one of the known operators, against the same network in torch."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from export.errors import GraphError
from export.weights.runners import differences
from export.weights.tfjs import convert

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype("<f4")
BIAS = np.arange(4, dtype="<f4") / 7


def text(value: str) -> dict[str, str]:
    return {"s": base64.b64encode(value.encode()).decode()}


def whole(*numbers: int) -> dict[str, Any]:
    return {"list": {"i": [str(number) for number in numbers]}}


def node(name: str, op: str, *inputs: str, **attr: Any) -> dict[str, Any]:
    return {"name": name, "op": op, "input": list(inputs), "attr": attr}


class GraphModel:
    """A graph model in the making: nodes and constants."""

    def __init__(self) -> None:
        dims = {"shape": {"dim": [{"size": str(n)} for n in (1, 2, 9, 9)]}}
        self.nodes = [node("image", "Placeholder", shape=dims)]
        self.constants: dict[str, NDArray[Any]] = {}

    def constant(self, name: str, values: Any, dtype: str = "<i4") -> str:
        self.constants[name] = np.asarray(values, dtype)
        self.nodes.append(node(name, "Const"))
        return name

    def add(self, name: str, op: str, *inputs: str, **attr: Any) -> str:
        self.nodes.append(node(name, op, *inputs, **attr))
        return name

    def files(self, half: bool = False) -> tuple[bytes, bytes]:
        """The JSON and the weights; half: float32 constants are stored as float16."""
        entries, data = [], b""
        for name, values in self.constants.items():
            kind = {"f": "float32", "i": "int32"}[values.dtype.kind]
            entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "dtype": kind}
            if half and kind == "float32":
                entry["quantization"] = {"dtype": "float16"}
                values = values.astype("<f2")
            entries.append(entry)
            data += values.tobytes()
        described = {"modelTopology": {"node": self.nodes}, "weightsManifest": [{"weights": entries}]}
        return json.dumps(described).encode(), data


def detector_like() -> GraphModel:
    """Image NCHW -> a padded, strided convolution, pooled, doubled in size, split, joined -> rows."""
    g = GraphModel()
    g.constant("to_nhwc", [0, 2, 3, 1])
    g.constant("to_nchw", [0, 3, 1, 2])
    g.add("padded", "Pad", "image", g.constant("pads", [[0, 0], [0, 0], [1, 1], [1, 1]]))
    g.add("nhwc", "Transpose", "padded", "to_nhwc")
    g.constant("kernel", KERNEL, "<f4")
    g.add("conv", "Conv2D", "nhwc", "kernel", padding=text("VALID"), strides=whole(1, 2, 2, 1))
    g.add("biased", "AddV2", "conv", g.constant("bias", BIAS, "<f4"))
    g.add("leaky", "LeakyRelu", "biased", alpha={"f": 0.1})
    g.add(
        "pooled",
        "MaxPool",
        "leaky",
        padding=text("VALID"),
        ksize=whole(1, 2, 2, 1),
        strides=whole(1, 1, 1, 1),
    )
    g.add("sized", "ResizeBilinear", "pooled", g.constant("sides", [8, 8]),
          half_pixel_centers={"b": True}, align_corners={"b": False})  # fmt: skip
    g.add("parts", "SplitV", "sized", g.constant("sizes", [1, 3]), g.constant("axis", 3))
    g.add("joined", "ConcatV2", "parts:1", "parts", "axis")
    g.add("scores", "Sigmoid", "joined")
    g.add("nchw", "Transpose", "scores", "to_nchw")
    g.add("rows", "Reshape", "nchw", g.constant("shape", [1, 4, 64]))
    g.add("out", "Identity", "rows")
    return g


def by_torch(image: NDArray[np.float32], kernel: NDArray[np.float32] = KERNEL) -> NDArray[np.float32]:
    weight, bias = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()), torch.from_numpy(BIAS)
    x = functional.leaky_relu(functional.conv2d(torch.from_numpy(image), weight, bias, 2, 1), 0.1)
    x = functional.interpolate(functional.max_pool2d(x, 2, 1), size=(8, 8), mode="bilinear")
    return torch.cat([x[:, 1:], x[:, :1]], 1).sigmoid().reshape(1, 4, 64).numpy()


def test_a_graph_computes_what_torch_does() -> None:
    image = np.random.default_rng(1).normal(size=(1, 2, 9, 9)).astype(np.float32)
    topology, weights = detector_like().files()
    model = convert(topology, weights, "tiny")
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {"image": image})
    assert np.allclose(found, by_torch(image), atol=1e-5)
    assert {"conv0.weight", "conv0.bias"} <= {i.name for i in model.graph.initializer}
    runner, differing = differences(topology, weights, model, image)
    assert runner and max(differing.values()) < 1e-5


def test_weights_may_be_of_half_precision() -> None:
    image = np.random.default_rng(2).normal(size=(1, 2, 9, 9)).astype(np.float32)
    model = convert(*detector_like().files(half=True), "tiny")
    (found,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"image": image})
    rounded = KERNEL.astype("<f2").astype("<f4")
    assert np.allclose(found, by_torch(image, rounded), atol=1e-3)


def test_what_is_not_known_is_named() -> None:
    g = detector_like()
    g.nodes[-1]["op"] = "Einsum"
    with pytest.raises(GraphError, match="no conversion of TensorFlow's Einsum"):
        convert(*(g.files()), "tiny")
    g = detector_like()
    topology, weights = g.files()
    with pytest.raises(GraphError, match="bytes, the graph describes"):
        convert(topology, weights + b"\0", "tiny")


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        ("conv", {"padding": text("SAME"), "strides": whole(1, 2, 2, 1)}),
        ("pooled", {"padding": text("SAME"), "ksize": whole(1, 2, 2, 1), "strides": whole(1, 1, 1, 1)}),
        ("sized", {"half_pixel_centers": {}, "align_corners": {}}),
    ],
)
def test_other_uses_of_an_operator_are_refused(place: str, changed: dict[str, Any]) -> None:
    g = detector_like()
    (found,) = (n for n in g.nodes if n["name"] == place)
    found["attr"] = changed
    with pytest.raises(GraphError, match=place):
        convert(*g.files(), "tiny")
