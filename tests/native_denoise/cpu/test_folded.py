"""The folded layout against its definition: every column has its place, neighbours are the next vector."""

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from native_denoise.cpu import folded
from native_denoise.vectors.simd import LANES


@numba.njit
def fold(line, width, row):
    folded.fold(line, 0, width, row, 0)


@numba.njit
def unfold(row, width, work, start):
    folded.unfold(row, 0, width, work, start)


@numba.njit
def repeat_last(row, width, blocks):
    folded.repeat_last(row, 0, width, blocks)


def folded_row(values):
    """By the definition: lane l of vector j is column l * B + j, the last repeated; then the hem."""
    blocks = -(-len(values) // LANES)
    columns = np.arange(LANES)[None] * blocks + np.arange(blocks + 1)[:, None]
    return values[np.minimum(columns, len(values) - 1)]


def laid(values):
    line = np.full(len(values) + 3 * LANES, -1.0, dtype=np.float32)
    line[: len(values)] = values
    row = np.full(folded_row(values).size + 1, -7.0, dtype=np.float32)
    fold(line, len(values), row)
    assert row[-1] == -7.0, "wrote past its row"
    return row[:-1]


def random_row(width):
    return np.random.default_rng(width).random(width, dtype=np.float32)


@given(width=st.integers(1, 3 * LANES * LANES))
def test_every_column_is_where_the_definition_says_and_vector_j_plus_1_is_right_of_vector_j(width):
    values = random_row(width)
    np.testing.assert_array_equal(laid(values), folded_row(values).ravel())


@given(width=st.integers(1, 3 * LANES * LANES))
def test_unfold_undoes_fold(width):
    values = random_row(width)
    stride = folded_row(values).size
    row = np.concatenate([laid(values), np.full(LANES * LANES, -7.0, dtype=np.float32)])
    line = np.full(stride + 1, -5.0, dtype=np.float32)
    unfold(row, width, line, 0)
    np.testing.assert_array_equal(line[:width], values)
    assert line[-1] == -5.0, "wrote more than a row"


@given(width=st.integers(1, 3 * LANES * LANES))
def test_the_last_column_is_its_own_right_neighbour_after_every_step(width):
    values, changed = random_row(width), 1 - random_row(width)
    blocks = -(-width // LANES)
    row = laid(values).reshape(blocks + 1, LANES)
    for column in range(width):
        row[column % blocks, column // blocks] = changed[column]
    repeat_last(row.ravel(), width, blocks)
    for column in range(width):
        right = row[column % blocks + 1, column // blocks]
        assert right == changed[min(column + 1, width - 1)]
