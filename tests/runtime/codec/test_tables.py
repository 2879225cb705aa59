import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.codec.limits import SYMBOL_LIMIT, TOTAL
from runtime.codec.tables import ESCAPE_FLOOR, MAX_TABLE_SIZE, SCALES, Tables, gaussian_tables, scale_index
from runtime.errors import CoderError

GAUSSIANS = gaussian_tables()


def split(tables, array):
    return np.split(array, tables.start[1:])


def exact_gaussian(sigma, reach=20):
    """Discretised Gaussian summed from the density, 200 points a bin: independent of erf."""
    k = np.arange(-int(reach * sigma) - 3, int(reach * sigma) + 4)
    points = k[:, None] + (np.arange(200) + 0.5) / 200 - 0.5
    mass = np.exp(-0.5 * (points / sigma) ** 2).mean(axis=1)
    return k, mass / mass.sum()


def cross_entropy(tables, table, sigma):
    """Bits a symbol of a Gaussian of scale ``sigma`` coded with one table."""
    k, mass = exact_gaussian(sigma)
    bits = tables.information_bits(k.astype(np.int32), np.full(k.size, table, dtype=np.int32))
    return float((mass * bits).sum())


@pytest.mark.parametrize("tables", [GAUSSIANS, gaussian_tables([1e-3, 1.0, 4096.0])])
def test_each_table_has_exactly_the_total_and_no_empty_entry(tables):
    assert tables.counts.min() >= 1
    for counts, cdf, size in zip(
        split(tables, tables.counts), split(tables, tables.cdf), tables.size, strict=True
    ):
        assert counts.size == size
        assert int(counts.sum(dtype=np.int64)) == TOTAL
        assert np.array_equal(cdf, np.concatenate([[0], np.cumsum(counts, dtype=np.int64)[:-1]]))
    assert np.array_equal(tables.bits, (24 - np.log2(tables.counts.astype(np.float64))).astype(np.float32))


def test_gaussian_tables_are_centred_and_end_where_the_tail_does():
    assert len(GAUSSIANS) == SCALES.size == 64
    assert np.array_equal(GAUSSIANS.size, 2 * -GAUSSIANS.offset + 2)
    for counts, sigma, offset in zip(
        split(GAUSSIANS, GAUSSIANS.counts), SCALES, GAUSSIANS.offset, strict=True
    ):
        k, mass = exact_gaussian(sigma)
        outside = mass[np.abs(k) > -offset].sum()
        assert outside < ESCAPE_FLOOR
        assert counts[-1] == pytest.approx(max(outside, ESCAPE_FLOOR) * TOTAL, abs=2)


def test_gaussian_tables_cost_the_entropy_of_a_gaussian():
    for table, sigma in enumerate(SCALES):
        _, mass = exact_gaussian(sigma)
        entropy = -float((mass * np.log2(np.maximum(mass, 1e-300))).sum())
        if sigma > 1:  # from there on the closed form holds to 1e-6
            assert entropy == pytest.approx(0.5 * np.log2(2 * np.pi * np.e * (sigma**2 + 1 / 12)), abs=1e-4)
        excess = cross_entropy(GAUSSIANS, table, sigma) - entropy
        assert 0 <= excess < 3e-4, sigma


def test_scale_index_is_the_nearest_in_logarithm_and_the_cheapest():
    scales = np.geomspace(0.05, 400, 20001).astype(np.float32)
    distance = np.abs(np.log(SCALES)[None] - np.log(scales.astype(np.float64))[:, None])
    assert np.array_equal(scale_index(scales), distance.argmin(axis=1))
    assert np.array_equal(scale_index(SCALES), np.arange(64))
    step = np.log(SCALES[1] / SCALES[0])
    for low in (0, 20, 50):
        for part in (0.25, 0.75):
            sigma = SCALES[low] * np.exp(part * step)
            costs = [cross_entropy(GAUSSIANS, table, sigma) for table in (low, low + 1)]
            assert scale_index(sigma) == low + int(np.argmin(costs))


