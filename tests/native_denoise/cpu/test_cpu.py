"""The CPU solver against the float64 reference: every shape, layout, mode and number of threads."""

import multiprocessing
import threading

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from native_denoise import denoise, denoise_planar, reference, settings
from native_denoise.cpu import iteration_plan, solver
from native_denoise.cpu.bands import plan, turns
from native_denoise.cpu.sweeps import BOTTOM, FIRST, FRAME, LAST, STACK, TOP
from native_denoise.vectors.simd import LANES

BAR = 1e-5
CASES = [("rof", False), ("rof", True), ("descent", False), ("descent", True), ("released", False)]


def batch(shape, seed=0):
    rng = np.random.default_rng(seed)
    frames, _, height, width = shape
    planes = rng.random(shape, dtype=np.float32)
    return planes, rng.random((frames, height, width), dtype=np.float32)


@pytest.fixture
def always_shared(monkeypatch):
    """However small the images are, they are worth a second thread."""
    monkeypatch.setattr(iteration_plan, "WORTH_SHARING", 0)
    iteration_plan.iteration_plan.cache_clear()
    yield
    iteration_plan.iteration_plan.cache_clear()


def expected(planes, masks, chosen, vectorial):
    out = np.empty(planes.shape)
    reference.solve_batch(planes, masks, chosen, vectorial, out)
    return out


@pytest.mark.parametrize(("mode", "vectorial"), CASES)
@hypothesis_settings(max_examples=25)
@example(shape=(1, 1, 1, 1), steps=100, seed=0)
@example(shape=(1, 3, 1, 40), steps=100, seed=0)
@example(shape=(1, 3, 40, 1), steps=100, seed=0)
@example(shape=(2, 3, 9, 2 * LANES), steps=100, seed=0)
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40)),
    steps=st.integers(0, 30),
    seed=st.integers(0, 99),
)
def test_equals_the_reference_at_every_shape(mode, vectorial, shape, steps, seed):
    planes, masks = batch(shape, seed)
    chosen = settings(mode, iterations=steps)
    out = np.empty_like(planes)
    solver.solve(planes, masks, chosen, vectorial, 1, out)
    np.testing.assert_allclose(out, expected(planes, masks, chosen, vectorial), atol=BAR)


