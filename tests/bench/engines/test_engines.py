"""bench.engines: what it reads packets with, that it counts mismatches, and what it reports."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.engines import __main__ as engines
from bench.engines import comparison
from bench.engines.frames import KINDS, frames, varied
from bench.engines.priors import torch_network, with_synthesis
from runtime.bundle import Bundle, load
from runtime.codec.coder import open_coder
from runtime.engines import EngineOptions
from runtime.prior import open_prior
from runtime.prior.exact import IntegerNetwork, Layer
from tests.tiny_bundle import tiny_images


def layer(rng: np.random.Generator, **changes: Any) -> Layer:
    given: dict[str, Any] = {
        "weight": rng.integers(-40, 41, (4, 4, 3, 3)).astype(np.int32),
        "bias": rng.integers(-500, 500, 4).astype(np.int32),
        "transposed": False, "stride": 1, "padding": 1, "output_padding": 0,
        "shift": 6, "low": -127, "high": 127,
    }  # fmt: skip
    return Layer(**(given | changes))


@pytest.mark.parametrize("seed", range(3))
def test_torch_computes_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = IntegerNetwork(
        (
            layer(rng, transposed=True, stride=2, output_padding=1, low=0),
            layer(rng, leaky=True, shift=rng.integers(2, 9, 4).astype(np.int32)),
            layer(rng, stride=2),
        ),
        rungs=np.array([3, 1, 7, 2], np.int32),
    )
    z = rng.integers(-127, 128, (4, 5, 6)).astype(np.int32)
    out = torch_network(network, torch.from_numpy(z[None].astype(np.float32)))
    np.testing.assert_array_equal(out[0].numpy(), network(z))


def test_frames_are_of_every_kind_and_the_same_again(tiny_bundles: dict[str, Path]) -> None:
    bundle = load(tiny_bundles["mshp"])

    def some() -> list[tuple[str, list[NDArray[np.float32]]]]:
        return list(islice(frames(bundle, tiny_images(2), seed=5), 16))

    first, again = some(), some()
    assert {kind for kind, _ in first} == set(KINDS)
    for (_, a), (_, b) in zip(first, again, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
        assert [part.shape for part in a] == [(1, 6, 4, 4), (1, 2, 2, 2)]
    assert max(np.abs(z).max() for _, (_, z) in first) > 20


def test_variants_differ_and_stay_images() -> None:
    image = tiny_images(1)[0]
    rng = np.random.default_rng(0)
    variants = [varied(image, rng) for _ in range(5)]
    assert all(v.dtype == np.uint8 and v.shape[0] == v.shape[1] <= 40 for v in variants)
    assert len({v.tobytes() for v in variants}) == 5


def read_with(bundle: Bundle, change: int) -> int:
    """Mismatches in 8 frames where h_s is off by ``change`` at one place."""
    definition = IntegerNetwork.from_arrays(bundle.arrays("prior"))

    def h_s(z: NDArray[np.int32]) -> NDArray[np.float32]:
        out: NDArray[np.float32] = definition(z).ravel().astype(np.float32)
        out[0] += change
        return out

    reader = comparison.EngineReader("changed", with_synthesis(bundle, h_s), open_coder())
    prior = open_prior(bundle, EngineOptions(threads=1))
    for _, latents in islice(frames(bundle, tiny_images(1), seed=1), 8):
        streams = prior.code(*latents)
        reader.read(comparison.encode(streams, reader.coder), streams)
    return reader.mismatches


def test_one_index_that_is_off_by_one_is_a_mismatch(tiny_bundles: dict[str, Path]) -> None:
    bundle = load(tiny_bundles["mshp"])
    assert read_with(bundle, 0) == 0
    assert read_with(bundle, 1) == 8


def test_everything_reads_the_same(
    tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "photos", lambda: [("tiny", tiny_images(1)[0])])
    names = [str(tiny_bundles[prior]) for prior in ("fp", "mshp")]
    assert engines.main(["--bundle", *names, "--frames", "9", "--json", str(tmp_path / "e.json")]) == 0
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["summary"]["mismatches"] == 0 and report["summary"]["frames"] == 18
    read_by = {row["read_by"] for row in report["rows"] if "mshp" in row["bundle"]}
    assert {"torch", "onnxruntime-cpu, 1 thread, disabled", "onnxruntime-cpu, 2 threads, all"} <= read_by
    assert report["summary"]["decoded"] == sum(row["frames"] for row in report["rows"])


def test_without_a_gpu_its_engines_are_named(tiny_bundles: dict[str, Path]) -> None:
    readers, skipped = comparison.open_readers(load(tiny_bundles["mshp"]))
    names = " ".join(reader.name for reader in readers)
    for engine in ("onnxruntime-cuda", "tensorrt"):
        assert (engine in names) != bool(skipped.get(engine))
