"""The bands partition an orthonormal transform; a disturbance is as large as it says and where it says."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from bench.attacks.differentiable.target import Target
from bench.frequency import __main__ as frequency
from bench.frequency.band_changes import ALL, BandSender, attacked, changes, disturbed
from bench.frequency.dct_bands import (
    COUNT,
    MEAN,
    band_index,
    bands,
    coefficients,
    edges,
    energy_by_band,
    keep,
    noise,
    wavelengths,
)
from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.head import Head
from tests.tiny_bundle import SIZE, tiny_images

ENGINE = EngineOptions(threads=1)


def matrix(size):
    """The DCT-II by its definition."""
    k, n = np.arange(size)[:, None], np.arange(size)
    basis = np.sqrt(2 / size) * np.cos(np.pi * (n + 0.5) * k / size)
    basis[0] /= np.sqrt(2)
    return basis


@pytest.mark.parametrize("size", [1, 2, 7, 32])
def test_the_transform_is_the_definition_and_orthonormal(size):
    planes = np.random.default_rng(size).normal(size=(3, size, size))
    basis = matrix(size)
    assert basis @ basis.T == pytest.approx(np.eye(size), abs=1e-12)
    assert_allclose(coefficients(planes), basis @ planes @ basis.T, atol=1e-12)
    assert (coefficients(planes) ** 2).sum() == pytest.approx((planes**2).sum())


@pytest.mark.parametrize("size", [8, 32, 224])
def test_bands_partition_the_energy_and_the_frame(size):
    planes = np.random.default_rng(0).normal(1, 1, size=(3, size, size))
    index = band_index(size)
    of_mean = size**2 * (planes.mean(axis=(1, 2)) ** 2).sum() / (planes**2).sum()
    assert energy_by_band(planes).sum() + of_mean == pytest.approx(1, rel=1e-12)
    parts = [keep(planes, index == band) for band in range(MEAN, COUNT)]
    assert_allclose(sum(parts), planes, atol=1e-10)
    mean = planes.mean(axis=(1, 2), keepdims=True)
    assert_allclose(parts[0], np.broadcast_to(mean, planes.shape), atol=1e-10)
    assert bands(size) == sorted(set(index.ravel().tolist()) - {MEAN})


def test_bands_are_octaves():
    index = band_index(224)
    assert index[0, 0] == MEAN and (index == MEAN).sum() == 1
    assert index[0, 1] == index[0, 3] == 0 and index[0, 4] == 1 and index[7, 0] == 2
    assert index[0, 111] == 5 and index[0, 112] == 6 and index[223, 0] == 6 and index[223, 223] == 7
    assert edges(224).tolist() == [0, 3.5, 7, 14, 28, 56, 112, 224, np.inf]
    assert wavelengths(224) == [">128", "64-128", "32-64", "16-32", "8-16", "4-8", "2-4", "<2"]


def test_a_wave_is_in_the_band_of_its_period():
    wave = np.cos(2 * np.pi * (np.arange(224) + 0.5) / 11)  # 11 pixels: 8-16
    shares = energy_by_band(np.broadcast_to(wave, (3, 224, 224)))
    assert shares.argmax() == 4 and shares[4] > 0.95
    assert (energy_by_band(np.full((3, 8, 8), 0.0)) == 0).all()


@pytest.mark.parametrize("band", bands(SIZE))
def test_noise_has_its_size_and_its_band(band):
    made = noise(SIZE, band, 4.0, np.random.default_rng(0))
    assert np.sqrt(np.mean(made**2)) == pytest.approx(4)
    assert energy_by_band(made)[band] == pytest.approx(1)


def test_a_band_that_is_not_there_is_refused():
    assert bands(SIZE)[0] == 2
    with pytest.raises(ValueError, match="band 0"):
        noise(SIZE, 0, 1.0, np.random.default_rng(0))


def test_disturbances_have_equal_norms():
    planes = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE))
    index = band_index(SIZE)
    found = list(disturbed(planes, [4], seed=0))
    assert {kind for kind, _, _ in found} == {"remove", "noise 4", "sign 4"}
    for kind, band, frame in found:
        change = frame - planes
        if kind == "remove":
            assert np.abs(coefficients(frame)[:, index == band]).max() < 1e-9
            assert_allclose(change, -keep(planes, index == band), atol=1e-9)
        else:
            assert np.sqrt(np.mean(change**2)) == pytest.approx(4)
            assert energy_by_band(change).argmax() == band
        if kind == "sign 4":
            assert_allclose(np.abs(change), 4)


def test_the_parts_of_an_attack_are_the_attack(tiny_bundles):
    square = load(tiny_bundles["fp"]).manifest.preprocess.square(tiny_images(1)[0])
    planes = square.transpose(2, 0, 1).astype(float)
    found = {(kind, b): f for kind, b, f in attacked(planes, _target(tiny_bundles), [4], seed=0)}
    change = found["attack 4", ALL] - planes
    assert 0 < np.abs(change).max() <= 4 + 1e-4
    mean = change.mean(axis=(1, 2), keepdims=True)
    assert_allclose(sum(found["only 4", b] - planes for b in bands(SIZE)) + mean, change, atol=1e-9)
    for band in bands(SIZE):
        parts = found["only 4", band] + found["without 4", band] - 2 * planes
        assert_allclose(parts, change, atol=1e-9)


def _target(tiny_bundles):
    return Target.open(load(tiny_bundles["fp"]))


def test_bytes_are_those_of_real_packets(tiny_bundles):
    bundle = load(tiny_bundles["mshp"])
    square = bundle.manifest.preprocess.square(tiny_images(1)[0])
    found = changes(BandSender(bundle, ENGINE), square, 0, [8], seed=3)
    head = Head(bundle, ENGINE)
    planes = square.transpose(2, 0, 1).astype(float)
    expected = [len(head.encode(square).to_bytes())]
    for _, _, frame in disturbed(planes, [8], seed=3):
        pixels = np.rint(np.clip(frame, 0, 255)).astype(np.uint8).transpose(1, 2, 0)
        expected.append(len(head.encode(pixels).to_bytes()))
    growth = [change.growth for change in found[: len(expected)]]
    assert growth == pytest.approx([size / expected[0] - 1 for size in expected])
    whole = next(change for change in found if change.kind == "attack 8")
    assert whole.growth > 0


def test_command_line(tiny_bundles, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for number, image in enumerate(tiny_images(2)):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "labels.csv").write_text("image,label\n0,1\n1,2\n")
    path, plot = tmp_path / "frequency.json", tmp_path / "frequency.png"
    names = [str(folder) for folder in tiny_bundles.values()]
    arguments = ["--data", str(tmp_path), "--eps", "4", "--threads", "1", "--json", str(path)]
    assert frequency.main([*arguments, "--bundle", *names, "--plot", str(plot)]) == 0
    result = json.loads(path.read_text())
    kinds = ["remove", "noise 4", "sign 4", "only 4", "without 4"]
    for name in ("tiny-fp", "tiny-mshp"):
        rows = {(row["kind"], row["band"]): row for row in result["rows"] if row["bundle"] == name}
        assert set(rows) == {(kind, band) for kind in kinds for band in bands(SIZE)} | {
            ("clean", ALL), ("attack 4", ALL)
        }  # fmt: skip
        assert rows["clean", ALL]["bytes_change"] == 0
        for row in rows.values():
            low, high = row["bytes_change_ci"]
            assert low <= row["bytes_change"] <= high and row["images"] == 2
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_a_missing_folder_is_refused(tiny_bundles, tmp_path, capsys):
    assert frequency.main(["--data", str(tmp_path), "--bundle", str(tiny_bundles["fp"])]) == 1
    assert "labels.csv" in capsys.readouterr().err
