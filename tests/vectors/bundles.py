"""Makes the bundles of the vectors: a few kilobytes each, odd on purpose, decoding parts only.

    fp          5 x 6 x 7       one table without 0, one with a single symbol, one with a likely escape
    fp-far      3 x 1 x 3       tables at both ends of the symbols' range, and one with two likeliest symbols
    fp-long     3 x 28 x 34     enough symbols for a length of three bytes
    mshp        5 x 5 x 7       h_s as shipped ones: transposed, 3x3, 1x1; scale tables in no order
    mshp-leaky  4 x 6 x 8       every other part of h_s: leaks, shifts by channel, strides, rungs

They are committed and not made again: another NumPy or zlib might write other bytes, hence other ids.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from export.graphs.integer_graph import write_integer_network
from tests.runtime.codec.product import IntegerNetwork

TOTAL = 1 << 24
FOLDER = Path(__file__).parent / "bundles"


def make_bundles(folder: Path = FOLDER) -> None:
    """Write all of them."""
    rng = np.random.default_rng(24)
    channels = [
        _table(rng, 9, -4, 1.2),
        _table(rng, 2, 0, 1.0),
        _table(rng, 6, 1, 0.8),
        _table(rng, 40, -20, 6.0),
        _table(rng, 7, -5, 1.0, escape=1 << 23),
    ]
    _write(folder / "fp", "fp", (5, 6, 7), None, {"prior": _arrays(channels)}, compressed=False)
    _write(folder / "fp-long", "fp", (3, 28, 34), None, {"prior": _arrays(channels[:3])}, compressed=False)
    far = [
        (np.array([1 << 23, 1 << 23]), 1 << 20),
        (np.array([1 << 23, 1 << 23]), -1 << 20),
        (np.array([6_000_001, 999, 6_000_001, TOTAL - 12_001_001]), -1),
    ]
    _write(folder / "fp-far", "fp", (3, 1, 3), None, {"prior": _arrays(far)}, compressed=False)
    scales = [
        _table(rng, 2 + 2 * int(width), -int(width) + t % 3 - 1, 0.2 + width / 3)
        for t, width in enumerate(rng.permutation(24) * 1.3)
    ]
    z_tables = [_table(rng, 9, -4, 2.0), _table(rng, 15, -6, 3.0), _table(rng, 5, -3, 1.0)]
    for name, latent, hyper, h_s in (
        ("mshp", (5, 5, 7), (2, 3, 4), _plain(rng)),
        ("mshp-leaky", (4, 6, 8), (3, 3, 4), _leaky(rng)),
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_integer_network(IntegerNetwork.from_arrays(h_s), hyper, folder / name / "h_s.onnx")
        prior = _arrays(z_tables[: hyper[0]]) | h_s
        _write(
            folder / name, "mshp", latent, hyper, {"prior": prior, "scales": _arrays(scales)}, compressed=True
        )


def _table(
    rng: np.random.Generator, size: int, offset: int, scale: float, escape: int = 1 << 14
) -> tuple[Any, int]:
    """Counts of a two-sided exponential around 0, unevenly disturbed, and the offset."""
    mass = np.exp(-np.abs(np.arange(offset, offset + size - 1)) / scale) * rng.uniform(0.5, 1.5, size - 1)
    counts = np.maximum(np.floor(mass / mass.sum() * (TOTAL - escape)).astype(np.int64), 1)
    counts[np.argmax(counts)] += TOTAL - escape - counts.sum()
    return np.append(counts, escape), offset


def _arrays(tables: list[tuple[Any, int]]) -> dict[str, Any]:
    return {
        "counts": np.concatenate([counts for counts, _ in tables]).astype(np.uint32),
        "size": np.array([counts.size for counts, _ in tables], np.int32),
        "offset": np.array([offset for _, offset in tables], np.int32),
    }


def _plain(rng: np.random.Generator) -> dict[str, Any]:
    """z 2x3x4 -> 10x5x7, like the h_s of shipped bundles; geometry without its last, optional number."""
    return {
        "h_s.0.weight": rng.integers(-30, 31, (2, 6, 3, 3)).astype(np.int8),
        "h_s.0.bias": rng.integers(-9, 10, 6).astype(np.int32),
        "h_s.0.geometry": np.array([1, 2, 1, 0, 1, 0, 127], np.int32),
        "h_s.1.weight": rng.integers(-20, 21, (6, 6, 3, 3)).astype(np.int8),
        "h_s.1.bias": rng.integers(-99, 100, 6).astype(np.int32),
        "h_s.1.geometry": np.array([0, 1, 1, 0, 5, -100, 127], np.int32),
        "h_s.2.weight": rng.integers(-25, 26, (10, 6, 1, 1)).astype(np.int8),
        "h_s.2.bias": np.repeat([12 << 8, 5], 5).astype(np.int32),
        "h_s.2.geometry": np.array([0, 1, 0, 0, 8, -2047, 2047], np.int32),
    }


def _leaky(rng: np.random.Generator) -> dict[str, Any]:
    """z 3x3x4 -> 8x6x8 by way of 12x16, with everything that the page allows."""
    return {
        "h_s.0.weight": rng.integers(-60, 61, (3, 6, 5, 5)).astype(np.int8),
        "h_s.0.bias": rng.integers(-9, 10, 6).astype(np.int32),
        "h_s.0.geometry": np.array([1, 2, 2, 1, 0, -127, 127, 1], np.int32),
        "h_s.0.shift": np.array([0, 1, 2, 3, 2, 1], np.int32),
        "h_s.1.weight": rng.integers(-90, 91, (6, 5, 2, 2)).astype(np.int8),
        "h_s.1.bias": rng.integers(-99, 100, 5).astype(np.int32),
        "h_s.1.geometry": np.array([1, 2, 0, 0, 6, -127, 127, 0], np.int32),
        "h_s.2.weight": rng.integers(-40, 41, (7, 5, 3, 3)).astype(np.int8),
        "h_s.2.bias": rng.integers(-99, 100, 7).astype(np.int32),
        "h_s.2.geometry": np.array([0, 2, 1, 0, 6, -127, 127, 1], np.int32),
        "h_s.3.weight": rng.integers(-127, 128, (8, 7, 1, 1)).astype(np.int8),
        "h_s.3.bias": np.array([20 << 10, 20 << 9, 20 << 11, 20 << 10, -70, 9, 0, 70], np.int32),
        "h_s.3.geometry": np.array([0, 1, 0, 0, 0, -1023, 1023, 0], np.int32),
        "h_s.3.shift": np.array([10, 9, 11, 10, 7, 5, 8, 7], np.int32),
        "h_s.rungs": np.repeat(rng.permutation(24), 2)[:40].astype(np.int32),
    }


def _write(
    folder: Path,
    prior: str,
    latent: tuple[int, int, int],
    hyper: tuple[int, int, int] | None,
    roles: dict[str, dict[str, Any]],
    compressed: bool,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for role, arrays in roles.items():
        (np.savez_compressed if compressed else np.savez)(folder / f"{role}.npz", **arrays)
    found = sorted(path for path in folder.iterdir() if path.name != "manifest.json")
    manifest = {
        "schema": 1, "name": folder.name, "backbone": "none", "prior": prior, "rate": 1, "step": 1.0,
        "classes": 10, "preprocess": {"size": 32, "crop": 1.0}, "latent": latent, "hyper": hyper,
        "features": [5, 8, 8], "clean_bits": [[0.5, 100.0]],
        "files": {path.stem: _entry(path) for path in found},
        "provenance": {"made_by": "tests/vectors/bundles.py"},
    }  # fmt: skip
    (folder / "manifest.json").write_bytes((json.dumps(manifest, indent=1) + "\n").encode())


def _entry(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"path": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


if __name__ == "__main__":
    make_bundles()
