"""Half graphs: float16 except in GDN, float32 inputs and outputs, near their originals, found by hash."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, shape_inference
from PIL import Image

from export.__main__ import main
from export.errors import GraphError
from export.graphs.fp16 import to_half, write_half_graph
from export.graphs.onnx_file import save
from runtime.bundle import load
from runtime.engines import EngineOptions, OnnxGraph, open_engine
from runtime.engines.precision import half_graph
from runtime.errors import EngineError
from tests.tiny_bundle import make_tiny_bundle, tiny_images

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every value of a graph."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {v.name: v.type.tensor_type.elem_type for v in values} | {
        i.name: i.data_type for i in graph.initializer
    }


def run(path: Path, **inputs: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, inputs)


def gdn(x: str, y: str, inverse: bool) -> list[onnx.NodeProto]:
    """y = x / (beta + gamma |x|), or its inverse, in the nodes of our exports."""
    return [
        helper.make_node("Abs", [x], [f"{y}.abs"]),
        helper.make_node("Conv", [f"{y}.abs", "gamma", "beta"], [f"{y}.norm"]),
        helper.make_node("Mul" if inverse else "Div", [x, f"{y}.norm"], [y]),
    ]


@pytest.fixture(params=[False, True], ids=["GDN", "inverse GDN"])
def head(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """image -> convolution -> GDN -> convolution -> y, and z from an |y| that belongs to no GDN."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Sub", ["image", "mean"], ["centred"]),
        helper.make_node("Conv", ["centred", "w1"], ["a"], strides=[2, 2]),
        *gdn("a", "b", inverse=request.param),
        helper.make_node("Conv", ["b", "w2"], ["y"]),
        helper.make_node("Abs", ["y"], ["magnitude"]),
        helper.make_node("Concat", ["y", "magnitude"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "w3"], ["z"]),
    ]
    weights = {
        "mean": rng.random((1, 3, 1, 1)), "w1": rng.normal(0, 1, (8, 3, 4, 4)),
        "gamma": rng.random((8, 8, 1, 1)), "beta": 1 + rng.random(8),
        "w2": rng.normal(0, 1, (6, 8, 1, 1)), "w3": rng.normal(0, 1, (4, 12, 1, 1)),
    }  # fmt: skip
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    shapes = {"image": (1, 3, 16, 16), "y": (1, 6, 7, 7), "z": (1, 4, 7, 7)}
    infos = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "head", infos[:1], infos[1:], constants)
    path = tmp_path / "head.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_only_gdn_stays_in_float32(head: Path) -> None:
    half = onnx.load(write_half_graph(OnnxGraph.of_file(head)))
    types = types_of(half)
    assert {n.output[0] for n in half.graph.node if types[n.output[0]] == FLOAT and n.op_type != "Cast"} == {
        "b.abs", "b.norm", "b",
    }  # fmt: skip
    assert {name for name, kind in types.items() if name.split(".")[0] in ("w1", "w2", "w3")} == {
        "w1.half", "w2.half", "w3.half",
    }  # fmt: skip
    assert types["gamma"] == types["beta"] == FLOAT
    assert [types[v.name] for v in (*half.graph.input, *half.graph.output)] == [FLOAT] * 3
    assert [v.name for v in half.graph.output] == ["y", "z"]


def test_the_results_are_near_and_not_the_same(head: Path) -> None:
    """Half precision has 11 bits; a graph still in float32 would be 1e-6 away."""
    image = np.random.default_rng(0).random((1, 3, 16, 16), dtype=np.float32)
    results = zip(
        run(head, image=image), run(write_half_graph(OnnxGraph.of_file(head)), image=image), strict=True
    )
    for expected, actual in results:
        error = np.abs(actual - expected).max() / np.abs(expected).max()
        assert 1e-5 < error <= 5e-3


def test_weights_that_are_stored_in_half_lose_nothing_more(head: Path) -> None:
    """The shipped form, large weights in 16 bits behind a cast, gives the same half graph."""
    model = onnx.load(head)
    rounded = onnx.load(head)
    for initializer in rounded.graph.initializer:
        array = numpy_helper.to_array(initializer)
        initializer.CopyFrom(
            numpy_helper.from_array(array.astype(np.float16).astype(np.float32), initializer.name)
        )
    stored = onnx.ModelProto()
    stored.CopyFrom(rounded)
    (w1,) = (i for i in stored.graph.initializer if i.name == "w1")
    w1.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(w1).astype(np.float16), "w1.half"))
    stored.graph.node.insert(0, helper.make_node("Cast", ["w1.half"], ["w1"], to=FLOAT))
    assert to_half(stored) == to_half(rounded) != to_half(model)


def test_a_changed_original_has_no_half_graph_until_it_is_made(tmp_path: Path) -> None:
    bundle = load(make_tiny_bundle(tmp_path, "fp", robust=True))
    head, options = bundle.path("head"), EngineOptions(precision="float16")
    with pytest.raises(EngineError, match="python -m export fp16"):
        open_engine(head, options)
    first = write_half_graph(OnnxGraph.of_file(head))
    assert first == half_graph(OnnxGraph.of_file(head))
    assert open_engine(head, options).precision == "float16"
    shutil.copy(bundle.path("shield"), head)
    with pytest.raises(EngineError, match="python -m export fp16"):
        open_engine(head, options)
    second = write_half_graph(OnnxGraph.of_file(head))
    assert second != first and not first.exists()


def test_the_prior_and_the_server_stay_in_float32(tiny_bundles: dict[str, Path]) -> None:
    bundle = load(tiny_bundles["mshp"])
    for role in ("h_s", "restore", "tail"):
        assert open_engine(bundle.path(role), EngineOptions(precision="float16")).precision == "float32"


def graph_of(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    infos = [[helper.make_tensor_value_info(name, FLOAT, (1, 1, 2, 2))] for name in ("x", "y")]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    return helper.make_model(
        helper.make_graph(nodes, "g", *infos, constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


def test_weights_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    save(graph_of([node], {"w": np.float32([1e5])}), tmp_path / "head.onnx")
    with pytest.raises(GraphError, match=r"head.onnx: w.half.*cannot hold"):
        write_half_graph(OnnxGraph.of_file(tmp_path / "head.onnx"))


def test_operators_without_a_float16_form_are_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["seed"]),
        helper.make_node("Resize", ["seed", "", "scales"], ["y"]),
    ]
    save(graph_of(nodes, {"scales": np.float32([1, 1, 1, 1])}), tmp_path / "head.onnx")
    with pytest.raises(GraphError, match=r"head.onnx.*without a float16 form"):
        write_half_graph(OnnxGraph.of_file(tmp_path / "head.onnx"))


def test_the_command_writes_half_graphs_and_prints_their_drift(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_tiny_bundle(tmp_path, "mshp", robust=True)
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for number, image in enumerate(tiny_images(4)):
        Image.fromarray(image).save(photographs / f"{number}.png")
    before = load(path).id
    assert main(["fp16", str(path), "--data", str(photographs), "--threads", "1"]) == 0
    head, shield = capsys.readouterr().out.splitlines()
    assert head.startswith("head: 4 images") and shield.startswith("shield: 4 images")
    assert "same likeliest class in 100.00 %" in head
    assert sorted(p.name.split("-fp16-")[0] for p in path.glob("*-fp16-*.onnx")) == ["head", "shield"]
    assert load(path).id == before
