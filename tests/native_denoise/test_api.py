"""``denoise``: shapes, kinds, what it refuses, what it reports."""

import subprocess
import sys

import numpy as np
import pytest

import native_denoise
from native_denoise import BackendUnavailable, DenoiseError, denoise, denoise_planar, objective, settings

SHAPES = [(11, 13), (11, 13, 1), (11, 13, 3), (2, 11, 13, 3)]


def image(shape, kind=np.float32):
    values = np.random.default_rng(0).random(shape)
    return (values * 255).astype(np.uint8) if kind == np.uint8 else values.astype(np.float32)


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["rof", "descent", "released"])
def test_result_is_like_the_input_and_the_input_is_unchanged(shape, kind, mode):
    before = image(shape, kind)
    given = before.copy()
    after = denoise(given, mode=mode, iterations=30)
    np.testing.assert_array_equal(given, before)
    assert after.shape == shape
    assert after.dtype == kind
    want = denoise(given, mode=mode, iterations=30, backend="reference")
    if kind == np.uint8:
        # A value that falls within 1e-5 of a half may round the other way.
        assert np.abs(after.astype(int) - want).max() <= 1
        assert (after != want).mean() < 0.005
    else:
        np.testing.assert_allclose(after, want, atol=1e-5)


def test_batch_equals_its_images_and_masks_are_per_frame():
    frames = image((3, 17, 12, 3))
    masks = image((3, 17, 12))
    together = denoise(frames, masks, iterations=25)
    for n in range(3):
        np.testing.assert_array_equal(together[n], denoise(frames[n], masks[n], iterations=25))
    shared = denoise(frames, masks[0], iterations=25)
    np.testing.assert_array_equal(shared[0], together[0])


def test_vectorial_of_equal_channels_is_the_plane_at_a_smaller_weight():
    """Three equal channels share a norm sqrt(3) times that of one."""
    plane = image((16, 18))
    stack = np.repeat(plane[..., None], 3, axis=-1)
    coupled = denoise(stack, weight=0.1, iterations=4000, vectorial=True)
    single = denoise(plane, weight=0.1 / np.sqrt(3), iterations=4000)
    np.testing.assert_allclose(coupled[..., 1], single, atol=5e-4)


def test_larger_weights_and_masks_smooth_more():
    picture = image((20, 20))
    variation = [
        objective.total_variation(denoise(picture, weight=w).astype(float)) for w in (0.01, 0.05, 0.3)
    ]
    assert variation[0] > variation[1] > variation[2]
    mask = np.zeros((20, 20), dtype=np.float32)
    mask[:, 10:] = 1
    for mode in ("descent", "released"):
        half = denoise(picture, mask, mode=mode)
        np.testing.assert_array_equal(half[:, :10], picture[:, :10])
        assert np.abs(half[:, 10:] - picture[:, 10:]).max() > 0.05


def test_out_is_filled_and_returned():
    picture = image((9, 8, 3))
    out = np.zeros_like(picture)
    assert denoise(picture, out=out) is out
    np.testing.assert_array_equal(out, denoise(picture))


