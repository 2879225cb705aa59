"""The reference itself: against finite differences, closed forms and what is conserved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native_denoise import objective, reference
from native_denoise.modes import schedule, settings

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7))


def arrays(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.random(shape), rng.random(shape[1:])


@given(SHAPES, st.integers(0, 99))
def test_divergence_is_minus_the_adjoint_of_the_gradient(shape, seed):
    u, _ = arrays(seed, shape)
    p, q = np.random.default_rng(seed + 1).normal(size=(2, *shape))
    along_x, along_y = objective.gradient(u)
    left = (along_x * p + along_y * q).sum()
    assert left == pytest.approx(-(u * objective.divergence(p, q)).sum(), abs=1e-12)


@pytest.mark.parametrize("vectorial", [False, True])
def test_gradient_of_smoothed_variation_against_central_differences(vectorial):
    u, weights = arrays(3, (2, 4, 5))
    f, _ = arrays(4, (2, 4, 5))
    slope = (u - f) + 0.3 * objective.smoothed_variation_gradient(u, 0.05, weights, vectorial)
    for index in np.ndindex(u.shape):
        step = np.zeros_like(u)
        step[index] = 1e-5
        up = objective.smoothed_energy(u + step, f, 0.3, 0.05, weights, vectorial)
        down = objective.smoothed_energy(u - step, f, 0.3, 0.05, weights, vectorial)
        assert slope[index] == pytest.approx((up - down) / 2e-5, abs=1e-8)


@given(SHAPES, st.integers(0, 99), st.booleans())
def test_gap_is_energy_minus_dual_and_not_negative(shape, seed, vectorial):
    f, weights = arrays(seed, shape)
    u, _ = arrays(seed + 1, shape)
    q = objective.project(*np.random.default_rng(seed + 2).normal(size=(2, *shape)), 0.2 * weights, vectorial)
    # The dual must vanish where the gradient does: past the last column and row.
    q[0][..., -1] = 0.0
    q[1][..., -1, :] = 0.0
    gap = objective.duality_gap(u, q, f, 0.2, weights, vectorial)
    dual = 0.5 * (f**2).sum() - 0.5 * ((f + objective.divergence(*q)) ** 2).sum()
    assert gap == pytest.approx(objective.energy(u, f, 0.2, weights, vectorial) - dual, abs=1e-10)
    assert gap >= -1e-12


def test_gap_goes_to_zero_and_bounds_the_distance():
    f, weights = arrays(7, (1, 4, 5))
    gaps, iterates = [], []

    def watch(x, q):
        gaps.append(objective.duality_gap(x, q, f, 0.1, weights))
        iterates.append(x)

    exact, last = reference.rof(f, weights, settings("rof", 0.1, iterations=30000), watch=watch)
    assert last < 1e-10 < gaps[0]
    for n in (0, 5, 20, 100, 500):
        assert 0.5 * ((iterates[n] - exact) ** 2).sum() <= gaps[n] + last


@pytest.mark.parametrize("along", ["x", "y"])
def test_step_edge_in_one_dimension_has_its_closed_form(along):
    """Of a step from 0 to 1 between n and m pixels TV takes lambda / n and lambda / m off the two levels."""
    f = np.concatenate([np.zeros(4), np.ones(6)])[None, None]
    exact = np.concatenate([np.full(4, 0.2 / 4), np.full(6, 1 - 0.2 / 6)])[None, None]
    if along == "y":
        f, exact = f.transpose(0, 2, 1), exact.transpose(0, 2, 1)
    u, gap = reference.rof(f, 1.0, settings("rof", 0.2, iterations=20000))
    assert gap < 1e-10
    np.testing.assert_allclose(u, exact, atol=1e-5)
    assert objective.energy(exact, f, 0.2) == pytest.approx(objective.energy(u, f, 0.2), abs=1e-10)


@pytest.mark.parametrize("mode", ["rof", "descent", "released"])
def test_constant_image_stays(mode):
    f = np.full((2, 5, 6), 0.37)
    u = reference.solve(f, arrays(1, f.shape)[1], settings(mode, iterations=50))
    np.testing.assert_allclose(u, f, atol=1e-12)


@given(SHAPES, st.integers(0, 99), st.booleans())
def test_rof_keeps_the_mean(shape, seed, vectorial):
    f, weights = arrays(seed, shape)
    u = reference.solve(f, weights, settings("rof", 0.3, iterations=30), vectorial)
    np.testing.assert_allclose(u.mean(axis=(1, 2)), f.mean(axis=(1, 2)), atol=1e-12)


def test_descent_lowers_the_smoothed_objective_at_every_step():
    f, mask = arrays(5, (3, 9, 8))
    energies = []
    for n in range(20):
        chosen = settings("descent", iterations=n)
        u = reference.solve(f, mask, chosen)
        # The mask scales the step and not the problem, so the objective has no weights.
        energies.append(objective.smoothed_energy(u, f, chosen.weight, chosen.epsilon))
    assert np.all(np.diff(energies) < 0)


def test_released_is_linear_and_shifts_towards_the_origin():
    spot = np.zeros((1, 31, 31))
    spot[0, 20, 20] = 1.0
    chosen = settings("released")
    u = reference.solve(spot, 1.0, chosen)
    y, x = np.mgrid[:31, :31]
    centre = (u[0] * x).sum() / u.sum(), (u[0] * y).sum() / u.sum()
    # 100 steps of 0.015 move the centre by 1.5 pixels.
    np.testing.assert_allclose(centre, (18.5, 18.5), atol=1e-3)
    np.testing.assert_allclose(reference.solve(0.5 * spot, 1.0, chosen), 0.5 * u, atol=1e-15)


def test_schedule_satisfies_what_the_proof_needs():
    tau, sigma, theta = schedule(100).T
    np.testing.assert_allclose(tau * sigma * 8.0, 1.0, rtol=1e-12)
    np.testing.assert_allclose(theta, 1 / np.sqrt(1 + 2 * tau), rtol=1e-12)
    np.testing.assert_allclose(tau[1:], (theta * tau)[:-1], rtol=1e-12)