def test_scale_index_takes_any_float():
    odd = np.array([0.0, -0.0, -3.0, 1e-45, -np.inf, np.inf, 1e30, np.nan], dtype=np.float32)
    assert scale_index(odd)[:7].tolist() == [0, 0, 0, 0, 0, 63, 63]
    assert 0 <= scale_index(odd)[7] <= 63
    assert scale_index(np.ones((2, 3))).shape == (2, 3)


def test_information_bits_by_hand():
    half, rest = TOTAL // 2, TOTAL // 4
    tables = Tables([half, rest, rest, half, half], [3, 2], [-1, 5])
    symbols = np.array([-1, 0, 1, 4, -2, -9, 5, 6, 4, SYMBOL_LIMIT], dtype=np.int32)
    index = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 1], dtype=np.uint16)
    # Escape entry, then 2 * floor(log2(distance)) + 2 bits: sign, zeros, distance.
    expected = [1, 2, 2 + 2, 2 + 2 + 4, 2 + 2, 2 + 2 + 6, 1, 1 + 2, 1 + 2, 1 + 2 + 2 * 19]
    assert tables.information_bits(symbols, index).tolist() == expected
    assert tables.information_bits(symbols, index.astype(np.int32)).dtype == np.float32
    shaped = tables.information_bits(symbols.reshape(2, 5), index.reshape(2, 5))
    assert shaped.ravel().tolist() == expected
    assert tables.information_bits(symbols[:0], index[:0]).size == 0


@pytest.mark.parametrize(
    ("symbol", "table"), [(SYMBOL_LIMIT + 1, 0), (-SYMBOL_LIMIT - 1, 0), (0, 64), (0, -1)]
)
def test_information_bits_refuses_what_cannot_be_coded(symbol, table):
    with pytest.raises(CoderError, match="outside"):
        GAUSSIANS.information_bits(np.array([symbol], dtype=np.int32), np.array([table], dtype=np.int32))


@given(st.data())
def test_total_bits_are_sums_of_information_bits(data):
    runs, length = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 6))
    of = {"min_size": runs * length, "max_size": runs * length}
    symbols = np.array(data.draw(st.lists(st.integers(-SYMBOL_LIMIT, SYMBOL_LIMIT), **of)), dtype=np.int32)
    index = np.array(data.draw(st.lists(st.integers(0, len(GAUSSIANS) - 1), **of)), dtype=np.int32)
    each = GAUSSIANS.information_bits(symbols, index).reshape(runs, length)
    np.testing.assert_allclose(GAUSSIANS.total_bits(symbols, index, runs), each.sum(1), rtol=1e-6)


def test_total_bits_refuses_what_cannot_be_summed():
    zeros = np.zeros(6, dtype=np.int32)
    for runs in (0, 4):
        with pytest.raises(CoderError, match="equal runs"):
            GAUSSIANS.total_bits(zeros, zeros, runs)
    with pytest.raises(CoderError, match="shape"):
        GAUSSIANS.total_bits(zeros, zeros[:3])
    with pytest.raises(CoderError, match="outside"):
        GAUSSIANS.total_bits(zeros + SYMBOL_LIMIT + 1, zeros)