@hypothesis_settings(max_examples=25)
@example(height=9, width=LANES, steps=5, seed=0)
@example(height=10, width=LANES + 1, steps=6, seed=0)
@given(
    height=st.integers(1, 40), width=st.integers(1, 3 * LANES + 1), steps=st.integers(1, 30),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_steps_of_released_taken_two_at_once_are_those_taken_one_by_one(height, width, steps, seed):
    planes, masks = batch((1, 1, height, width), seed)
    one_by_one, at_once = planes.copy(), np.empty_like(planes)
    for _ in range(steps):  # a single step is taken a row at a time; the iterates never leave [0, 1]
        solver.solve(one_by_one, masks, settings("released", iterations=1), False, 1, one_by_one)
    solver.solve(planes, masks, settings("released", iterations=steps), False, 1, at_once)
    np.testing.assert_array_equal(at_once, one_by_one)


@pytest.mark.parametrize(("mode", "vectorial"), CASES)
@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.usefixtures("always_shared")
def test_threads_that_share_a_plane_compute_the_same(mode, vectorial, threads):
    planes, masks = batch((1, 3, 130, 17), threads)
    chosen = settings(mode, iterations=100)
    alone, together = np.empty_like(planes), np.empty_like(planes)
    solver.solve(planes, masks, chosen, vectorial, 1, alone)
    solver.solve(planes, masks, chosen, vectorial, threads, together)
    # Rows take the same operations whoever computes them.
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_allclose(alone, expected(planes, masks, chosen, vectorial), atol=BAR)


@pytest.mark.parametrize(("mode", "vectorial"), CASES)
def test_large_frame_at_the_default_settings(mode, vectorial):
    planes, masks = batch((1, 3, 224, 224))
    chosen = settings(mode, iterations=100)
    out = np.empty_like(planes)
    solver.solve(planes, masks, chosen, vectorial, 2, out)
    np.testing.assert_allclose(out, expected(planes, masks, chosen, vectorial), atol=BAR)


@pytest.mark.parametrize(("mode", "vectorial"), CASES)
@pytest.mark.parametrize("width", [385, 512, 700])
@pytest.mark.usefixtures("always_shared")
def test_wide_rows(mode, vectorial, width):
    planes, masks = batch((1, 2, 60, width), width)
    chosen = settings(mode, iterations=14)
    out = np.empty_like(planes)
    solver.solve(planes, masks, chosen, vectorial, 2, out)
    np.testing.assert_allclose(out, expected(planes, masks, chosen, vectorial), atol=BAR)


@pytest.mark.parametrize("mode", ["rof", "descent", "released"])
@pytest.mark.parametrize("weight", [0.0, 0.02, 1.0])
def test_weights(mode, weight):
    planes, masks = batch((1, 2, 20, 21))
    masks[:, :5] = 0.0
    chosen = settings(mode, weight, iterations=40)
    out = np.empty_like(planes)
    solver.solve(planes, masks, chosen, False, 1, out)
    np.testing.assert_allclose(out, expected(planes, masks, chosen, False), atol=BAR)
    if weight == 0.0:
        np.testing.assert_allclose(out, planes, atol=1e-6)


@given(seed=st.integers(0, 99), tolerance=st.sampled_from([0.02, 0.004, 0.001]))
@hypothesis_settings(max_examples=10)
def test_rof_stops_within_its_tolerance_of_the_minimiser(seed, tolerance):
    rng = np.random.default_rng(seed)
    image = (0.25 + 0.5 * (np.indices((24, 20)).sum(0) > 20) + 0.1 * rng.random((24, 20))).astype(np.float32)
    result = denoise(image, weight=0.1, tolerance=tolerance, iterations=3000, full_output=True)
    exact = reference.solve(image[None].astype(np.float64), 1.0, settings("rof", 0.1, iterations=5000))[0]
    distance = np.sqrt(((result.image - exact) ** 2).mean())
    assert distance <= result.rms_bound[0, 0] + 1e-6
    assert result.rms_bound[0, 0] <= tolerance
    assert 0 < result.iterations[0, 0] < 3000


def test_stacks_stop_on_their_own():
    planes, _ = batch((2, 2, 30, 30))
    planes[0, 0] = 0.5
    out = np.empty_like(planes)
    taken, gaps = solver.solve(
        planes, None, settings("rof", 0.1, tolerance=1e-3, iterations=2000), False, 1, out
    )
    assert taken[0, 0] == iteration_plan.CHECK < taken.max()
    assert gaps.shape == (2, 2)
    assert np.all(gaps <= 0.5e-6 * 900)


@given(
    height=st.integers(1, 300),
    stacks=st.integers(1, 6),
    threads=st.integers(1, 9),
    halo=st.integers(1, 40),
)
def test_plan_owns_every_row_once_and_neighbours_can_fill_the_halo(height, stacks, threads, halo):
    threads = max(1, min(threads, stacks * height // (2 * halo)))
    layout = plan(1, stacks, 1, height, 20, 5, threads, halo)
    owned = np.zeros((stacks, height), dtype=int)
    for band in layout.bands:
        assert band[FRAME] == 0
        owned[band[STACK], band[TOP] : band[BOTTOM]] += 1
        assert band[FIRST] == max(0, band[TOP] - halo)
        assert band[LAST] == min(height, band[BOTTOM] + halo)
        if band[BOTTOM] - band[TOP] < height:
            assert band[BOTTOM] - band[TOP] >= halo
    assert np.all(owned == 1)
    assert len(layout.chunks) <= threads


@given(stacks=st.integers(1, 30), steps=st.integers(1, 120), lead=st.integers(0, 300), data=st.data())
def test_turns_take_every_step_once_and_nobody_waits(stacks, steps, lead, data):
    threads = data.draw(st.integers(1, stacks))
    done = np.zeros((stacks, steps), dtype=int)
    ended = {}
    late = []
    times = []
    for parts in turns(stacks, steps, threads, lead):
        time = 0
        for (begin, end), (first, last) in parts:
            done[begin:end, first:last] += 1
            late.append((begin, first, time))
            time += (end - begin) * (last - first)
            ended[begin, last] = time
        times.append(time)
    assert np.all(done == 1)
    # Cuts are rounded to whole steps, hence the ones.
    ahead = min(lead, (stacks - threads) * steps) if threads > 1 else 0
    assert all(abs(times[0] - ahead - time) <= 1 for time in times[1:])
    assert all(ended[stack, first] <= time + 1 for stack, first, time in late if first > 0)


def test_memory_in_flight_is_five_planes_and_the_halo():
    layout = plan(1, 3, 1, 224, 224, 5, 1, 11)
    planes = 3 * 224 * (224 + LANES)
    assert layout.size <= 5.1 * planes


@pytest.mark.parametrize("mode", ["rof", "descent", "released"])
def test_strided_views_and_images_in_place(mode):
    planes, masks = batch((1, 3, 33, 50))
    chosen = settings(mode, iterations=20)
    want = expected(planes, masks, chosen, False)
    wide = np.zeros((1, 3, 33, 101), dtype=np.float32)
    view = wide[..., 1::2]
    view[...] = planes
    denoise_planar(view, masks, chosen, view)
    np.testing.assert_allclose(view, want, atol=BAR)
    assert not wide[..., ::2].any()


def test_threads_of_the_caller_do_not_disturb_one_another():
    planes, masks = batch((8, 3, 64, 64))
    chosen = settings("rof", iterations=50)
    want = np.empty_like(planes)
    solver.solve(planes, masks, chosen, False, 2, want)
    outs = np.zeros_like(planes)

    def job(n):
        for _ in range(5):
            solver.solve(planes[n : n + 1], masks[n : n + 1], chosen, False, 2, outs[n : n + 1])

    jobs = [threading.Thread(target=job, args=(n,), daemon=True) for n in range(8)]
    for one in jobs:
        one.start()
    for one in jobs:
        one.join(60)
    np.testing.assert_array_equal(outs, want)


def _denoise_in_child(queue, planes):
    out = np.empty_like(planes)
    solver.solve(planes, None, settings("rof", iterations=50), False, 2, out)
    queue.put(out.sum())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_works_in_a_forked_child():
    planes, _ = batch((1, 3, 224, 64))
    out = np.empty_like(planes)
    solver.solve(planes, None, settings("rof", iterations=50), False, 2, out)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_denoise_in_child, args=(queue, planes), daemon=True)
    child.start()
    try:
        assert queue.get(timeout=30) == out.sum()
        child.join(10)
        assert child.exitcode == 0
    finally:  # a child that hangs would be waited for at the end of the run
        child.kill()
