"""The examples of docs/extend.md run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import examples.engine as reference
from bench.resilience.__main__ import main as resilience
from examples.backbone import classifier
from examples.corruption import lost_rows
from examples.filter import cross
from examples.prior import gaussian_prior
from export.calibrate.backbones import IMAGENET_MEAN, IMAGENET_STD, from_factory
from export.errors import ExtensionError
from runtime.bundle import load
from runtime.codec.coder import open_coder
from runtime.engines import ENGINES, EngineOptions, open_engine
from runtime.head import Head
from runtime.preprocess import to_input
from runtime.prior.base import push_streams
from runtime.tail import Tail
from tests.tiny_bundle import tiny_images

OWN = {"threat": "examples.attack:checkerboard", "filter": "examples.filter:cross"}
CORRUPTION = "examples.corruption:lost_rows"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    for number, image in enumerate(tiny_images(2)):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
    (folder / "labels.csv").write_text("image,label\n0,0\n1,1\n")
    return folder


def campaign(bundle: Path, data: Path, out: Path, *more: str) -> list[dict[str, object]]:
    arguments = ["--data", str(data), "--bundle", str(bundle), "--output", str(out), "--eps", "8"]
    arguments += ["--threat", OWN["threat"], "--corruption", CORRUPTION, "--severity", "5"]
    arguments += ["--defence", "none", OWN["filter"], "--json", str(out / "report.json"), *more]
    assert resilience(arguments) == 0
    rows: list[dict[str, object]] = json.loads((out / "report.json").read_text())["rows"]
    return rows


def test_attack_filter_and_corruption_in_a_campaign(
    tiny_bundles: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    rows = {
        (row["name"], row["sender"]): row for row in campaign(tiny_bundles["fp"], data, tmp_path)
    }  # fmt: skip
    assert set(rows) == {
        (name, sender)
        for name in ("clean", OWN["threat"], CORRUPTION)
        for sender in ("undefended", OWN["filter"])
    }
    attacked = rows[OWN["threat"], "undefended"]
    assert attacked["linf"] == 8 and float(str(attacked["bytes_ratio"])) > 1
    assert float(str(rows[OWN["threat"], OWN["filter"]]["bytes_ratio"])) < float(str(attacked["bytes_ratio"]))


@pytest.mark.slow
def test_they_are_found_by_other_processes(tiny_bundles: dict[str, Path], data: Path, tmp_path: Path) -> None:
    here = campaign(tiny_bundles["fp"], data, tmp_path / "a")
    assert campaign(tiny_bundles["fp"], data, tmp_path / "b", "--workers", "2") == here


def test_a_filter_is_a_mean_and_a_corruption_loses_rows() -> None:
    image = np.zeros((9, 9, 3), np.uint8)
    image[4, 4] = 100
    assert cross(image)[:, :, 0].sum() == 100 and cross(image)[4, 5, 0] == 20
    white = np.full((500, 4, 3), 255, np.uint8)
    black = (lost_rows(white, 5, 0) == 0).all(axis=(1, 2))
    assert 0.05 < black.mean() < 0.15 and np.array_equal(lost_rows(white, 5, 0), lost_rows(white, 5, 0))


def test_an_engine_computes_what_onnx_runtime_does(
    tiny_bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES, "reference", reference.__name__)
    bundle = load(tiny_bundles["mshp"])
    image = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    ours, theirs = (
        open_engine(bundle.path("head"), EngineOptions(name)) for name in ("reference", "onnxruntime-cpu")
    )
    assert ours.inputs == theirs.inputs and ours.outputs == theirs.outputs
    for one, other in zip(ours.run(image), theirs.run(image), strict=True):
        assert np.allclose(one, other, atol=1e-4)
    photograph = tiny_images(1)[0]
    packet = Head(bundle, EngineOptions("reference")).encode(photograph).to_bytes()
    assert Tail(bundle).decode(packet).shape == (10,)


def test_a_prior_is_priced_and_coded_on_the_latents_of_a_bundle(tiny_bundles: dict[str, Path]) -> None:
    bundle = load(tiny_bundles["fp"])
    engine, square = open_engine(bundle.path("head"), EngineOptions()), bundle.manifest.preprocess.square
    latents = [engine.run(to_input(square(image)))[0] for image in tiny_images(8)]
    prior = gaussian_prior(bundle, latents)
    streams, coder = prior.code(latents[0]), open_coder()
    encoder = coder.encoder()
    push_streams(streams, encoder)
    data = encoder.finish()
    expected = float(sum(stream.total_bits()[0] for stream in streams))
    assert expected / 8 <= len(data) <= expected / 8 + 12
    (y,) = streams
    assert np.array_equal(coder.decoder(data).pop(y.index, y.tables), y.symbols)


def test_a_backbone_that_is_none_is_said() -> None:
    with pytest.raises(ExtensionError, match=r"it returned a builtins\.NoneType, not a torch\.nn\.Module"):
        from_factory("gc:enable", "features", 32)
    with pytest.raises(
        ExtensionError, match=r"examples\.backbone has no 'clasifier'; it has Small, classifier"
    ):
        from_factory("examples.backbone:clasifier", "features", 32)
    with pytest.raises(ExtensionError, match="no module 'no_such_module'"):
        from_factory("no_such_module:classifier", "features", 32)


def test_a_backbone_is_cut_behind_its_features() -> None:
    backbone, whole = from_factory("examples.backbone:classifier", "features", 32), classifier().eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        assert torch.allclose(backbone.tail(backbone.head(images)), whole((images - mean) / std), atol=1e-4)