def test_full_output():
    picture = image((2, 12, 10, 3))
    result = denoise(picture, full_output=True, weight=0.1, iterations=60)
    assert result.iterations.tolist() == [[60] * 3] * 2
    assert result.objective.shape == result.gap.shape == (2, 3)
    want = objective.energy(result.image[1, :, :, 2].astype(float), picture[1, :, :, 2].astype(float), 0.1)
    assert result.objective[1, 2] == pytest.approx(want)
    exact = denoise(picture, weight=0.1, iterations=4000, backend="reference", full_output=True)
    assert np.all(result.objective - exact.objective <= result.gap * 1.001 + 1e-6)
    np.testing.assert_allclose(result.rms_bound, np.sqrt(2 * result.gap / 120))
    assert denoise(picture, mode="descent", full_output=True).gap is None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"image": np.full((4, 4), np.nan, np.float32)}, "NaN"),
        ({"image": np.full((4, 4), 2.0, np.float32)}, r"\[0, 1\].*divide by 255"),
        ({"image": np.full((4, 4), -0.1, np.float32)}, r"\[0, 1\]"),
        ({"image": np.zeros((4, 4))}, "float64.*astype"),
        ({"image": np.zeros(4, np.float32)}, "shape"),
        ({"image": np.zeros((0, 4), np.float32)}, "empty"),
        ({"image": np.zeros((3, 8, 8), np.float32)}, "8 channels.*denoise_planar"),
        ({"mask": np.zeros((4, 5), np.float32)}, "4x4"),
        ({"mask": np.full((4, 4), np.nan, np.float32)}, "mask holds NaN"),
        ({"mask": np.full((4, 4), 1.5, np.float32)}, "mask must lie"),
        ({"mode": "ROF"}, "rof, descent, released"),
        ({"weight": -0.1}, "weight"),
        ({"weight": float("nan")}, "weight"),
        ({"iterations": -1}, "iterations"),
        ({"iterations": 2.5}, "iterations"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": 0.1, "mode": "descent"}, "fixed number"),
        ({"epsilon": 0.0, "mode": "descent"}, "epsilon"),
        ({"step": 1.5, "mode": "descent"}, "step"),
        ({"vectorial": True, "mode": "released"}, "linear"),
        ({"threads": 0}, "threads"),
        ({"backend": "gpu"}, "auto, cpu, cuda, reference"),
        ({"out": np.zeros((4, 4))}, "float32"),
    ],
)
def test_refusals_say_what_is_wrong(arguments, match):
    with pytest.raises(DenoiseError, match=match):
        denoise(**{"image": np.zeros((4, 4), np.float32), **arguments})


def test_out_may_not_be_the_input():
    picture = image((6, 6))
    with pytest.raises(DenoiseError, match="shares memory"):
        denoise(picture, out=picture)


def test_cuda_without_a_gpu_or_its_package_is_a_typed_error():
    code = (
        "import numpy as np, native_denoise as nd\n"
        "try: nd.denoise(np.zeros((4, 4), np.float32), backend='cuda')\n"
        "except nd.BackendUnavailable as error: print('refused:', error)\n"
        "else: print('ran')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.startswith(("refused:", "ran"))
    assert issubclass(BackendUnavailable, DenoiseError)


def test_planar_checks_shapes_only():
    planes = image((3, 10, 12))
    out = np.empty_like(planes)
    taken = denoise_planar(planes, image((10, 12)), settings("rof"), out)
    assert taken.shape == (1, 3)
    want = denoise(np.moveaxis(planes, 0, -1), image((10, 12)))
    np.testing.assert_array_equal(np.moveaxis(out, 0, -1), want)
    with pytest.raises(DenoiseError, match="out"):
        denoise_planar(planes, None, settings("rof"), out[:2])
    with pytest.raises(DenoiseError, match="mask"):
        denoise_planar(planes, image((12, 10)), settings("rof"), out)


def test_importing_the_package_does_not_load_numba():
    code = "import sys, native_denoise; print('numba' in sys.modules, 'llvmlite' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["False", "False"]


def test_exports():
    assert set(native_denoise.__all__) <= set(dir(native_denoise))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("vectorial", [False, True])
def test_energies_are_of_each_frame_under_its_own_mask(backend, vectorial):
    """Two frames, two masks and two channels that differ: E by hand from the definition."""
    frames, masks = image((2, 11, 13, 2)), image((2, 11, 13))
    masks[0] *= 0.1
    found = denoise(
        frames, masks, weight=0.2, iterations=9, vectorial=vectorial, backend=backend, full_output=True
    )
    f, u = (np.moveaxis(a, -1, 1).astype(np.float64) for a in (frames, found.image))
    stacks = [slice(0, 2)] if vectorial else [slice(0, 1), slice(1, 2)]
    want = [
        [
            objective.energy(u[n, stack], f[n, stack], 0.2, masks[n].astype(np.float64), vectorial)
            for stack in stacks
        ]
        for n in range(2)
    ]
    np.testing.assert_allclose(found.objective, want, rtol=1e-6)
    assert want[1][0] > 1.5 * want[0][0]
