import os
import unicodedata
from pathlib import Path

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
        ("image,label\nc,1\n", "none of 1 pictures.*no such file"),
        ("image,label\n" + 300 * "c" + ",1\n", "none of 1 pictures"),
        ("image,class\na,1\n", "no column 'label'.*columns image and label"),
        ("image,label\nb,7\na,cat\n", "line 3: the label 'cat' is not a class index"),
        ("image,label\na,\n", "line 2: the label '' is not"),
        ("image,label\na\n", "line 2: the label '' is not"),
        ("image,label\na,-1\n", "'-1' is not"),
        ("image,label\na,2.5\n", "'2.5' is not"),
        ("image,label\na,nan\n", "'nan' is not"),
        ("image,label\na,1e300\n", "'1e300' is not"),
        ("image,label\n,3\n", "line 2: no image is named"),
        ("image,label\na,3\0\n", "NUL"),
        ("image,label\n" + 200_000 * "a" + ",3\n", "field larger"),
    ],
)
def test_a_wrong_csv_is_an_error_that_says_so(folder, text, message):
    (folder / "labels.csv").write_text(text)
    with pytest.raises(ImageError, match=message):
        labelled(folder)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", " , "])
def test_labels_as_spreadsheets_write_them(folder, encoding, end, delimiter):
    (folder / "images" / "a.png").rename(folder / "images" / "müll.PNG")
    rows = [("Image", " LABEL", "author"), ("müll", "3.0", "x"), ("", "", ""), ("b.jpg", " 7 ", 'x "y"'), ()]
    (folder / "labels.csv").write_bytes(end.join(map(delimiter.join, rows)).encode(encoding))
    assert [(sample.path.name, sample.label) for sample in labelled(folder)] == [
        ("müll.PNG", 3),
        ("b.jpg", 7),
    ]


def test_names_may_be_composed_in_another_way(folder):
    (folder / "images" / "a.png").rename(folder / "images" / unicodedata.normalize("NFD", "müll.png"))
    (folder / "labels.csv").write_text("image,label\nmüll,3\n", encoding="utf-8")
    assert [sample.label for sample in labelled(folder)] == [3]


def test_bytes_of_no_encoding_are_refused(folder):
    (folder / "labels.csv").write_bytes(b"image,label\n\x81\xff,3\n")
    with pytest.raises(ImageError, match="comma-separated UTF-8"):
        labelled(folder)


@pytest.mark.parametrize("labels", [True, False])
def test_bad_images_are_passed_over_and_counted(folder, labels, capsys):
    (folder / "images" / "b.jpg").write_text("junk")
    if not labels:
        (folder / "labels.csv").unlink()
    for limit in (None, 2):
        assert [sample.path.name for sample in samples(folder, limit)] == ["a.png"]
        said = capsys.readouterr().err
        assert "b.jpg: not an image" in said and "passed over 1 of 2 pictures" in said
    (folder / "images" / "a.png").write_bytes(b"")
    with pytest.raises(ImageError, match="none of 2 pictures"):
        samples(folder)


def test_the_limit_counts_readable_images(folder):
    assert [sample.path.name for sample in samples(folder, 1)] == ["b.jpg"]
    assert [sample.path.name for sample in labelled(folder, 5)] == ["b.jpg", "a.png"]


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


def test_labels_that_are_no_file_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(ImageError, match="not a regular file"):
        labelled(tmp_path)
