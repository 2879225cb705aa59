"""Bundles load only when every byte is what the manifest says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import MANIFEST, Manifest, installed, load
from runtime.errors import BundleError
from tests.tiny_bundle import rewrite


@pytest.fixture
def bundle_copy(tiny_bundles: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(tiny_bundles["mshp"].parent, tmp_path / "bundles")
    return tmp_path / "bundles" / "tiny-mshp"


def edit(folder: Path, **changes: object) -> None:
    raw = json.loads((folder / MANIFEST).read_text())
    raw.update(changes)
    (folder / MANIFEST).write_text(json.dumps(raw))


def test_manifest_round_trips(tiny_bundles: dict[str, Path]) -> None:
    for folder in tiny_bundles.values():
        manifest = load(folder).manifest
        assert Manifest.from_json(manifest.to_json()) == manifest


def test_id_is_the_manifests_hash(bundle_copy: Path) -> None:
    before = load(bundle_copy).id
    assert len(before) == 8
    edit(bundle_copy, step=0.123)
    assert load(bundle_copy).id != before


@pytest.mark.parametrize("role", ["head", "prior", "h_s", "scales", "restore", "tail", "labels"])
def test_one_flipped_bit_in_any_file_is_found(bundle_copy: Path, role: str) -> None:
    path = load(bundle_copy).path(role)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="SHA-256"):
        load(bundle_copy)


def test_missing_and_shortened_files_are_found(bundle_copy: Path) -> None:
    path = load(bundle_copy).path("head")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match="bytes, the manifest says"):
        load(bundle_copy)
    path.unlink()
    with pytest.raises(BundleError, match="install the bundle again"):
        load(bundle_copy)


def test_unknown_name_lists_what_is_installed() -> None:
    with pytest.raises(BundleError, match="installed:"):
        load("no-such-bundle")


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "../shared/../x", ".hidden", "", "a/b"])
def test_files_outside_the_bundle_are_refused(bundle_copy: Path, path: str) -> None:
    files = json.loads((bundle_copy / MANIFEST).read_text())["files"]
    files["head"]["path"] = path
    edit(bundle_copy, files=files)
    with pytest.raises(BundleError, match="outside the bundle"):
        load(bundle_copy)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 99},
        {"latent": [1, 2]},
        {"latent": [0, 4, 4]},
        {"files": []},
        {"hyper": "x"},
        {"clean_bits": [1]},
    ],
)
def test_wrong_manifests_are_refused(bundle_copy: Path, change: dict[str, object]) -> None:
    edit(bundle_copy, **change)
    with pytest.raises(BundleError, match="manifest"):
        load(bundle_copy)


@given(text=st.one_of(st.text(), st.dictionaries(st.text(), st.integers()).map(json.dumps)))
@settings(max_examples=200)
def test_arbitrary_manifest_text_is_a_bundle_error(text: str) -> None:
    with pytest.raises(BundleError):
        Manifest.from_json(text)


def test_pickles_are_never_loaded(bundle_copy: Path) -> None:
    path = load(bundle_copy).path("prior")
    np.savez(path, evil=np.array([{"a": 1}], dtype=object))
    bundle = load(rewrite(bundle_copy, "prior", path))
    with pytest.raises(BundleError, match="not a file of arrays"):
        bundle.arrays("prior")


def test_shipped_bundles_load_and_stay_small() -> None:
    names = installed()
    assert {f"efficientnet_lite0-{p}-r{r}" for p in ("fp", "mshp") for r in (1, 2, 3, 4)} <= set(names)
    paths = {b.path(role).resolve(): None for b in map(load, names) for role in b.manifest.files}
    assert sum(path.stat().st_size for path in paths) <= 40e6
    for name in names:
        assert load(name).manifest.name == name
