"""The committed attack pack stays inside its budget around the photographs that packages carry."""

from pathlib import Path

import numpy as np
import pytest

from bench.common.attack_pack import REDISTRIBUTABLE, Pack, attacked, read_pack, write_pack
from bench.common.photos import CARRIED, photos
from runtime.bundle import DEFAULT, load
from runtime.errors import ImageError
from runtime.head import Head


def test_each_redistributable_photograph_is_in_it_and_inside_the_budget():
    square = load(DEFAULT).manifest.preprocess.square
    eps = read_pack().eps
    assert REDISTRIBUTABLE.keys() <= CARRIED.keys()
    for name, image in photos():
        frame = attacked(name, square(image))
        if name not in REDISTRIBUTABLE:
            assert frame is None
            continue
        change = np.abs(frame.astype(int) - square(image).astype(int))
        assert 0 < change.max() <= eps


def test_the_pack_raises_the_bytes_of_the_bundle_that_it_attacks():
    bundle = load(read_pack().bundle)
    square, head = bundle.manifest.preprocess.square, Head(bundle)
    name, image = photos()[0]
    frame = attacked(name, square(image))
    assert head.encode(frame).size > 1.3 * head.encode(image).size


def test_another_photograph_of_that_name_has_no_attacked_version():
    square = load(DEFAULT).manifest.preprocess.square(photos()[0][1])
    assert attacked("astronaut", square[::-1]) is None
    assert attacked("astronaut", square[:100]) is None
    assert attacked("nobody", square) is None


def test_a_pack_reads_as_it_was_written(tmp_path: Path):
    square = np.random.default_rng(0).integers(0, 250, (8, 8, 3), dtype=np.uint8)
    pack = Pack("tiny", "pgd_e", 4, 20, 0, {"cat": "nobody"})
    write_pack(pack, {"cat": square + np.uint8(4)}, tmp_path)
    assert read_pack(tmp_path) == pack
    assert np.array_equal(attacked("cat", square, tmp_path), square + 4)


def test_a_missing_pack_is_said(tmp_path: Path):
    with pytest.raises(ImageError, match=r"python -m bench\.attacks"):
        read_pack(tmp_path)
