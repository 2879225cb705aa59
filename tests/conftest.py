"""Fixtures that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny bundle of each prior, side by side."""
    folder = tmp_path_factory.mktemp("bundles")
    return {"fp": make_tiny_bundle(folder, "fp"), "mshp": make_tiny_bundle(folder, "mshp")}
