"""Fixtures that tests of several benchmarks share."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.tiny_bundle import tiny_images


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled folder of four images."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    for number, image in enumerate(tiny_images(4)):
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
    (folder / "labels.csv").write_text("image,label\n" + "".join(f"{n},{n}\n" for n in range(4)))
    return folder
