"""Which photographs of a folder calibrate and train."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.calibrate.images import photographs_of, usable
from export.cli.options import photographs_for
from runtime.bundle import load
from runtime.errors import ImageError
from tests.tiny_bundle import tiny_images


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two photographs of 40 pixels, one of 20, and one of each kind of trouble."""
    first, second = tiny_images(2)
    for name, image in (("b.png", first), ("d.jpg", second), ("small.png", first[:20, :20])):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "a_broken.jpg").write_text("junk")
    (tmp_path / "c_cut.jpg").write_bytes((tmp_path / "d.jpg").read_bytes()[:400])
    (tmp_path / "._b.png").write_bytes(b"")
    (tmp_path / "frames.jpg").mkdir()
    (tmp_path / "gone.jpg").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "x.heic").write_bytes(b"")
    return tmp_path


def test_bad_photographs_cost_themselves_alone(mixed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [path.name for path in photographs_of(mixed, 32)] == ["b.png", "d.jpg"]
    said = capsys.readouterr().err.splitlines()
    assert said[0].endswith(
        "5 pictures; passed over 1 folders named like pictures, 1 hidden, 1 of another kind (.heic), "
        "2 that are no files"
    )
    assert [line.split(": ")[1:2] + line.split(": ")[2:3] for line in said[1:3]] == [
        ["passed over", str(mixed / "a_broken.jpg")],
        ["passed over", str(mixed / "c_cut.jpg")],
    ]
    assert said[3] == "ratehold: passed over 2 of 5 pictures, which cannot be read"


def test_pixels_come_with_their_file(mixed: Path) -> None:
    found = dict(usable(mixed, 32))
    assert np.array_equal(found[mixed / "b.png"], tiny_images(2)[0])


@pytest.mark.parametrize(("least", "taken"), [(None, 2), (40, 2), (20, 3)])
def test_training_takes_the_same_ones(
    least: int | None, taken: int, mixed: Path, tiny_bundles: dict[str, Path]
) -> None:
    assert len(photographs_for(load(tiny_bundles["fp"]), Namespace(photos=mixed, least_side=least))) == taken


def test_too_few_are_an_error(mixed: Path) -> None:
    with pytest.raises(ImageError, match="its shorter side needs 113"):
        photographs_of(mixed, 100)
    for name in ("b.png", "d.jpg", "small.png"):
        (mixed / name).write_bytes(b"")
    with pytest.raises(ImageError, match=r"none of 5 pictures can be read.*a_broken\.jpg"):
        photographs_of(mixed, 32)
