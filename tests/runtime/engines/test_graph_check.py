"""Graphs that no engine should open are refused by us, with their reason, before an engine sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from runtime.bundle import INSTALLED, Bundle, installed, load
from runtime.engines import ENGINES, EngineOptions, OnnxGraph, open_engine
from runtime.engines.graph_check import check_graph
from runtime.engines.wire import MOST_FIELDS, Reader, integers
from runtime.errors import BundleError, EngineError

ONE = EngineOptions(threads=1)


@pytest.fixture(scope="module")
def tiny(tiny_bundles: dict[str, Path]) -> Bundle:
    return load(tiny_bundles["mshp"])


def parsed(tiny: Bundle, role: str = "head") -> onnx.ModelProto:
    return onnx.load_model_from_string(tiny.read(role))


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", "4")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def external_by_entries(model: onnx.ModelProto) -> None:
    external(model)
    model.graph.initializer[0].ClearField("data_location")


def external_in_an_attribute(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(3, np.float32)))
    node.attribute[0].t.data_location = TensorProto.EXTERNAL
    model.graph.node.insert(0, node)


def external_and_sparse(model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.data_location = TensorProto.EXTERNAL


def loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.insert(0, helper.make_node("Loop", ["m", "c"], ["x"], body=body))


def function(model: onnx.ModelProto) -> None:
    model.functions.add().name = "f"


def other_domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def huge_padding(model: onnx.ModelProto) -> None:
    (convolution,) = (n for n in model.graph.node if n.op_type == "Conv" and "w_y" in n.input)
    convolution.attribute.append(helper.make_attribute("pads", [1 << 40] * 4))


def huge_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [1 << 40]


def negative_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-1, 4]


def short_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"\0" * 4


def empty(model: onnx.ModelProto) -> None:
    del model.graph.node[:]


WRONG: dict[Callable[[onnx.ModelProto], None], str] = {
    external: "external data",
    external_by_entries: "external data",
    external_in_an_attribute: "external data",
    external_and_sparse: "external data",
    loop: "has a graph inside",
    function: "functions",
    other_domain: r"domain 'com\.microsoft'",
    huge_padding: "pads of its 'Conv'",
    huge_constant: "impossible shape",
    negative_constant: "impossible shape",
    short_constant: "bytes for",
    empty: "no nodes",
}


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__)
def test_what_no_engine_should_open_is_refused_by_us(
    change: Callable[[onnx.ModelProto], None], tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = parsed(tiny)
    change(model)
    monkeypatch.setattr("runtime.engines.registry._open", None)  # no engine is asked
    with pytest.raises(BundleError, match=f"tiny-mshp: its head: cannot open it: .*{WRONG[change]}"):
        open_engine(dataclasses.replace(tiny.graph("head"), model=model.SerializeToString()), ONE)
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EngineError, match=WRONG[change]):
        open_engine(tmp_path / "x.onnx", ONE)


@pytest.mark.parametrize("verb", ["takes", "returns"])
def test_other_shapes_than_the_manifests_are_refused(verb: str, tiny: Bundle) -> None:
    graph = tiny.graph("head")
    assert graph.interface is not None
    other = {"takes": "inputs", "returns": "outputs"}[verb]
    interface = dataclasses.replace(graph.interface, **{other: ((1, 3, 16, 16),)})
    with pytest.raises(BundleError, match=f"its head: cannot open it: it {verb}"):
        open_engine(dataclasses.replace(graph, interface=interface), ONE)
    model = parsed(tiny)
    values = model.graph.input if verb == "takes" else model.graph.output
    values[0].type.tensor_type.elem_type = TensorProto.INT32
    with pytest.raises(BundleError, match=f"it {verb}"):
        open_engine(dataclasses.replace(graph, model=model.SerializeToString()), ONE)


def test_an_open_batch_is_one_frame(tiny: Bundle) -> None:
    model = parsed(tiny)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    check_graph(dataclasses.replace(tiny.graph("head"), model=model.SerializeToString()))


@pytest.mark.parametrize("name", [n for n in installed() if n.endswith(("-r1", "-r1-robust"))])
def test_shipped_graphs_pass(name: str) -> None:
    bundle = load(name)
    for role, entry in bundle.manifest.files.items():
        if entry.path.endswith(".onnx"):
            check_graph(bundle.graph(role))


def test_other_formats_are_refused() -> None:
    for model in (b"", b"nonsense", b"\x18\0\0\0ORTM" + bytes(100), bytes(100), b"\x0b" * 100):
        with pytest.raises(EngineError, match=r"not (an )?ONNX"):
            check_graph(OnnxGraph(Path("x.onnx"), model))


def test_no_file_has_more_fields_than_can_be_read_in_time() -> None:
    with pytest.raises(EngineError, match="fields"):
        check_graph(OnnxGraph(Path("x.onnx"), b"\x08\0" * (MOST_FIELDS + 1)))


@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_an_engine_error(data: bytes) -> None:
    try:
        found = list(Reader().fields(memoryview(data)))
    except EngineError:
        return
    assert sum(len(v) for _, v in found if isinstance(v, memoryview)) <= len(data)


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=5))
@settings(max_examples=50)
def test_integers_are_those_of_protobuf(values: list[int]) -> None:
    for packed in (False, True):
        message = onnx.AttributeProto(ints=values) if not packed else None
        data = (
            message.SerializeToString()
            if message
            else b"".join(TensorProto(dims=[value]).SerializeToString()[1:] for value in values)
        )
        fields = [v for _, v in Reader().fields(memoryview(data))] if message else [memoryview(data)]
        assert [n for value in fields for n in integers(value)] == values


def test_what_is_opened_is_what_was_verified(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    """The files are replaced once the bundle is loaded: small ones are there, large ones are found out."""
    from shutil import copytree

    copytree(tiny_bundles["mshp"].parent, tmp_path / "b")
    bundle = load(tmp_path / "b" / "tiny-mshp")
    for role in bundle.manifest.files:
        bundle.path(role).write_bytes(b"something else")
    open_engine(bundle.graph("h_s"), ONE)
    bundle.energy()
    forgetful = dataclasses.replace(bundle, kept={})
    for role in bundle.manifest.files:
        with pytest.raises(BundleError, match="install it again"):
            forgetful.read(role)


def test_an_engine_of_files_gets_a_private_copy(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without ``open_bytes``, as other packages may offer it."""
    from types import SimpleNamespace

    from runtime.engines import onnxruntime_cpu

    seen: list[Path] = []

    def open_graph(graph: Path, options: EngineOptions) -> object:
        seen.append(graph)
        return onnxruntime_cpu.open_graph(graph, options)

    module = SimpleNamespace(open_graph=open_graph, missing=lambda: None)
    monkeypatch.setitem(ENGINES, "files", "files")
    monkeypatch.setattr("runtime.engines.registry.import_module", lambda name: module)
    graph = tiny.graph("head")
    engine = open_engine(graph, EngineOptions("files"))
    (copy,) = seen
    assert copy != graph.path and copy.name == "head.onnx" and copy.read_bytes() == graph.model
    assert not copy.parent.stat().st_mode & 0o077
    del engine
    assert not copy.exists()


def test_the_first_run_finds_a_graph_that_is_none(tiny: Bundle) -> None:
    model = parsed(tiny)
    for tensor in model.graph.initializer:
        if tensor.name == "w_y":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.nan, "w_y"))
    engine = open_engine(dataclasses.replace(tiny.graph("head"), model=model.SerializeToString()), ONE)
    with pytest.raises(BundleError, match="its head returns what is not a number"):
        engine.warm_up()


def test_installed_bundles_are_found_where_they_were() -> None:
    assert INSTALLED.name == "bundles" and INSTALLED.parent.name == "runtime"
