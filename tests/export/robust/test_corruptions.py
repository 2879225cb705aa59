"""The 19 corruptions against their published definitions, each by a formula that the code does not use."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, special

from bench.common.photos import photos
from export.errors import CorruptionError
from export.robust import corruptions
from export.robust.corruptions import CORRUPTIONS, EXTRA, SEVERITIES, corrupt
from export.robust.elastic import affine_map, displacement

SIZE = 224


@pytest.fixture(scope="module")
def photo():
    return np.asarray(Image.fromarray(photos()[0][1]).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def small(photo):
    """A part of the photograph: the library loops over pixels in Python."""
    return photo[64:160, 64:160].copy()


def grey(value, size=SIZE):
    return np.full((size, size, 3), value, dtype=np.uint8)


def edge(vertical=True):
    """Black, then white from the middle on."""
    image = grey(0)
    image[:, SIZE // 2 :] = 255
    return image if vertical else image.transpose(1, 0, 2).copy()


def cut(values):
    return np.clip(values, 0, 255).astype(np.uint8)


def test_there_are_fifteen_and_four():
    assert len(set(CORRUPTIONS)) == 19 and len(EXTRA) == 4


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_seeded_and_of_the_same_shape_at_every_severity(name, small):
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    before = small.copy()
    outs = [corrupt(small, name, severity, seed=3) for severity in SEVERITIES]
    assert all(out.shape == small.shape and out.dtype == np.uint8 for out in outs)
    assert np.array_equal(outs[2], corrupt(small, name, 3, seed=3))
    assert len({out.tobytes() for out in outs}) == 5
    assert np.array_equal(small, before)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur",
             "snow", "frost", "fog", "elastic_transform", "spatter"],
)  # fmt: skip
def test_another_seed_is_another_draw(name, small):
    assert not np.array_equal(corrupt(small, name, 3, 0), corrupt(small, name, 3, 1))


@pytest.mark.parametrize(
    ("name", "scales"),
    [("gaussian_noise", (0.08, 0.12, 0.18, 0.26, 0.38)), ("speckle_noise", (0.15, 0.2, 0.35, 0.45, 0.6))],
)
def test_normal_noise_has_its_scale(name, scales):
    """The median distance of a normal draw is 0.6745 sigma, and clipping does not touch it."""
    value = 128
    for severity, scale in zip(SEVERITIES, scales, strict=True):
        distance = np.abs(corrupt(grey(value), name, severity).astype(float) + 0.5 - value)
        sigma = scale * 255 * (value / 255 if name == "speckle_noise" else 1)
        assert np.median(distance) == pytest.approx(0.67449 * sigma, rel=0.02, abs=0.6)


def test_shot_noise_counts_photons():
    value = 60
    for severity, photons in zip(SEVERITIES, (60, 25, 12, 5, 3), strict=True):
        out = corrupt(grey(value), "shot_noise", severity)
        levels = cut(np.arange(photons + 1) / photons * 255)
        assert set(np.unique(out)) <= set(levels.tolist())
        rate = value / 255 * photons
        for count in range(3):
            expected = np.exp(-rate) * rate**count / special.factorial(count)
            assert (out == levels[count]).mean() == pytest.approx(expected, abs=0.005)


def test_impulse_noise_is_salt_and_pepper():
    for severity, amount in zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True):
        out = corrupt(grey(100), "impulse_noise", severity)
        assert set(np.unique(out)) <= {0, 99, 100, 255}
        assert [(out == v).mean() for v in (0, 255)] == pytest.approx([amount / 2] * 2, abs=0.004)


def test_gaussian_blur_turns_an_edge_into_the_normal_distribution():
    distance = np.arange(SIZE) - SIZE // 2 + 0.5
    for severity, sigma in zip(SEVERITIES, (1, 2, 3, 4, 6), strict=True):
        row = corrupt(edge(), "gaussian_blur", severity)[SIZE // 2, :, 1].astype(float)
        assert np.abs(row - 255 * special.ndtr(distance / sigma)).max() < 5


def test_defocus_blur_turns_an_edge_into_the_share_of_a_disc():
    distance = np.arange(SIZE) - SIZE // 2 + 0.5
    for severity, radius in zip(SEVERITIES, (3, 4, 6, 8, 10), strict=True):
        row = corrupt(edge(), "defocus_blur", severity)[SIZE // 2, :, 1].astype(float)
        t = np.clip(
            distance / (radius + 0.3), -1, 1
        )  # the pixels whose centres lie in the disc reach further
        expected = 255 * (0.5 + (np.arcsin(t) + t * np.sqrt(1 - t * t)) / np.pi)
        assert np.abs(row - expected).max() < 12


def test_motion_blur_is_half_a_normal_distribution_along_a_line():
    for severity, (radius, sigma) in zip(
        SEVERITIES, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), strict=True
    ):
        angle = np.deg2rad(np.random.RandomState(severity).uniform(-45, 45))
        reach = np.arange(2 * radius + 1)
        weight = np.exp(-0.5 * (reach / sigma) ** 2)
        weight /= weight.sum()
        row = corrupt(edge(), "motion_blur", severity, seed=severity)[SIZE // 2, :, 0].astype(float)
        towards = reach * np.cos(angle)
        columns = np.arange(SIZE)
        white = row[-1]
        assert white in (254, 255)  # cut off where a processor's weights add up to a little less than 1
        expected = [white * weight[column + towards >= SIZE // 2 - 0.5].sum() for column in columns]
        assert np.abs(row - expected).max() < 1.5 + 255 * weight[0]  # a step is a whole pixel
        assert np.abs(row - expected).mean() < 0.5


def test_zoom_blur_is_the_mean_of_enlarged_copies(photo):
    smooth = ndimage.gaussian_filter(photo.astype(float), (3, 3, 0))
    image = cut(smooth)
    places = np.stack(np.mgrid[:SIZE, :SIZE]).astype(float)
    centre = (SIZE - 1) / 2
    factors = [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)]
    for severity, (stop, step) in zip(SEVERITIES, factors, strict=True):
        zooms = np.arange(1, stop, step)
        copies = [image.astype(float)]
        for zoom in zooms:
            at = centre + (places - centre) / zoom
            copies.append(
                np.stack(
                    [ndimage.map_coordinates(image[..., c].astype(float), at, order=1) for c in range(3)], -1
                )
            )
        difference = np.abs(corrupt(image, "zoom_blur", severity) - np.mean(copies, axis=0))
        assert difference.mean() < 2.5


@pytest.mark.parametrize("name", ["gaussian_blur", "glass_blur", "defocus_blur", "motion_blur", "zoom_blur",
                                  "elastic_transform", "contrast", "pixelate"])  # fmt: skip
def test_a_flat_image_has_nothing_to_blur(name):
    for severity in SEVERITIES:
        out = corrupt(grey(117, 96), name, severity)
        assert np.abs(out.astype(int) - 117).max() <= 2


def test_glass_blur_moves_pixels_a_little_and_makes_none():
    """On two colours only mixtures of them appear, and only near the border between them."""
    widths = []
    for severity in SEVERITIES:
        row = corrupt(edge(), "glass_blur", severity).mean(axis=(0, 2))
        assert row[: SIZE // 2 - 40].max() <= 1 and row[SIZE // 2 + 40 :].min() >= 253
        widths.append(float(np.minimum(row, 255 - row).sum()))
    assert widths[-1] > widths[0]


def test_contrast_shrinks_around_the_mean(photo):
    mean = photo.mean(axis=(0, 1))
    for severity, share in zip(SEVERITIES, (0.4, 0.3, 0.2, 0.1, 0.05), strict=True):
        out = corrupt(photo, "contrast", severity)
        assert np.abs(out + 0.5 - (mean + share * (photo - mean))).max() <= 0.51


def test_brightness_raises_value_and_keeps_hue_and_saturation(photo):
    largest = photo.max(axis=2, keepdims=True) / 255
    for severity, more in zip(SEVERITIES, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True):
        scale = np.minimum(largest + more, 1) / np.maximum(largest, 1e-9)
        expected = np.where(largest > 0, photo * scale, 255 * more)
        assert np.abs(corrupt(photo, "brightness", severity) + 0.5 - expected).max() <= 0.51


def test_saturate_scales_the_distance_to_the_largest_channel(photo):
    largest, smallest = (f(axis=2, keepdims=True).astype(float) for f in (photo.max, photo.min))
    saturation = (largest - smallest) / np.maximum(largest, 1)
    coloured = (saturation > 0)[..., 0]
    for severity, (factor, more) in zip(
        SEVERITIES, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)), strict=True
    ):
        wanted = np.clip(factor * saturation + more, 0, 1)
        expected = largest - (largest - photo) * wanted / np.maximum(saturation, 1e-9)
        difference = np.abs(corrupt(photo, "saturate", severity) + 0.5 - expected)
        assert difference[coloured].max() <= 0.51


def test_jpeg_compression_has_its_quality(photo):
    for severity, quality in zip(SEVERITIES, (25, 18, 15, 10, 7), strict=True):
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=quality)
        assert np.array_equal(corrupt(photo, "jpeg_compression", severity), np.asarray(Image.open(file)))


def test_pixelate_is_a_mean_over_blocks(photo):
    out = corrupt(photo, "pixelate", 5)  # 0.25 of 224 is whole: blocks of 4
    blocks = photo.reshape(56, 4, 56, 4, 3).mean(axis=(1, 3))
    assert np.abs(out - np.repeat(np.repeat(blocks, 4, 0), 4, 1)).max() <= 1
    for severity, share in zip(SEVERITIES, (0.6, 0.5, 0.4, 0.3, 0.25), strict=True):
        changes = (np.diff(corrupt(photo, "pixelate", severity).astype(int), axis=0) != 0).any(axis=(1, 2))
        assert changes.sum() == int(SIZE * share) - 1


def test_fog_spans_its_published_range():
    """The plasma reaches 0 and 1 on a map of 256; a flat image x becomes (x + c fog) x / (x + c)."""
    x = 100 / 255
    for severity, thickness in zip(SEVERITIES, (1.5, 2, 2.5, 2.5, 3), strict=True):
        out = corrupt(grey(100, 256), "fog", severity)
        scale = 255 * x / (x + thickness)
        assert [out.min(), out.max()] == pytest.approx([x * scale, (x + thickness) * scale], abs=1)


def test_snow_whitens_and_falls(photo):
    luma = photo @ np.array([0.299, 0.587, 0.114])
    for severity, share in zip(SEVERITIES, (0.8, 0.7, 0.7, 0.65, 0.55), strict=True):
        pale = np.maximum(photo, (1.5 * luma + 127.5)[..., None])
        floor = np.minimum(share * photo + (1 - share) * pale, 255)
        above = corrupt(photo, "snow", severity) + 1.0 - floor
        assert above.min() >= -0.02
        assert (above > 20).mean() > 0.03


def test_frost_is_a_part_of_a_picture_of_frost(photo):
    for severity, (share, frost) in zip(
        SEVERITIES, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)), strict=True
    ):
        black, dark = (corrupt(grey(v), "frost", severity, seed=5).astype(float) for v in (0, 40))
        assert black.max() <= 255 * frost
        unclipped = dark < 255
        assert np.abs((dark - black)[unclipped] - share * 40).max() <= 1
        assert black.std() > 10
    assert corrupt(grey(0), "frost", 1, seed=5).max() < corrupt(grey(0), "frost", 5, seed=5).max()


def test_spatter_is_water_first_and_mud_then(photo):
    for severity in (1, 2, 3):
        assert (corrupt(photo, "spatter", severity).astype(int) - photo).min() >= -1
    for severity in (4, 5):
        out = corrupt(photo, "spatter", severity).astype(int)
        touched = (np.abs(out - photo) > 1).any(axis=2)
        assert 0.01 < touched.mean() < 0.6
        least = 0.8 * np.array([63, 42, 20])
        most = 0.2 * photo + np.array([63, 42, 20])
        assert (out[touched] >= least - 1).all() and (out <= most + 1)[touched].all()


@pytest.mark.parametrize(("severity", "expected"), [(3, 0.05), (4, 0.07), (5, 0.12)])
def test_elastic_displacement_has_its_spread(severity, expected):
    """White noise of variance 1/3 under a Gaussian of sigma s keeps 1 / (2 sqrt(pi) s) of its deviation."""
    rng = np.random.default_rng(0)
    moves = np.stack([displacement((SIZE, SIZE), severity, rng) for _ in range(5)])
    sigma = 244 * 0.01
    assert moves.std() == pytest.approx(244 * expected / np.sqrt(3) / (2 * np.sqrt(np.pi) * sigma), rel=0.05)


def test_elastic_affine_takes_three_points_where_it_should():
    grid = np.indices((SIZE, SIZE), dtype=float)
    assert affine_map(grid, np.zeros((3, 2))) == pytest.approx(grid, abs=1e-9)
    shift = np.array([[3, -2], [5, 1], [-4, 6]])
    places = affine_map(grid, shift)
    side = SIZE // 3
    for point, by in zip(SIZE // 2 + side * np.array([[1, 1], [-1, 1], [-1, -1]]), shift, strict=True):
        row, column = point + by
        assert places[:, row, column] == pytest.approx(point)


def test_what_is_not_there_is_refused(photo):
    with pytest.raises(CorruptionError, match="no corruption 'rain'"):
        corrupt(photo, "rain", 1)
    with pytest.raises(CorruptionError, match="severity 6"):
        corrupt(photo, "fog", 6)


def test_a_missing_library_is_named_with_its_cure(photo, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "imagecorruptions", None)
    with pytest.raises(CorruptionError, match="pip install"):
        corrupt(photo, "fog", 1)
    monkeypatch.setattr(corruptions, "find_spec", lambda name: None)
    with pytest.raises(CorruptionError, match="--no-deps imagecorruptions-imaug"):
        corrupt(photo, "frost", 1)
