"""Photographs as tensors and random views, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from export.calibrate.images import _random_square, photographs_of, random_view, to_tensor
from runtime.errors import ImageError
from runtime.preprocess import Preprocess


def test_a_tensor_has_the_pixels_by_channel_row_and_column() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    tensor = to_tensor(frames)
    assert tensor.dtype == torch.float32 and tensor.shape == (2, 3, 5, 7)
    for place in ((0, 1, 2, 0), (1, 4, 6, 2), (1, 0, 3, 1)):
        n, row, column, channel = place
        assert float(tensor[n, channel, row, column]) == pytest.approx(frames[place] / 255)


def test_random_squares_reach_every_border_and_are_mirrored_half_the_time() -> None:
    """Pixels say where they come from: their row and their column."""
    rows, columns = np.mgrid[0:40, 0:52].astype(np.uint8)
    image, rng = np.stack([rows, columns, columns], -1), np.random.default_rng(0)
    squares = [_random_square(image, rng) for _ in range(400)]
    assert all(30 <= len(square) == square.shape[1] <= 40 for square in squares)
    assert {0, 39} <= {int(square[y, 0, 0]) for square in squares for y in (0, -1)}
    assert {0, 51} <= {int(square[0, x, 1]) for square in squares for x in (0, -1)}
    views = [random_view(image, Preprocess(32, 1.0), rng) for _ in range(200)]
    mirrored = sum(int(view[0, 0, 1]) > int(view[0, -1, 1]) for view in views)
    assert 60 < mirrored < 140


def test_a_photograph_of_just_the_least_size_is_taken(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (36, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    assert len(photographs_of(tmp_path, 32)) == 1  # 36 = 1.125 x 32
    Image.fromarray(noise[:35]).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="needs 36"):
        photographs_of(tmp_path, 32)
