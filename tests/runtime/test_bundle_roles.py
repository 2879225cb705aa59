"""What a loader that asks for some roles gets: these verified, and nothing of another schema or shape."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle import MANIFEST, Manifest, load
from runtime.errors import BundleError


@pytest.fixture
def copy(tiny_bundles: dict[str, Path], tmp_path: Path) -> Path:
    shutil.copytree(tiny_bundles["mshp"].parent, tmp_path / "bundles")
    return tmp_path / "bundles" / "tiny-mshp"


def damage(path: Path) -> None:
    """Flip one bit, somewhere other than in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("role", ["head", "prior", "h_s", "scales", "restore", "tail", "labels"])
def test_what_is_asked_for_is_verified_and_the_rest_may_be_damaged_or_missing(copy: Path, role: str) -> None:
    bundle = load(copy)
    others = [other for other in bundle.manifest.files if other != role]
    damage(bundle.path(others[0]))
    bundle.path(others[-1]).unlink()
    assert load(copy, (role,)).id == bundle.id
    damage(bundle.path(role))
    with pytest.raises(BundleError, match="SHA-256"):
        load(copy, (role,))
    bundle.path(role).unlink()
    with pytest.raises(BundleError, match="again"):
        load(copy, (role,))


def manifest_with(folder: Path, **changes: Any) -> str:
    return json.dumps(json.loads((folder / MANIFEST).read_text(encoding="utf-8")) | changes)


@pytest.mark.parametrize("schema", [0, -1, 4, 1.5, "3", None])
def test_no_newer_schema_is_read(tiny_bundles: dict[str, Path], schema: Any) -> None:
    Manifest.from_json(manifest_with(tiny_bundles["mshp"]))
    with pytest.raises(BundleError, match="schema"):
        Manifest.from_json(manifest_with(tiny_bundles["mshp"], schema=schema))


@pytest.mark.parametrize("field", ["latent", "hyper", "features"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_shapes_have_a_limit_along_each_axis(tiny_bundles: dict[str, Path], field: str, axis: int) -> None:
    folder = tiny_bundles["mshp"]
    for size in (0, -1, (1 << 14) + 1, 1 << 40):
        shape = [4, 4, 4]
        shape[axis] = size
        with pytest.raises(BundleError, match=f"shape|{field}"):
            Manifest.from_json(manifest_with(folder, **{field: shape}))
