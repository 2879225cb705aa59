import subprocess
import sys
import threading
from contextlib import suppress
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.codec.coder import BACKENDS, open_coder
from runtime.codec.limits import SYMBOL_LIMIT, TOTAL
from runtime.codec.tables import Tables, gaussian_tables, scale_index
from runtime.errors import CoderError, PacketSyncError
from tests.runtime.codec.page_decoder import Refused, Stack, Table

GAUSSIANS = gaussian_tables()
HALF = TOTAL // 2
COIN = Tables([HALF, HALF // 2, HALF // 2], [3], [0])

quick = settings(max_examples=1_000, database=None, suppress_health_check=list(HealthCheck))
long = settings(quick, max_examples=100_000)
INSTALLED = [name for name in BACKENDS if find_spec(name)]  # constriction has no wheel for Linux on ARM
each_backend = pytest.mark.parametrize("backend", INSTALLED)
needs_both = pytest.mark.skipif(len(INSTALLED) < 2, reason="compares two backends; only one is installed")


def i32(*values):
    return np.array(values, dtype=np.int32)


def encode(backend, parts, seal=0):
    """Stream of several parts, and its bits after each."""
    encoder = open_coder(backend).encoder(seal)
    bits = []
    for symbols, index, tables in parts:
        encoder.push(symbols, index, tables)
        bits.append(encoder.bits)
    return encoder.finish(), bits


def decode(backend, data, parts, seal=0):
    """Symbols of each part, in the order of ``parts``, which is the order in which they were pushed."""
    decoder = open_coder(backend).decoder(data)
    popped = [decoder.pop(index, tables) for _, index, tables in reversed(parts)]
    decoder.finish(seal)
    return popped[::-1]


def peer_stream(parts, seal=0):
    """docs/format.md in plain Python integers, written from the page and not from the code."""
    words, state = [], seal

    def push(start, count):
        nonlocal state
        if state >> 40 >= count:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        state = (state // count << 24) + start + state % count

    for symbols, index, tables in parts:
        entries, bits = [], []
        for place, (symbol, t) in enumerate(zip(symbols.tolist(), index.tolist(), strict=True)):
            size, offset, start = int(tables.size[t]), int(tables.offset[t]), int(tables.start[t])
            position = symbol - offset
            if not 0 <= position < size - 1:
                distance = offset - symbol if position < 0 else symbol - (offset + size - 2)
                bits += (
                    [int(position < 0)]
                    + [0] * (distance.bit_length() - 1)
                    + [int(b) for b in f"{distance:b}"]
                )
                position = size - 1
            counts = tables.counts[start : start + size].tolist()
            entries.append((t, place, sum(counts[:position]), counts[position]))
        for bit in reversed(bits):
            push(bit << 23, 1 << 23)
        for *_, start, count in sorted(entries, reverse=True):
            push(start, count)
    words += [state & 0xFFFFFFFF, state >> 32]
    return b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")


def gaussian_part(n, seed=0, low=0.11, high=20.0):
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.uniform(np.log(low), np.log(high), n))
    return np.rint(rng.normal(size=n) * scales).astype(np.int32), scale_index(scales), GAUSSIANS


@st.composite
def random_tables(draw):
    """One to four tables, from a single certain entry to flat ones, anywhere in the symbols' range."""
    counts, sizes, offsets = [], [], []
    for _ in range(draw(st.integers(1, 4))):
        cuts = draw(
            st.lists(st.integers(1, TOTAL - 1) | st.integers(1, 9), min_size=1, max_size=6, unique=True)
        )
        table = np.diff([0, *sorted(cuts), TOTAL])
        counts.append(draw(st.permutations(list(table))))
        sizes.append(table.size)
        offsets.append(draw(st.integers(-5, 2) | st.integers(-SYMBOL_LIMIT, SYMBOL_LIMIT + 2 - table.size)))
    return Tables(np.concatenate(counts), sizes, offsets)


@st.composite
def random_part(draw):
    """Symbols, half of them near their table, the others anywhere; sometimes none at all."""
    tables = draw(random_tables())
    index = draw(st.lists(st.integers(0, len(tables) - 1), max_size=12))
    near = st.integers(-2, 8)
    anywhere = st.integers(-SYMBOL_LIMIT, SYMBOL_LIMIT) | st.sampled_from([-SYMBOL_LIMIT, SYMBOL_LIMIT])
    symbols = [draw(near) + int(tables.offset[t]) if draw(st.booleans()) else draw(anywhere) for t in index]
    symbols = np.clip(symbols, -SYMBOL_LIMIT, SYMBOL_LIMIT).astype(np.int32)
    return symbols, np.array(index, dtype=draw(st.sampled_from([np.int32, np.uint16]))), tables


random_parts = st.lists(random_part(), max_size=3)
seals = st.just(0) | st.integers(0, 65535)


def check_backends_agree(parts, seal=0):
    streams = [encode(backend, parts, seal) for backend in INSTALLED]
    assert streams[0] == streams[-1]
    data, bits = streams[0]
    assert len(data) == -(-(bits[-1] if bits else seal.bit_length()) // 8)
    information = sum(float(t.information_bits(s, i).sum(dtype=np.float64)) for s, i, t in parts)
    # The stack starts empty, so it may need fewer bits than its content, and at most one word more.
    assert 8 * len(data) <= information + 40
    for backend in INSTALLED:
        for (symbols, _, _), popped in zip(parts, decode(backend, data, parts, seal), strict=True):
            assert popped.dtype == np.int32
            assert np.array_equal(popped, symbols)


@given(random_parts, seals)
@settings(quick, max_examples=300)
def test_an_independent_encoder_writes_the_same_bytes(parts, seal):
    assert encode("numba", parts, seal)[0] == peer_stream(parts, seal)


@needs_both
@given(random_parts, seals)
@quick
def test_backends_write_the_same_bytes_and_read_them(parts, seal):
    check_backends_agree(parts, seal)


@needs_both
@pytest.mark.slow
@given(random_parts, seals)
@long
def test_backends_write_the_same_bytes_and_read_them_100000_times(parts, seal):
    check_backends_agree(parts, seal)


ALL_ESCAPES = (np.arange(-500, 500, dtype=np.int32)[::2] * 2001, np.zeros(500, dtype=np.int32), COIN)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [(i32(), i32(), COIN)],
        [(i32(1), i32(0), COIN)],
        [(i32(0), i32(0), COIN)],
        [ALL_ESCAPES],
        [gaussian_part(3000, low=0.11, high=256)],
        [gaussian_part(3000), (i32(), i32(), COIN), ALL_ESCAPES, gaussian_part(10, 3)],
    ],
    ids=["nothing", "empty", "one", "one of no cost", "all escapes", "many", "several parts"],
)
def test_named_cases(parts):
    check_backends_agree(parts)
    assert encode("numba", parts)[0] == peer_stream(parts)


@each_backend
def test_golden_bytes(backend):
    symbols = i32(0, 1, -1, 7, 3, -40, 2, 0, 0, SYMBOL_LIMIT)
    index = i32(30, 2, 2, 30, 21, 0, 30, 63, 0, 5)
    tables = Tables.from_counts(
        [np.arange(1, t + 3) for t in range(64)], [-(t // 2) for t in range(64)], 1 / 64
    )
    data, bits = encode(backend, [(symbols, index, tables), (i32(1, 0), i32(0, 0), COIN)], seal=0xABCD)
    assert data.hex() == "cdab0000ac4c3d33aeabbd852649c6"
    assert bits == [117, 120]


@each_backend
def test_golden_bits_of_a_fair_coin(backend):
    """By hand: state 0, entry 1 (starts at 2**23, count 2**22): 2**23; then entry 0 (0, 2**23): 2**24."""
    assert encode(backend, [(i32(0, 1), i32(0, 0), COIN)])[0] == (1 << 24).to_bytes(4, "little")
    assert encode(backend, [(i32(0, 0), i32(0, 0), COIN)])[0] == b""


@each_backend
def test_last_pushed_is_first_popped(backend):
    first, second = gaussian_part(50, 1), gaussian_part(60, 2)
    data, _ = encode(backend, [first, second])
    decoder = open_coder(backend).decoder(data)
    assert np.array_equal(decoder.pop(second[1], second[2]), second[0])
    with pytest.raises(PacketSyncError, match="left"):
        decoder.finish()
    assert np.array_equal(decoder.pop(first[1], first[2]), first[0])
    decoder.finish()


@each_backend
def test_a_seal_is_what_is_left(backend):
    part = gaussian_part(50)
    data, _ = encode(backend, [part], seal=77)
    for wrong in (0, 76, 65535):
        with pytest.raises(PacketSyncError, match="checksum"):
            decode(backend, data, [part], seal=wrong)
    for seal in (-1, 65536):
        with pytest.raises(CoderError, match="16 bits"):
            open_coder(backend).encoder(seal)


@each_backend
def test_a_seal_costs_nothing(backend):
    for n in (1, 10, 1000):
        part = gaussian_part(n)
        assert encode(backend, [part], seal=0xFFFF)[1][0] <= max(encode(backend, [part])[1][0], 16) + 8


def test_cost_is_the_information_content():
    symbols, index, tables = gaussian_part(72_600)
    information = tables.information_bits(symbols, index).sum(dtype=np.float64)
    for backend in INSTALLED:
        (_, bits) = encode(backend, [(symbols, index, tables)])
        assert abs(bits[0] - information) < 1e-4 * information + 32


@each_backend
@pytest.mark.parametrize(
    ("symbols", "index", "message"),
    [
        (i32(SYMBOL_LIMIT + 1), i32(0), "symbol is outside"),
        (i32(-SYMBOL_LIMIT - 1), i32(0), "symbol is outside"),
        (i32(-(2**31)), i32(0), "symbol is outside"),
        (i32(0), i32(1), "index is outside"),
        (i32(0), i32(-1), "index is outside"),
        (i32(0, 0), i32(0), "2 symbols with 1"),
        (np.zeros(1), i32(0), "must be int32"),
        (np.zeros(1, dtype=np.int64), i32(0), "must be int32"),
        (i32(0), np.zeros(1, dtype=np.int64), "indices must be"),
        (np.zeros((1, 1), dtype=np.int32), i32(0), "must be int32"),
    ],
)
def test_push_refuses_and_leaves_the_stack_alone(backend, symbols, index, message):
    encoder = open_coder(backend).encoder()
    encoder.push(i32(1, 5), i32(0, 0), COIN)
    before = encoder.finish()
    with pytest.raises(CoderError, match=message):
        encoder.push(symbols, index, COIN)
    assert encoder.finish() == before


@each_backend
def test_pop_refuses_a_table_that_is_not_there(backend):
    decoder = open_coder(backend).decoder(b"\1")
    for bad in (1, -1):
        with pytest.raises(CoderError, match="index is outside"):
            decoder.pop(i32(0, bad), COIN)


@each_backend
def test_only_the_shortest_form_of_a_stream_is_read(backend):
    with pytest.raises(PacketSyncError, match="zero byte"):
        open_coder(backend).decoder(b"\1\0")


@each_backend
def test_an_escape_without_end_is_refused(backend):
    always_escape = Tables([1, TOTAL - 1], [2], [0])
    decoder = open_coder(backend).decoder(b"\1")
    with pytest.raises(PacketSyncError, match="escape"):
        decoder.pop(i32(0), always_escape)


@each_backend
def test_an_escape_beyond_the_limit_is_refused(backend):
    """An honest encoder with tables one step to the left writes what a decoder must not accept."""
    left, right = (Tables([HALF, HALF], [2], [offset]) for offset in (-1, 0))
    data, _ = encode(backend, [(i32(SYMBOL_LIMIT), i32(0), left)])
    with pytest.raises(PacketSyncError, match="escape"):
        open_coder(backend).decoder(data).pop(i32(0), right)


def as_on_the_page(tables):
    rows = zip(tables.start.tolist(), tables.size.tolist(), tables.offset.tolist(), strict=True)
    return [Table(tables.counts[start : start + size].tolist(), offset) for start, size, offset in rows]


MIXED = gaussian_tables([0.2, 3.0, 200.0])
MIXED_ON_THE_PAGE = as_on_the_page(MIXED)


def outcome(backend, data, index, tables, seal):
    decoder = open_coder(backend).decoder(data)
    try:
        symbols = decoder.pop(index, tables)
        decoder.finish(seal)
    except PacketSyncError:
        return None
    return symbols


@needs_both
@given(st.data(), st.integers(0, 30), st.integers(0, 2**32 - 1))
@quick
def test_any_stream_is_refused_or_is_what_its_symbols_encode_to(data, n, seed):
    rng, tables = np.random.default_rng(seed), MIXED
    index = rng.integers(0, 3, n).astype(np.int32)
    stream = data.draw(st.binary(max_size=40)).rstrip(b"\0")
    # The seal that this very stream leaves, so that streams of the right length are accepted; by the decoder
    # that is written from docs/format.md alone.
    stack = Stack(stream)
    with suppress(Refused):
        stack.part(index.tolist(), MIXED_ON_THE_PAGE)
    seal = stack.x & 0xFFFF
    symbols = outcome("numba", stream, index, tables, seal)
    reference = outcome("constriction", stream, index, tables, seal)
    assert (symbols is None) == (reference is None)
    if symbols is not None:
        assert np.array_equal(symbols, reference)
        assert encode("numba", [(symbols, index, tables)], seal)[0] == stream


def test_threads_may_share_a_coder():
    coder, part = open_coder("numba"), gaussian_part(5000)
    expected, _ = encode("numba", [part])
    results = []

    def work():
        for _ in range(20):
            encoder = coder.encoder()
            encoder.push(*part)
            results.append(encoder.finish() == expected)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 80


def test_unknown_backend():
    with pytest.raises(CoderError, match="unknown coder backend 'huffman'"):
        open_coder("huffman")


WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import numpy as np
import runtime.codec.coder
from runtime.errors import CoderError
from runtime.codec.tables import Tables

assert not {{"numba", "constriction", "torch"}} & set(sys.modules), "imported before it is needed"
for name in {absent!r}:
    try:
        runtime.codec.coder.open_coder(name)
        raise SystemExit("no error")
    except CoderError as error:
        assert f"pip install {{name}}" in str(error)
try:
    coder = runtime.codec.coder.open_coder()
except CoderError as error:
    raise SystemExit(f"none: {{error}}")
tables, symbols = Tables([2**23, 2**23], [2], [0]), np.array([0, 9, -4], dtype=np.int32)
encoder = coder.encoder()
encoder.push(symbols, 0 * symbols, tables)
decoder = coder.decoder(encoder.finish())
assert np.array_equal(decoder.pop(0 * symbols, tables), symbols)
decoder.finish()
print(coder.name)
"""


@needs_both
@pytest.mark.parametrize(
    ("absent", "said"),
    [
        ([], "numba"),
        (["constriction"], "numba"),
        (["numba"], "constriction"),
        (list(BACKENDS), "pip install"),
    ],
)
def test_backends_that_are_not_installed(absent, said):
    script = WITHOUT.format(absent=absent)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert said in run.stdout + run.stderr
    assert run.returncode == (1 if said == "pip install" else 0), run.stderr


def test_a_cache_that_cannot_be_written_names_the_cure(monkeypatch):
    def no_cache(name):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("runtime.codec.coder.import_module", no_cache)
    with pytest.raises(CoderError, match="NUMBA_CACHE_DIR"):
        open_coder("numba")
