"""Engines open what they are given, or say what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from runtime.bundle import load
from runtime.engines import (
    DEFAULT,
    ENGINES,
    EngineOptions,
    available,
    engine_names,
    missing,
    open_engine,
)
from runtime.engines.onnxruntime_cpu import OnnxRuntimeCpu
from runtime.errors import EngineError, EngineUnavailable


@pytest.fixture
def head(tiny_bundles: dict[str, Path]) -> Path:
    return load(tiny_bundles["mshp"]).path("head")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_describes_its_graph(engine: str, head: Path) -> None:
    if reason := missing(engine):
        pytest.skip(reason)
    opened = open_engine(head, EngineOptions(engine=engine, threads=1))
    assert opened.inputs == (("image", (1, 3, 32, 32)),)
    assert opened.outputs == ("y", "z")
    assert opened.device and opened.precision == "float32"
    opened.warm_up()
    y, z = opened.run(np.zeros((1, 3, 32, 32), dtype=np.float32))
    assert y.shape == (1, 6, 4, 4) and z.shape == (1, 2, 2, 2)


def test_the_cpu_is_always_there() -> None:
    assert DEFAULT == "onnxruntime-cpu" and DEFAULT in available()
    assert {name for name in ENGINES if missing(name) is None} == set(available())


def test_threads_and_optimisation_change_nothing_that_matters(head: Path) -> None:
    image = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    reference = open_engine(head, EngineOptions(threads=1, optimisation="disabled")).run(image)
    for options in (EngineOptions(), EngineOptions(threads=2), EngineOptions(optimisation="basic")):
        for a, b in zip(reference, open_engine(head, options).run(image), strict=True):
            assert np.allclose(a, b, atol=1e-4)


def test_unknown_engines_are_named_with_those_there_are(head: Path) -> None:
    with pytest.raises(EngineUnavailable, match="onnxruntime-cpu"):
        open_engine(head, EngineOptions(engine="abacus"))


def test_a_missing_onnxruntime_names_the_install_command(head: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineUnavailable, match="pip install"):
        open_engine(head, EngineOptions())


def test_files_that_are_no_graphs_are_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nonsense")
    for path in (tmp_path / "x.onnx", tmp_path / "none.onnx"):
        with pytest.raises(EngineError, match="cannot open"):
            open_engine(path, EngineOptions())


def test_wrong_shapes_are_an_engine_error(head: Path) -> None:
    with pytest.raises(EngineError, match="failed"):
        open_engine(head, EngineOptions()).run(np.zeros((1, 3, 5, 5), dtype=np.float32))


def test_a_silent_fall_back_is_an_error() -> None:
    class Session:
        def get_providers(self) -> list[str]:
            return ["SomethingElse"]

    with pytest.raises(EngineError, match="asked for CPUExecutionProvider"):
        OnnxRuntimeCpu(Session())


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers three engines: one that works, one broken, one with no functions."""
    (tmp_path / "abacus_engine.py").write_text(
        "from runtime.engines.onnxruntime_cpu import missing, open_graph\n", encoding="utf-8"
    )
    (tmp_path / "broken_engine.py").write_text("import beads\n", encoding="utf-8")
    metadata = tmp_path / "abacus-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: abacus\nVersion: 1.0\n", encoding="utf-8"
    )
    (metadata / "entry_points.txt").write_text(
        "[ratehold.engines]\nabacus = abacus_engine\nbroken = broken_engine\nempty = json\n"
        "onnxruntime-cpu = broken_engine\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("offered")
def test_an_engine_of_another_package_is_found(head: Path) -> None:
    assert engine_names() == [*ENGINES, "abacus", "broken", "empty"]
    assert "abacus" in available() and missing("abacus") is None
    image = np.zeros((1, 3, 32, 32), dtype=np.float32)
    ours = open_engine(head, EngineOptions()).run(image)
    for a, b in zip(open_engine(head, EngineOptions(engine="abacus")).run(image), ours, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("broken", "cannot import broken_engine: No module named 'beads'"),
        ("empty", "json has no function open_graph"),
        ("slate", "unknown engine 'slate'; there are: .*abacus"),
    ],
)
def test_an_engine_that_cannot_be_opened_says_why(engine: str, reason: str, head: Path) -> None:
    assert engine not in available()
    with pytest.raises(EngineUnavailable, match=reason):
        open_engine(head, EngineOptions(engine=engine))


def test_a_session_that_fails_prints_nothing(
    head: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime would announce a second attempt on standard output, which may carry packets."""

    def fails(*_: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fails)
    with pytest.raises(EngineError, match="no memory"):
        open_engine(head, EngineOptions())
    assert capfd.readouterr().out == ""
