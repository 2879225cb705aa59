"""A damaged bundle is a BundleError or works, within two seconds of a processor and 300 MB."""

from __future__ import annotations

import gc
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.errors import BundleError
from runtime.guard import Guard
from runtime.head import Head
from runtime.tail import Tail
from tests.runtime.bundle.mutations import mutated
from tests.tiny_bundle import make_tiny_bundle, tiny_images

ONE = EngineOptions(threads=1)
SECONDS, MEGABYTES = 2.0, 300
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Robust bundles, tried once, so that kernels are compiled."""
    folder = tmp_path_factory.mktemp("whole")
    bundles = {prior: make_tiny_bundle(folder, prior, robust=True) for prior in ("fp", "mshp")}  # type: ignore[arg-type]
    for path in bundles.values():
        use(path)
    return bundles


def use(folder: Path) -> None:
    """Load, open both halves, code a frame with its defence, and decode it."""
    bundle = load(folder)
    (image,) = tiny_images(1)
    head = Head(bundle, ONE, guard=Guard("auto"))
    head.warm_up()  # the way of a defended frame too
    packet = head.encode(image).to_bytes()
    logits = Tail(bundle, ONE).decode(packet)
    assert logits.shape == bundle.manifest.outputs[0].shape and np.isfinite(logits).all()
    bundle.labels()


def peak() -> float:
    """Largest resident memory since it was last cleared, in MB."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def check(source: Path, target: Path, seed: int) -> None:
    folder = mutated(source, target, seed)
    measured = CLEAR.exists()
    if measured:
        CLEAR.write_text("5")
    before, start = peak() if measured else 0.0, time.process_time()
    try:
        use(folder)
    except BundleError:
        pass
    finally:
        seconds, grown = time.process_time() - start, (peak() if measured else 0.0) - before
    gc.collect()
    assert seconds < SECONDS, f"{seconds:.1f} s"
    assert grown < MEGABYTES, f"{grown:.0f} MB"


@pytest.mark.parametrize("prior", ["fp", "mshp"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=16)
def test_damaged_bundles_are_bundle_errors_or_work(
    prior: str, seed: int, whole: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("damaged")
    check(whole[prior], target, seed)
    shutil.rmtree(target)


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["fp", "mshp"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5000)
def test_ten_thousand_damaged_bundles(
    prior: str, seed: int, whole: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("damaged")
    check(whole[prior], target, seed)
    shutil.rmtree(target)
