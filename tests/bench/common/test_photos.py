import numpy as np
import pytest
from PIL import Image

from bench.common.image_codecs import CODECS
from bench.common.photos import CARRIED, labelled, photos, samples
from bench.latency.disturbances import sign_noise
from runtime.errors import ImageError


@pytest.fixture
def folder(tmp_path):
    """Two images, one of which the csv names without its extension."""
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (30, 20), (200, 10, 10)).save(tmp_path / "images" / name)
    (tmp_path / "labels.csv").write_text("image,label,author\nb,7,x\na.png,3,y\n")
    return tmp_path


def test_every_sample_photograph_is_carried():
    found = photos()
    assert [name for name, _ in found] == list(CARRIED)
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for _, image in found)


def test_a_labelled_folder_keeps_the_order_of_its_csv(folder):
    found = labelled(folder)
    assert [(sample.path.name, sample.label) for sample in found] == [("b.jpg", 7), ("a.png", 3)]
    assert found[0].image().shape == (20, 30, 3)
    assert samples(folder) == found


def test_a_plain_folder_is_unlabelled(folder):
    (folder / "labels.csv").unlink()
    assert [(sample.path.name, sample.label) for sample in samples(folder)] == [
        ("a.png", None),
        ("b.jpg", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\nc,1\n", "not there"),
        ("image,class\na,1\n", "columns"),
        ("image,label\na,cat\n", "columns"),
    ],
)
def test_a_wrong_csv_is_an_error_that_says_so(folder, text, message):
    (folder / "labels.csv").write_text(text)
    with pytest.raises(ImageError, match=message):
        labelled(folder)


def test_folders_without_images_or_labels(tmp_path):
    with pytest.raises(ImageError, match=r"labels\.csv"):
        labelled(tmp_path)
    with pytest.raises(ImageError, match="no images"):
        samples(tmp_path)


def test_sign_noise_is_seeded_and_within_its_budget():
    square = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    noisy = sign_noise(square, seed=1)
    assert np.array_equal(noisy, sign_noise(square, seed=1))
    assert not np.array_equal(noisy, sign_noise(square, seed=2))
    distance = np.abs(noisy.astype(int) - square)
    inside = (square >= 4) & (square <= 251)
    assert distance.max() == 4
    assert (distance[inside] == 4).all()


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_the_nearest_quality_is_nearest(codec):
    square = photos()[0][1][:48, :48]
    sizes = {quality: len(codec.encode(square, quality)) for quality in range(1, 96)}
    for target in (0, sizes[40], sizes[70] + 1, 10**6):
        chosen = codec.nearest_quality(square, target)
        best = min(abs(size - target) for size in sizes.values())
        assert abs(sizes[chosen] - target) <= best + 8  # sizes fall by a few bytes here and there
    decoded = codec.decode(codec.encode(square, 95))
    assert np.abs(decoded.astype(int) - square).mean() < 5
