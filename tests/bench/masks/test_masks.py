"""Scores against scipy and scikit-learn; evidence where it is known; the command on tiny bundles."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import jaccard_score, roc_auc_score

from bench.common.unquantised import Unquantised
from bench.masks import __main__ as masks
from bench.masks.alignment import auc, iou, partial_spearman, spearman, top
from bench.masks.candidate_maps import blocks, candidates, gradient, patches
from bench.masks.composites import composite, scramble
from bench.masks.saliency import TailGradients, occlusion
from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.head import Head
from tests.tiny_bundle import CLASSES, FEATURES, SIZE, tiny_images

ENGINE = EngineOptions(threads=1)
CELLS = FEATURES[1]
levels = arrays(np.float64, (4, 5), elements=st.integers(-3, 3).map(float))  # few levels: many ties


@given(levels, arrays(np.bool_, (4, 5)))
def test_auc_is_scikit_learns(values, evidence):
    if evidence.all() or not evidence.any():
        assert np.isnan(auc(values, evidence))
    else:
        assert auc(values, evidence) == pytest.approx(roc_auc_score(evidence.ravel(), values.ravel()))


@given(levels, levels)
def test_rank_correlation_is_scipys(first, second):
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert spearman(first, second) == 0
    else:
        expected = spearmanr(first, second, axis=None).statistic
        assert spearman(first, second) == pytest.approx(expected, abs=1e-12)


def test_partial_correlation_is_that_of_the_residuals():
    rng = np.random.default_rng(0)
    given_ = rng.normal(size=60)
    first, second = given_ + rng.normal(size=60), given_ + rng.normal(size=60)
    ranks = [np.argsort(np.argsort(v)).astype(float) for v in (first, second, given_)]
    known = ranks[2][:, None]
    residuals = [r - LinearRegression().fit(known, r).predict(known) for r in ranks[:2]]
    assert partial_spearman(first, second, given_) == pytest.approx(np.corrcoef(*residuals)[0, 1])
    assert spearman(first, second) > partial_spearman(first, second, given_) + 0.1
    assert partial_spearman(given_, second, given_) == 0


def test_intersection_over_union_is_at_equal_area():
    rng = np.random.default_rng(0)
    values, evidence = rng.random((6, 6)), rng.random((6, 6)) < 0.3
    chosen = values >= np.sort(values, axis=None)[-evidence.sum()]
    expected = jaccard_score(evidence.ravel(), chosen.ravel())
    assert iou(values, evidence) == pytest.approx(expected)
    assert iou(evidence.astype(float), evidence) == 1
    assert iou(-evidence.astype(float), evidence) == 0


def test_the_top_quarter_is_a_quarter_even_of_equals():
    values = np.arange(16.0).reshape(4, 4)
    assert (top(values) == (values >= 12)).all()
    assert top(np.zeros((4, 4))).sum() == 4


def test_rising_functions_of_a_map_score_alike():
    rng = np.random.default_rng(1)
    likelihood, evidence = rng.uniform(0.1, 1, (5, 5)), rng.random((5, 5)) < 0.4
    for score in (auc, iou):
        assert score(1 - likelihood, evidence) == score(-np.log2(likelihood), evidence)


def test_bits_of_patches_are_the_latents(tiny_bundles):
    latent = Head(load(tiny_bundles["mshp"]), ENGINE).analyse(tiny_images(1)[0])
    _, height, width = latent.shape
    assert height == width
    as_they_are = patches(latent, height)
    assert as_they_are.sum() == pytest.approx(latent.bits[-1].sum(), rel=1e-5)
    assert patches(latent, CELLS).shape == latent.likelihood_map.shape


def test_trivial_maps_are_what_they_say(tiny_bundles):
    ramp = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    ramp[:, :, :] = (2 * np.arange(SIZE, dtype=np.uint8))[None, :, None]
    assert gradient(ramp, CELLS) == pytest.approx(2 / 255)
    head = Head(load(tiny_bundles["fp"]), ENGINE)
    maps = candidates(ramp, head.analyse(ramp))
    side = SIZE // CELLS
    assert maps["variance"] == pytest.approx((2 / 255) ** 2 * (side**2 - 1) / 12)
    assert maps["centre"].argmax() in (27, 28, 35, 36) and maps["centre"][0, 0] == maps["centre"].min()
    assert (maps["surprise"] == -np.log2(head.analyse(ramp).likelihood_map.astype(float))).all()
    again = candidates(ramp, head.analyse(ramp))
    assert (maps["chance"] == again["chance"]).all()
    assert blocks(np.eye(4, dtype=bool), 2).tolist() == [[0.5, 0], [0, 0.5]]


def test_grad_cam_of_a_linear_end_is_its_class_activation(tiny_bundles):
    """The tiny tail: ReLU, mean over positions, one matrix. So the last map's weights are a column of it."""
    bundle = load(tiny_bundles["fp"])
    features = np.random.default_rng(0).normal(size=(1, *FEATURES)).astype(np.float32)
    tail = TailGradients(bundle)
    maps = tail.grad_cam(features, 3)
    matrix = next(v for v in tail.graph.constants.values() if tuple(v.shape) == (FEATURES[0], CLASSES))
    column = matrix[:, 3].double().numpy() / CELLS**2
    active = np.maximum(features[0], 0).astype(float)
    assert maps["last"] == pytest.approx(np.einsum("c,chw->hw", column, active), rel=1e-4, abs=1e-7)
    weights = column * (features[0] > 0).mean(axis=(1, 2))
    assert maps["cut"] == pytest.approx(np.einsum("c,chw->hw", weights, features[0]), rel=1e-4, abs=1e-7)
    assert np.isclose(maps["last"].sum(), _logits(bundle, features)[3], rtol=1e-4)


