"""Several frames and bundles in one run, against each of them alone."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from runtime.bundle import DEFAULT, MANIFEST, Bundle, FileEntry, load
from runtime.engines import Engine, EngineOptions
from runtime.engines import open_engine as open_one
from runtime.head import Head
from runtime.serving.networks import TOLERANCE, Networks
from runtime.tail import PacketReader, Tail
from tests.tiny_bundle import tiny_images


def packets(bundle: Bundle, count: int) -> list[bytes]:
    images = tiny_images(count) if bundle.manifest.name.startswith("tiny") else _photographs(count)
    head = Head(bundle)
    return [head.encode(image).to_bytes() for image in images]


def _photographs(count: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    return [np.kron(image, np.ones((6, 6, 1), np.uint8)) for image in tiny_images(count)]


def check(bundles: list[Bundle], frames: int) -> None:
    """Frames of several bundles, in turns, in one run."""
    networks = Networks(bundles, 2 * frames)
    assert not networks.one_by_one and len({networks.batch_key(bundle) for bundle in bundles}) == 1
    sent = [(b, packet) for packets_of in zip(*(packets(b, frames) for b in bundles), strict=True)
            for b, packet in zip(bundles, packets_of, strict=True)]  # fmt: skip
    latents = [PacketReader(bundle).read(packet).y_hat for bundle, packet in sent]
    logits = networks.run([bundle for bundle, _ in sent], latents)
    for row, (bundle, packet) in zip(logits, sent, strict=True):
        alone = Tail(bundle).decode(packet)
        assert np.abs(row - alone).max() <= TOLERANCE * np.abs(alone).max()
        assert np.argsort(-row)[:5].tolist() == np.argsort(-alone)[:5].tolist()


def test_tiny_bundles_together(tiny_bundles: dict[str, Path]) -> None:
    check([load(path) for path in tiny_bundles.values()], 5)


def test_default_bundles_share_a_tail_and_differ_in_restore() -> None:
    names = (DEFAULT, "efficientnet_lite0-fp-r3", "efficientnet_lite0-mshp-r4-robust")
    check([load(name) for name in names], 2)


@pytest.mark.parametrize("batch", [1, 4])
def test_each_file_is_opened_once(
    tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    opened: list[str] = []

    def open_engine(graph: Path, options: EngineOptions) -> Engine:
        opened.append(graph.name)
        return open_one(graph, options)

    monkeypatch.setattr("runtime.serving.networks.open_engine", open_engine)
    Networks([load(path) for path in tiny_bundles.values()], batch)
    assert len(opened) == len(set(opened)) == 2


@pytest.fixture
def mixing(tiny_bundles: dict[str, Path], tmp_path: Path) -> Bundle:
    """A bundle whose tail looks at the other frames of a run, as a softmax over the wrong axis would."""
    tiny = load(tiny_bundles["fp"])
    shutil.copytree(tiny.folder.parent / "shared", tmp_path / "shared")
    folder = tmp_path / "mixing"
    shutil.copytree(tiny.folder, folder)
    tail = onnx.load(tiny.path("tail"))
    tail.graph.node[-1].output[0] = "raw"
    tail.graph.node.append(helper.make_node("ReduceMax", ["raw"], ["most"], keepdims=1))
    tail.graph.node.append(helper.make_node("Sub", ["raw", "most"], [tail.graph.output[0].name]))
    (folder / "tail.onnx").write_bytes(tail.SerializeToString())
    files = tiny.manifest.files | {"tail": FileEntry.of(folder / "tail.onnx", "tail.onnx")}
    manifest = dataclasses.replace(tiny.manifest, name="mixing", files=files)
    (folder / MANIFEST).write_text(manifest.to_json())
    return load(folder)


def test_a_tail_that_mixes_its_frames_gets_them_one_by_one(
    mixing: Bundle, tiny_bundles: dict[str, Path]
) -> None:
    other = load(tiny_bundles["fp"])
    networks = Networks([mixing, other], 4)
    assert list(networks.one_by_one) == ["mixing"] and networks.batch_key(mixing) is None
    assert "do not give what each gives alone" in networks.one_by_one["mixing"]
    assert networks.batch_key(other) is not None
    (packet,) = packets(mixing, 1)
    logits = networks.run([mixing], [PacketReader(mixing).read(packet).y_hat])
    np.testing.assert_array_equal(logits[0], Tail(mixing).decode(packet))
