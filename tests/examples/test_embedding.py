"""A third task, from a package of its own: a bundle is built, coded and answered with no change elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from torch import nn

from examples import embedding, own_backbone
from examples.embedding_objective import SHARPNESS, CosineDivergence, network
from export.__main__ import main
from runtime.__main__ import main as ratehold
from runtime.bundle import load
from runtime.errors import BundleError
from runtime.tail import Tail
from runtime.tasks import Output, open_task
from tests.export.models import classifier
from tests.tiny_bundle import tiny_images

SIZE = 6
TINY = [
    "--backbone",
    f"{__name__}:tiny",
    "--cut",
    "features",
    "--size",
    "32",
    "--patch",
    "2",
    "--threads",
    "1",
]


def tiny() -> nn.Module:
    """The small classifier's twelve channels as a vector."""
    model = classifier()
    model.last = nn.Identity()
    model.task = {"kind": "embedding"}
    return model


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that offers the example by its entry points."""
    told = tmp_path / "site" / "my_package-1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text(
        "[ratehold.tasks]\nembedding = examples.embedding\n"
        "[ratehold.objectives]\nembedding = examples.embedding_objective\n"
    )
    monkeypatch.syspath_prepend(told.parent)


def test_without_the_package_such_a_bundle_is_refused() -> None:
    with pytest.raises(BundleError, match="no task 'embedding' is installed: install the package"):
        open_task({"kind": "embedding"}, (Output("vector", (SIZE,)),), 32)


@pytest.mark.usefixtures("package")
def test_numbers_and_outputs_that_do_not_fit_are_refused() -> None:
    for spec, shape in (({"kind": "embedding", "more": 1}, (SIZE,)), ({"kind": "embedding"}, (SIZE, 2))):
        with pytest.raises(BundleError, match="embedding"):
            open_task(spec, (Output("vector", shape),), 32)


@given(raw=arrays.arrays(np.float32, SIZE, elements=st.floats(width=32)))
def test_any_output_becomes_a_vector_of_length_1_or_0(raw: np.ndarray) -> None:
    vector = embedding.Embedding(SIZE).answer(raw)["vector"]
    length = np.linalg.norm(vector.astype(np.float64))
    assert vector.dtype == np.float32 and (length == 0 or abs(length - 1) < 1e-5)


def test_the_draws_have_the_metric_of_the_divergence() -> None:
    """Half the second moment of a draw's gradient along a small step is the divergence of that step."""
    objective, generator = CosineDivergence(), torch.Generator().manual_seed(1)
    outputs = torch.randn(1, SIZE, generator=generator, dtype=torch.float64).float()
    step = 1e-2 * torch.randn(1, SIZE, generator=generator)
    moment = 0.0
    for _ in range(4000):
        given_outputs = outputs.clone().requires_grad_()
        (draw,) = objective.draws(given_outputs, generator)
        (gradient,) = torch.autograd.grad(draw, given_outputs)
        moment += float((gradient * step).sum()) ** 2 / 4000
    assert moment / 2 == pytest.approx(float(objective.divergence(outputs + step, outputs)), rel=0.1)


def test_one_vector_for_all_is_the_nearest() -> None:
    objective, generator = CosineDivergence(), torch.Generator().manual_seed(2)
    outputs = torch.randn(20, SIZE, generator=generator)
    best = objective.divergence(objective.one_for_all(outputs).expand_as(outputs), outputs)
    for _ in range(50):
        other = torch.randn(1, SIZE, generator=generator).expand_as(outputs)
        assert objective.divergence(other, outputs) >= best
    assert 0 <= objective.agreement(-outputs, outputs) < objective.agreement(outputs, outputs) <= 1 + 1e-6


@pytest.mark.usefixtures("package")
def test_a_vector_crosses_the_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Calibrated, built, encoded and decoded by the commands; near to the vector of the unsplit network."""
    for number, image in enumerate(tiny_images(60)):
        Image.fromarray(image).save(tmp_path / f"{number:02d}.png")
    out = ["--photos", str(tmp_path), "-o", str(tmp_path / "out")]
    assert main(["build", *TINY, *out, "--prior", "fp", "--rate", "1"]) == 0
    bundle = tmp_path / "out" / "tiny-fp-r1"
    assert json.loads((bundle / "manifest.json").read_text())["task"] == {"kind": "embedding"}
    packet = tmp_path / "00.rh"
    assert ratehold(["encode", str(tmp_path / "00.png"), "-o", str(packet), "--bundle", str(bundle)]) == 0
    capsys.readouterr()
    assert ratehold(["decode", str(packet), "--bundle", str(bundle)]) == 0
    assert capsys.readouterr().out.count(".") >= 8
    loaded = load(bundle)
    vector = loaded.task.answer(Tail(loaded).decode(packet.read_bytes()))["vector"]
    square = loaded.manifest.preprocess.square(tiny_images(60)[0]).transpose(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(of).view(1, 3, 1, 1) for of in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        wanted = tiny()((torch.from_numpy(square).float() - mean) / std)[0].numpy()
    assert vector @ wanted / np.linalg.norm(wanted) > 1 - 3 * CosineDivergence.ladder[1] / SHARPNESS


def test_the_network_of_the_page_says_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_backbone.FOLDER.mkdir()
    torch.save(own_backbone.Classifier().state_dict(), own_backbone.WEIGHTS)
    model = network()
    assert model.task == {"kind": "embedding"}
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 96)
