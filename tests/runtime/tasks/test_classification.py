"""The likeliest classes, against a sort of all."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.tasks.classification import Classification, likeliest

LOGITS = st.lists(st.sampled_from([-2.0, -0.0, 0.0, 0.5, 3.0, np.inf, np.nan]), min_size=1, max_size=40)


@given(logits=LOGITS, count=st.integers(1, 45))
def test_they_are_the_first_of_a_stable_sort(logits: list[float], count: int) -> None:
    values = np.array(logits, np.float32)
    expected = np.argsort(-values, kind="stable")[:count]
    np.testing.assert_array_equal(likeliest(values, count), expected)


@given(seed=st.integers(0, 99), top_k=st.integers(1, 30))
def test_probabilities_are_those_of_the_softmax(seed: int, top_k: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 20, 20).astype(np.float32)
    found = Classification(20).answer(logits, top_k=top_k)
    exact = np.exp(logits.astype(np.float64) - logits.max())
    exact /= exact.sum()
    np.testing.assert_array_equal(found["logits"], logits)
    wanted = np.sort(exact)[::-1][:top_k]
    np.testing.assert_allclose(found["top_probabilities"], wanted, rtol=1e-4, atol=1e-36)
    np.testing.assert_array_equal(found["top_classes"], np.argsort(-exact, kind="stable")[:top_k])
    assert list(Classification(20).answer(logits, ("logits",))) == ["logits"]
