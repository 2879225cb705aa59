"""Every graph that we ship or export is parsed by NVIDIA's parser and built strongly typed, without a GPU.

TensorRT for RTX has TensorRT's API, parser and builder. What it builds is for other GPUs and is not run here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, shape_inference
from PIL import Image

from export.graphs.fp16 import to_half
from export.graphs.onnx_file import save
from export.paper.architectures import ARCHITECTURES, Architecture, PriorName
from export.paper.build import Imported, write_bundle
from runtime.bundle import INSTALLED, load
from runtime.engines.precision import HALVED
from runtime.engines.tensorrt.build import BuildSettings, build
from runtime.errors import EngineError
from tests.export.paper.paper_networks import TINY

WHY = "TensorRT for RTX is not installed (wheels for x86-64 Linux only): pip install tensorrt-rtx-cu13"


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason=WHY)


def shipped() -> list[Path]:
    """The graphs of all bundles of this installation, each once."""
    different = {}
    for path in sorted(INSTALLED.rglob("*.onnx")):
        different.setdefault(hashlib.sha256(path.read_bytes()).digest(), path)
    return list(different.values())


def built(trt: Any, graph: bytes, name: str) -> None:
    """Build a graph, and compare its inputs and outputs with what the ONNX file says."""
    plan, _ = build(trt, graph, name, BuildSettings(), timing=None)
    said = onnx.load_from_string(graph).graph
    assert plan.inputs == tuple(value.name for value in said.input)
    assert plan.outputs == tuple(value.name for value in said.output)
    weights = sum(
        np.prod(i.dims) * (2 if i.data_type == onnx.TensorProto.FLOAT16 else 4) for i in said.initializer
    )
    assert len(plan.engine) > 0.9 * weights, "the engine is smaller than its weights"
    network = trt.Builder(trt.Logger()).create_network(
        1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    )
    assert trt.OnnxParser(network, trt.Logger()).parse(graph)
    for number, value in enumerate(said.output):
        output = network.get_output(number)
        assert tuple(output.shape) == tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        assert output.dtype == trt.DataType.FLOAT


@pytest.mark.parametrize("graph", shipped(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_graphs(trt: Any, graph: Path) -> None:
    built(trt, graph.read_bytes(), graph.name)


@pytest.mark.parametrize(
    "graph", [p for p in shipped() if p.stem in HALVED], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_shipped_heads_in_half_precision(trt: Any, graph: Path) -> None:
    built(trt, to_half(onnx.load(graph)).SerializeToString(), graph.name)


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photograph") / "noise.png"
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def paper_bundle(architecture: Architecture, prior: PriorName, photograph: Path, out: Path) -> Path:
    """The bundle of a network with seeded random weights, as ``export import`` writes it."""
    torch.manual_seed(0)
    network = architecture.build(prior)
    return write_bundle(Imported(network, architecture, "paper", None, "seed 0", "test"), [photograph], out)


def every_graph(trt: Any, folder: Path) -> None:
    roles = [role for role, entry in load(folder).manifest.files.items() if entry.path.endswith(".onnx")]
    for role in roles:
        graph = load(folder).path(role)
        built(trt, graph.read_bytes(), graph.name)
    head = load(folder).path("head")
    built(trt, to_half(onnx.load(head)).SerializeToString(), head.name)


def test_a_small_network_with_the_papers_bottleneck(trt: Any, photograph: Path, tmp_path: Path) -> None:
    folder = paper_bundle(TINY, "mshp", photograph, tmp_path)
    every_graph(trt, folder)
    half = shape_inference.infer_shapes(to_half(onnx.load(folder / "head.onnx"))).graph
    types = {value.name: value.type.tensor_type.elem_type for value in half.value_info}
    outputs = [[types.get(n.output[0]) for n in half.node if n.op_type == kind] for kind in ("Conv", "Div")]
    assert outputs[1] == [onnx.TensorProto.FLOAT] * 2  # both GDN, as torch exports them, were found
    assert outputs[0].count(onnx.TensorProto.FLOAT) == 2 < len(outputs[0])


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["fp", "mshp"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_papers_networks(trt: Any, name: str, prior: PriorName, photograph: Path, tmp_path: Path) -> None:
    every_graph(trt, paper_bundle(ARCHITECTURES[name], prior, photograph, tmp_path))


def test_what_tensorrt_cannot_parse_is_named(trt: Any, tmp_path: Path) -> None:
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (2, 2)) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Det", ["x"], ["y"])], "g", info[:1], [])
    graph.output.append(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ()))
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
        tmp_path / "x.onnx",
    )
    with pytest.raises(EngineError, match=r"x.onnx.*cannot parse it.*Det"):
        build(trt, (tmp_path / "x.onnx").read_bytes(), "x.onnx", BuildSettings(), timing=None)


def test_what_is_no_graph_is_an_error(trt: Any) -> None:
    with pytest.raises(EngineError, match="cannot parse it"):
        build(trt, b"nonsense", "x.onnx", BuildSettings(), timing=None)
