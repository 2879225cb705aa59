"""The TensorRT engine against a fake of TensorRT, in its 10.3 and its 11 form, that computes on the CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import load
from runtime.cli.main import main
from runtime.engines import EngineOptions, GpuEngine, missing, open_engine
from runtime.engines.tensorrt import engine
from runtime.engines.tensorrt.plan_cache import PlanCacheWarning
from runtime.errors import EngineError, EngineUnavailable
from tests.runtime.engines.tensorrt.fake import FakeGpu, FakeTensorRt, install

OPTIONS = EngineOptions("tensorrt")
VERSIONS = ("10.3.0", "11.4.1")


@pytest.fixture
def head(tiny_bundles: dict[str, Path]) -> Path:
    return load(tiny_bundles["mshp"]).path("head")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(params=VERSIONS)
def trt(request: pytest.FixtureRequest, cache: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    return install(monkeypatch, cache, FakeTensorRt(FakeGpu(), request.param))


def frames(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).random((count, 1, 3, 32, 32), dtype=np.float32))


def test_it_describes_its_graph(trt: FakeTensorRt, head: Path) -> None:
    engine = open_engine(head, OPTIONS)
    assert isinstance(engine, GpuEngine)
    assert engine.inputs == (("image", (1, 3, 32, 32)),)
    assert engine.outputs == ("y", "z") and engine.output_shapes == ((1, 6, 4, 4), (1, 2, 2, 2))
    assert engine.device == "Orin" and engine.precision == "float32"


def test_it_builds_in_order_strongly_typed_and_without_tf32(trt: FakeTensorRt, head: Path) -> None:
    open_engine(head, OPTIONS)
    typed = 1 << 1 if trt.__version__.startswith("10") else 0
    assert trt.calls == [
        ("create_network", typed), ("parse",), ("workspace", 256 << 20), ("clear TF32",),
        ("create_timing_cache", b""), ("set_timing_cache", False), ("build",), ("serialize_timing",),
        ("deserialize",),
    ]  # fmt: skip


def test_it_tells_that_it_builds(
    trt: FakeTensorRt, head: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.engines.tensorrt.build.BETWEEN_LINES", 0.0)
    open_engine(head, OPTIONS)
    shown = capsys.readouterr()
    assert "head.onnx: TensorRT" in shown.err and "Tactics, 1 of 2" in shown.err and shown.out == ""
    open_engine(head, OPTIONS)
    assert capsys.readouterr().err == ""


def test_without_a_progress_monitor_it_builds_too(trt: FakeTensorRt, head: Path) -> None:
    del trt.IProgressMonitor
    assert open_engine(head, OPTIONS).outputs == ("y", "z")


def test_all_errors_of_the_parser_are_told(trt: FakeTensorRt, head: Path) -> None:
    trt.parse_errors = ["node 3 (Wavelet): unsupported", "node 7: wrong shape"]
    with pytest.raises(EngineError, match=r"head.onnx.*cannot parse.*Wavelet.*node 7"):
        open_engine(head, OPTIONS)


def test_a_failed_build_says_why_and_keeps_nothing(trt: FakeTensorRt, head: Path, cache: Path) -> None:
    trt.build_error = "out of memory"
    with pytest.raises(EngineError, match=r"cannot build it: out of memory$"):
        open_engine(head, OPTIONS)
    assert not cache.exists()


def test_a_fresh_plan_that_does_not_load_is_an_error(trt: FakeTensorRt, head: Path) -> None:
    trt.refuses = 1
    with pytest.raises(EngineError, match="plan refused"):
        open_engine(head, OPTIONS)


def test_a_plan_is_built_once(trt: FakeTensorRt, head: Path) -> None:
    for _ in range(3):
        open_engine(head, OPTIONS)
    assert len(trt.named("build")) == 1 and len(trt.named("deserialize")) == 3


@pytest.mark.parametrize("change", ["version", "gpu", "capability", "graph", "optimisation"])
def test_another_graph_device_version_or_setting_is_built_anew(
    change: str, head: Path, tiny_bundles: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, cache, FakeTensorRt(FakeGpu()))
    open_engine(head, OPTIONS)
    gpu = FakeGpu("Thor" if change == "gpu" else b"Orin", (11, 0) if change == "capability" else (8, 7))
    other = install(monkeypatch, cache, FakeTensorRt(gpu, "10.13.3" if change == "version" else "10.3.0"))
    graph = load(tiny_bundles["fp"]).path("head") if change == "graph" else head
    options = EngineOptions("tensorrt", optimisation="basic") if change == "optimisation" else OPTIONS
    open_engine(graph, options)
    assert len(other.named("build")) == 1


def test_the_next_graph_starts_from_what_this_one_measured(
    trt: FakeTensorRt, head: Path, tiny_bundles: dict[str, Path]
) -> None:
    open_engine(head, OPTIONS)
    open_engine(load(tiny_bundles["mshp"]).path("tail"), OPTIONS)
    assert trt.named("create_timing_cache") == [
        ("create_timing_cache", b""), ("create_timing_cache", b"measured."),
    ]  # fmt: skip


def test_measurements_that_tensorrt_refuses_are_made_anew(
    trt: FakeTensorRt, head: Path, tiny_bundles: dict[str, Path], cache: Path
) -> None:
    open_engine(head, OPTIONS)
    trt.refuses_measurements = True
    open_engine(load(tiny_bundles["mshp"]).path("tail"), OPTIONS)
    assert [known for _, known in trt.named("create_timing_cache")] == [b"", b"measured.", b""]
    (kept,) = cache.glob("*.timing")
    assert kept.read_bytes()[64:] == b"measured."


def test_a_damaged_plan_is_built_anew_and_never_loaded(trt: FakeTensorRt, head: Path, cache: Path) -> None:
    open_engine(head, OPTIONS)
    (plan,) = cache.glob("*.plan")
    damaged = bytearray(plan.read_bytes())
    damaged[-1] ^= 1
    plan.write_bytes(damaged)
    loaded = len(trt.named("deserialize"))
    with pytest.warns(PlanCacheWarning, match="damaged"):
        open_engine(head, OPTIONS)
    assert len(trt.named("build")) == 2 and len(trt.named("deserialize")) == loaded + 1
    open_engine(head, OPTIONS)  # the new one has replaced it
    assert len(trt.named("build")) == 2


def test_a_kept_plan_that_tensorrt_refuses_is_built_anew(trt: FakeTensorRt, head: Path) -> None:
    open_engine(head, OPTIONS)
    trt.refuses = 1
    assert open_engine(head, OPTIONS).outputs == ("y", "z")
    assert len(trt.named("build")) == 2


def test_without_a_place_for_plans_it_still_runs(
    trt: FakeTensorRt, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RATEHOLD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(PlanCacheWarning):
        engine = open_engine(head, OPTIONS)
    (frame,) = frames(1)
    expected = open_engine(head, EngineOptions(threads=1)).run(frame)
    for actual, right in zip(engine.run(frame), expected, strict=True):
        np.testing.assert_array_equal(actual, right)
    assert len(trt.named("build")) == 1 and not (tmp_path / "cache").exists()


def test_it_computes_what_the_cpu_does_before_and_after_the_recording(trt: FakeTensorRt, head: Path) -> None:
    engine, reference = open_engine(head, OPTIONS), open_engine(head, EngineOptions(threads=1))
    for frame in frames(5):
        for actual, expected in zip(engine.run(frame), reference.run(frame), strict=True):
            np.testing.assert_array_equal(actual, expected)
    assert trt.gpu.captures == 1
    assert len(trt.named("execute")) == 2  # one as it is, one into the recording


def test_results_are_the_callers(trt: FakeTensorRt, head: Path) -> None:
    engine = open_engine(head, OPTIONS)
    one, two = frames(2)
    y, _ = engine.run(one)
    kept = y.copy()
    engine.run(two)
    np.testing.assert_array_equal(y, kept)


def test_addresses_are_bound_in_the_order_of_the_graph(trt: FakeTensorRt, head: Path) -> None:
    """The fake engine lists its tensors in another order than the graph."""
    engine = open_engine(head, OPTIONS)
    assert isinstance(engine, GpuEngine)
    image, y, z = (np.zeros(shape, np.float32) for shape in ((1, 3, 32, 32), *engine.output_shapes))
    places = [trt.gpu.place(values) for values in (image, y, z)]
    stream = trt.gpu.stream()
    engine.bind(places[:1], places[1:], int(stream))
    assert trt.named("set_tensor_address") == [
        ("set_tensor_address", name, place) for name, place in zip(("image", "y", "z"), places, strict=True)
    ]
    reference = open_engine(head, EngineOptions(threads=1))
    for frame in frames(4):
        image[:] = frame
        engine.enqueue()
        engine.run(np.zeros_like(frame))  # has addresses of its own
        stream.synchronize()
        for actual, expected in zip((y, z), reference.run(frame), strict=True):
            np.testing.assert_array_equal(actual, expected)
    assert trt.gpu.captures == 2  # of bind's stream and of run's


def test_nothing_is_waited_for_in_enqueue(trt: FakeTensorRt, head: Path) -> None:
    engine, places = bound(trt, head, 77)
    for _ in range(3):
        engine.enqueue()
    assert len(trt.gpu.streams[77].queue) == 3 and not places[1].any()


def test_the_default_stream_is_never_captured(trt: FakeTensorRt, head: Path) -> None:
    engine, _ = bound(trt, head, 0)
    for _ in range(3):
        engine.enqueue()
    assert trt.gpu.captures == 0 and trt.named("execute") == [("execute", 0)] * 3


def test_a_refused_capture_costs_a_warning_once(trt: FakeTensorRt, head: Path) -> None:
    engine, _ = bound(trt, head, 77)
    trt.gpu.fail_capture = True
    engine.enqueue()
    with pytest.warns(UserWarning, match="without a CUDA graph"):
        engine.enqueue()
    engine.enqueue()
    assert trt.gpu.captures == 1 and len(trt.gpu.streams[77].queue) == 3


def test_what_tensorrt_refuses_is_an_engine_error(trt: FakeTensorRt, head: Path) -> None:
    engine, _ = bound(trt, head, 77)
    trt.fails_to_run = True
    with pytest.raises(EngineError, match="TensorRT failed"):
        engine.enqueue()
    trt.refuses_addresses = True
    with pytest.raises(EngineError, match="refuses address"):
        bound(trt, head, 77)
    fresh = open_engine(head, OPTIONS)
    assert isinstance(fresh, GpuEngine)
    with pytest.raises(EngineError, match="bind"):
        fresh.enqueue()


def bound(trt: FakeTensorRt, head: Path, handle: int) -> tuple[GpuEngine, list[np.ndarray]]:
    """An engine that is bound to a stream, and its image, y and z."""
    engine = open_engine(head, OPTIONS)
    assert isinstance(engine, GpuEngine)
    arrays = [np.zeros(shape, np.float32) for shape in ((1, 3, 32, 32), *engine.output_shapes)]
    trt.gpu.stream(handle)
    places = [trt.gpu.place(array) for array in arrays]
    engine.bind(places[:1], places[1:], handle)
    return engine, arrays


def test_wrong_shapes_are_an_engine_error(trt: FakeTensorRt, head: Path) -> None:
    with pytest.raises(EngineError, match=r"image is \(1, 3, 5, 5\)"):
        open_engine(head, OPTIONS).run(np.zeros((1, 3, 5, 5), np.float32))


def test_a_file_that_is_not_there_is_an_engine_error(trt: FakeTensorRt, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot open"):
        open_engine(tmp_path / "none.onnx", OPTIONS)


@pytest.mark.parametrize(
    "error", [ImportError("No module named 'tensorrt'"), OSError("libnvdla_compiler.so: cannot open")]
)
def test_a_missing_tensorrt_names_cause_and_cure(
    error: Exception, head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(engine, "import_tensorrt", fail)
    with pytest.raises(EngineUnavailable, match=r"nvidia-l4t-dla-compiler.*pip install tensorrt") as caught:
        open_engine(head, OPTIONS)
    assert str(error) in str(caught.value)


def test_without_a_gpu_it_is_missing(trt: FakeTensorRt, head: Path) -> None:
    assert missing("tensorrt") is None
    trt.gpu.there = False
    assert "no NVIDIA GPU" in str(missing("tensorrt"))
    with pytest.raises(EngineUnavailable, match="nvidia-smi"):
        open_engine(head, OPTIONS)


def test_the_module_is_imported_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    module = FakeTensorRt(FakeGpu())
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    assert engine.import_tensorrt() is module


def test_the_verb_builds_every_graph_ahead(
    trt: FakeTensorRt, tiny_bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tensorrt", str(tiny_bundles["mshp"])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["h_s", "head", "restore", "tail"]
    assert len(trt.named("build")) == 4
    assert main(["tensorrt", str(tiny_bundles["mshp"]), "--fp16"]) == 1
    assert "python -m export fp16" in capsys.readouterr().err


@pytest.mark.gpu
def test_tensorrt_itself_computes_what_the_cpu_does(
    tiny_bundles: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Head within float32's rounding of another order of summation; h_s to the bit."""
    if (reason := missing("tensorrt")) is not None:
        pytest.skip(reason)
    monkeypatch.setenv("RATEHOLD_CACHE", str(cache))
    bundle = load(tiny_bundles["mshp"])
    for _ in ("built", "from the cache"):
        engine, reference = (
            open_engine(bundle.path("head"), EngineOptions(e)) for e in ("tensorrt", "onnxruntime-cpu")
        )
        for frame in frames(5):
            for actual, expected in zip(engine.run(frame), reference.run(frame), strict=True):
                np.testing.assert_allclose(actual, expected, atol=1e-4)
    exact, reference = (
        open_engine(bundle.path("h_s"), EngineOptions(e)) for e in ("tensorrt", "onnxruntime-cpu")
    )
    for z in np.random.default_rng(0).integers(-127, 128, (200, 1, 2, 2, 2)).astype(np.float32):
        np.testing.assert_array_equal(exact.run(z)[0], reference.run(z)[0])