def test_from_counts_is_as_near_as_integers_allow():
    rng = np.random.default_rng(1)
    histogram = rng.gamma(0.3, size=500)
    tables = Tables.from_counts([histogram, [3]], [-7, 2], [0.001, 0.25])
    wanted = histogram / histogram.sum() * 0.999 * TOTAL
    counts = tables.counts[:500]
    # One by rounding, and each large entry pays its share for the small ones that are raised to one.
    assert np.all(np.abs(counts - np.maximum(wanted, 1)) <= 1 + wanted * 500 / TOTAL)
    assert counts[wanted < 1].max(initial=1) == 1
    assert tables.counts[501:].tolist() == [TOTAL * 3 // 4, TOTAL // 4]
    assert tables.offset.tolist() == [-7, 2]


def test_from_counts_keeps_a_vanishing_bin_alive():
    tables = Tables.from_counts([[1, 0, 1e-30, 1e30]], [0], 1e-12)
    assert tables.counts.tolist() == [1, 1, 1, TOTAL - 4, 1]


@pytest.mark.parametrize(
    ("histograms", "offsets", "mass"),
    [
        ([], [], 0.1), ([[1]], [], 0.1), ([[1]], [0], [0.1, 0.2]), ([[0, 0]], [0], 0.1), ([[]], [0], 0.1),
        ([[1, -1]], [0], 0.1), ([[np.nan]], [0], 0.1), ([[np.inf]], [0], 0.1), ([[[1]]], [0], 0.1),
        ([[1]], [0], 0.0), ([[1]], [0], 1.0), ([[1]], [0], np.nan), ([np.ones(MAX_TABLE_SIZE)], [0], 0.1),
    ],
)  # fmt: skip
def test_from_counts_refuses(histograms, offsets, mass):
    with pytest.raises(CoderError):
        Tables.from_counts(histograms, offsets, mass)


HALF = TOTAL // 2


@pytest.mark.parametrize(
    ("counts", "size", "offset", "message"),
    [
        (np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), "sizes"),
        ([TOTAL], [1], [0], "entries"),
        ([HALF, HALF], [2], [0, 1], "offsets"),
        ([HALF, HALF], [3], [0], "counts for"),
        ([HALF, HALF, HALF], [2], [0], "counts for"),
        ([HALF, HALF - 1], [2], [0], "do not sum"),
        ([HALF, HALF - 1, HALF, HALF + 1], [2, 2], [0, 0], "table 0 do not sum"),
        ([TOTAL, 0], [2], [0], "counts must"),
        ([TOTAL + 1, -1], [2], [0], "counts must"),
        ([HALF, HALF], [2], [SYMBOL_LIMIT + 1], "symbols must"),
        ([HALF, HALF], [2], [-SYMBOL_LIMIT - 1], "symbols must"),
        ([HALF, HALF], [2], [2**62], "symbols must"),
        ([HALF, HALF], [2**62], [0], "entries"),
        ([HALF, HALF], [-2], [0], "entries"),
        (np.array([HALF, 2**64 - HALF], dtype=np.uint64), [2], [0], "range"),
        ([HALF, float(HALF)], [2], [0], "integer"),
        ([[HALF, HALF]], [2], [0], "1-D"),
        ([HALF, HALF], [2], ["a"], "integer"),
    ],
)
def test_constructor_trusts_nothing(counts, size, offset, message):
    with pytest.raises(CoderError, match=message):
        Tables(counts, size, offset)


def test_extreme_offsets_are_accepted():
    for offset in (-SYMBOL_LIMIT, SYMBOL_LIMIT):
        assert Tables([HALF, HALF], [2], [offset]).offset[0] == offset


def test_tables_cannot_be_changed():
    counts = np.array([HALF, HALF], dtype=np.uint32)
    tables = Tables(counts, [2], [0])
    counts[0] = 0
    assert tables.counts.tolist() == [HALF, HALF]
    for array in (tables.counts, tables.size, tables.offset, tables.cdf, tables.start, tables.bits):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_arrays_survive_a_file_without_pickle(tmp_path):
    np.savez_compressed(tmp_path / "tables.npz", **GAUSSIANS.to_arrays())
    with np.load(tmp_path / "tables.npz", allow_pickle=False) as arrays:
        assert Tables.from_arrays(arrays) == GAUSSIANS
        assert arrays["counts"].dtype == np.uint32
    assert gaussian_tables(SCALES[:5]) != GAUSSIANS
    with pytest.raises(CoderError, match="size"):
        Tables.from_arrays({"counts": GAUSSIANS.counts, "offset": GAUSSIANS.offset})
