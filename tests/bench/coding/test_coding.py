import json

import numpy as np
import pytest

from bench.coding import __main__ as coding
from bench.coding.coders import Ours, Part, peers
from bench.common.terminal import open_console
from runtime.codec.tables import SCALES, gaussian_tables


@pytest.fixture(scope="module")
def frame():
    scaled = coding.synthetic(2_000, seed=5)
    rng = np.random.default_rng(6)
    tables = gaussian_tables(SCALES[10:20])
    index = rng.integers(0, 10, 500).astype(np.int32)
    return [Part(rng.integers(-90, 90, 500).astype(np.int32), index, tables), *scaled]


def test_every_peer_decodes_a_frame_of_two_parts(frame):
    for coder in peers(1, print):
        index = coder.index(frame)
        data = coder.encode(frame, index)
        decoded = coder.decode(data, frame, index)
        assert all(np.array_equal(p.symbols, symbols) for p, symbols in zip(frame, decoded, strict=True))
        assert coder.size(data) == len(data if isinstance(data, bytes) else b"".join(data))


def test_rows_and_summary(frame):
    coders = peers(1, print)
    rows = coding.measure_set("synthetic", [frame, frame], coders, runs=2)
    assert [row.coder for row in rows] == [coder.name for coder in coders]
    for row in rows[:2]:
        assert (row.symbols, row.timed_symbols, row.frames) == (5_000, 2_500, 2)
        assert row.payload_bytes == rows[0].payload_bytes
        assert row.gap * row.information_bytes <= 2 * 3  # bytes: rounding and the start of two streams
    summary = coding.summarise(rows)
    assert summary["overhead_ratio"] == rows[0].gap
    assert summary["header_bytes"] == 20
    assert summary["backend"] == "numba"
    coding.show(rows, summary, open_console())


def test_a_coder_that_is_wrong_is_not_timed(frame):
    class Wrong(Ours):
        def decode(self, data, frame, index):
            return [symbols + 1 for symbols in super().decode(data, frame, index)]

    with pytest.raises(SystemExit, match="does not decode"):
        coding.measure_set("synthetic", [frame], [Wrong("numba")], runs=1)


def test_command_line_writes_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(coding, "bundle_sets", lambda names: iter(()))
    monkeypatch.setattr(coding, "SYMBOLS", 20_000)
    path = tmp_path / "coding.json"
    assert coding.main(["--runs", "1", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["bench"] == "coding"
    assert result["summary"]["overhead_ratio"] < 0.002
    assert result["summary"]["header_bytes"] <= 24
    assert "numba" in capsys.readouterr().out
