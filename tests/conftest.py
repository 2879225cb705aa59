"""Fixtures that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.tiny_bundle import make_tiny_bundle

# The first example of a test may have to compile a kernel, and machines are noisy.
settings.register_profile("ratehold", deadline=None)
settings.load_profile("ratehold")


SLOW_SECONDS = 7200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests take minutes, on a busy machine an hour: their limit is not that of the others."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))


@pytest.fixture(scope="session")
def tiny_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny bundle of each prior, side by side."""
    folder = tmp_path_factory.mktemp("bundles")
    return {"fp": make_tiny_bundle(folder, "fp"), "mshp": make_tiny_bundle(folder, "mshp")}


@pytest.fixture(scope="session")
def robust_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two-headed tiny bundle of each prior, with shield and guard."""
    folder = tmp_path_factory.mktemp("robust")
    return {"fp": make_tiny_bundle(folder, "fp", True), "mshp": make_tiny_bundle(folder, "mshp", True)}