def _logits(bundle, features):
    from export.graphs.torch_graph import TorchGraph

    return TorchGraph(bundle.path("tail"))(torch.from_numpy(features))[0][0].numpy()


class Eye:
    """A network that sees nothing but the brightness of one pixel."""

    def __init__(self, row, column):
        self.place = (row, column)

    def logits(self, square):
        return np.array([0.0, float(square[self.place].sum())])


def test_occlusion_finds_what_the_network_looks_at():
    square = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    square[22, 9] = 255
    falls = occlusion(Eye(22, 9), square, 1, CELLS)
    side = SIZE // CELLS
    row, column = 22 // side, 9 // side
    assert falls[row, column] == falls.max() == pytest.approx(765)
    assert falls[0, 0] == 0 and falls[7, 7] == 0
    assert (occlusion(Eye(22, 9), square, 0, CELLS) == 0).all()


def test_scrambling_keeps_the_amplitudes_and_the_mean():
    rng = np.random.default_rng(0)
    photo = rng.uniform(0, 255, (15, 16, 3))
    other = scramble(photo, rng)
    before, after = (np.abs(np.fft.fft2(p, axes=(0, 1))) for p in (photo, other))
    assert after == pytest.approx(before, rel=1e-9, abs=1e-6)
    assert other.mean(axis=(0, 1)) == pytest.approx(photo.mean(axis=(0, 1)))
    assert np.abs(other - photo).mean() > 20
    between = [np.fft.fft2(p[:, :, 0]) * np.conj(np.fft.fft2(p[:, :, 1])) for p in (photo, other)]
    assert between[1] == pytest.approx(between[0], rel=1e-6, abs=1e-3)  # so colours stay correlated


@pytest.mark.parametrize("textured", [False, True])
def test_a_composite_is_the_photograph_in_its_window(textured):
    square = np.asarray(Image.fromarray(tiny_images(1)[0]).resize((64, 64)))
    made = composite(square, 5, textured)
    side = 48
    assert made.frame.shape == square.shape and made.frame.dtype == np.uint8
    assert made.window.sum() == pytest.approx(np.pi * side**2 / 4, rel=0.02)
    rows, columns = np.flatnonzero(made.window.any(axis=1)), np.flatnonzero(made.window.any(axis=0))
    assert len(rows) == len(columns) == side
    small = np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC))
    pasted = made.frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = made.window[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (pasted[inside] == small[inside]).all()
    around = made.frame[~made.window]
    assert (np.ptp(around, axis=0) == 0).all() != textured
    assert (composite(square, 5, not textured).window == made.window).all()
    assert np.array_equal(composite(square, 5, textured).frame, made.frame)


@pytest.fixture(scope="module")
def data(tiny_bundles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    network = Unquantised(load(tiny_bundles["fp"]), ENGINE)
    prepare = load(tiny_bundles["fp"]).manifest.preprocess
    lines = ["image,label"]
    for number, image in enumerate(tiny_images(3)):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        lines.append(f"{number},{network.logits(prepare.square(image)).argmax()}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder


def test_command_line(tiny_bundles, data, tmp_path, capsys):
    path, plot = tmp_path / "masks.json", tmp_path / "pictures" / "masks.png"
    names = [str(folder) for folder in tiny_bundles.values()]
    arguments = ["--data", str(data), "--occlude", "1", "--threads", "1", "--json", str(path)]
    assert masks.main([*arguments, "--bundle", *names, "--plot", str(plot)]) == 0
    result = json.loads(path.read_text())
    rows = {(row["evidence"], row["map"]): row for row in result["rows"]}
    evidence = {name for name, _ in rows}
    assert evidence == {"cam cut", "cam last", "occlusion", "on flat", "outline", "on texture"}
    assert rows["occlusion", "centre"]["images"] == 1 and rows["on flat", "centre"]["images"] == 3
    assert ("cam last", "grad-cam") not in rows and ("occlusion", "grad-cam") in rows
    assert rows["on flat", "gradient"]["auc_over_gradient"] == 0
    assert rows["on flat", "gradient"]["auc"] > rows["on texture", "gradient"]["auc"]
    for row in rows.values():
        low, high = row["auc_ci"]
        assert 0 <= low <= row["auc"] <= high <= 1
        assert -1 <= row["spearman_given_gradient"] <= 1
    assert result["summary"]["on flat, surprise mshp"] == rows["on flat", "surprise mshp"]["auc"]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_folder_without_labels_is_refused(tiny_bundles, tmp_path, capsys):
    assert masks.main(["--data", str(tmp_path), "--bundle", str(tiny_bundles["fp"])]) == 1
    assert "labels.csv" in capsys.readouterr().err
