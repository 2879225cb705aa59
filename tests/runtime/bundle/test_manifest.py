"""Each field of a manifest has a type and a bound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle import INSTALLED, MANIFEST, FileEntry, Manifest, check_name, installed, load
from runtime.bundle.manifest import SINCE_2
from runtime.errors import BundleError
from tests.tiny_bundle import rewrite

SHA = "0" * 64


@pytest.fixture
def raw(tiny_bundles: dict[str, Path]) -> dict[str, Any]:
    """The manifest of a bundle that works."""
    found: dict[str, Any] = json.loads((tiny_bundles["mshp"] / MANIFEST).read_text())
    return found


@pytest.mark.parametrize("name", installed())
def test_shipped_manifests_are_read_and_written_as_they_are(name: str) -> None:
    text = (INSTALLED / name / MANIFEST).read_text()
    assert Manifest.from_json(text).to_json() == text


WRONG: dict[str, list[Any]] = {
    "schema": [0, 3, "2", True, 2.0, None],
    "name": ["", "a/b", "..", "-x", ".x", "shared", "a b", "a\n", "x" * 129, 7, ["a"], "<img>", "é"],
    "backbone": ["", "../x", "/x", None],
    "prior": ["gp", None, "fp"],
    "rate": [0, -1, 65, 1.5, True, "1"],
    "step": [0, -1.0, "1", None, 1e400, True],
    "classes": [0, -1, 1 << 21, 10.0, "a", True],
    "preprocess": [{}, [], {"size": 32}, {"size": 0, "crop": 1.0}, {"size": 1 << 20, "crop": 1.0},
                   {"size": 32, "crop": 0}, {"size": 32, "crop": 1.1}, {"size": 32, "crop": 1, "x": 1}],
    "latent": [[6, 4], [6, 4, 4, 4], [6.0, 4, 4], [0, 4, 4], [6, -4, 4], [1 << 14, 1 << 12, 1 << 12], "abc",
               {"0": 1}, [True, 4, 4], None],
    "hyper": [None, [2, 2], [1 << 14, 1 << 12, 1]],
    "features": [None, [1 << 14, 1 << 12, 1 << 12]],
    "clean_bits": [None, {}, [1], [[0.5]], [[0.5, -1]], [[2, 5]], [["a", 5]], [[0.5, 1]] * 65, [[0.5, 1e13]]],
    "budget": [0, -1, 90.0, "90", True, (1 << 28) + 1, []],
    "files": [[], None, {"prior": {}}, {"Prior": {"path": "a", "bytes": 1, "sha256": SHA}}, {}],
    "provenance": [[], None, "x"],
}  # fmt: skip


@pytest.mark.parametrize(("member", "value"), [(m, v) for m, of in WRONG.items() for v in of])
def test_other_types_and_values_are_refused(member: str, value: Any, raw: dict[str, Any]) -> None:
    raw[member] = value
    with pytest.raises(BundleError):
        Manifest.from_json(json.dumps(raw))


@pytest.mark.parametrize("member", [*WRONG, "more"])
def test_all_members_are_needed_and_no_others(member: str, raw: dict[str, Any]) -> None:
    Manifest.from_json(json.dumps(raw))
    if member in raw:
        del raw[member]
    else:
        raw[member] = 1
    with pytest.raises(BundleError):
        Manifest.from_json(json.dumps(raw))


def test_a_manifest_of_schema_1_has_no_budget(raw: dict[str, Any]) -> None:
    """It is read as it was written then, with exactly its own members; written again it is of this schema."""
    old = {name: value for name, value in raw.items() if name not in SINCE_2} | {"schema": 1}
    manifest = Manifest.from_json(json.dumps(old))
    assert manifest.budget is None and manifest == Manifest.from_json(json.dumps(raw))
    assert Manifest.from_json(manifest.to_json()) == manifest
    for name in SINCE_2:
        with pytest.raises(BundleError, match=name):
            Manifest.from_json(json.dumps(old | {name: raw[name]}))


@pytest.mark.parametrize(
    ("path", "size", "sha256"),
    [
        ("manifest.json", 1, SHA),
        ("x" * 129, 1, SHA),
        (7, 1, SHA),
        ("a", -1, SHA),
        ("a", 1 << 31, SHA),
        ("a", 1.0, SHA),
        ("a", 1, SHA.replace("0", "A")),
        ("a", 1, SHA[1:]),
        ("a", 1, None),
    ],
)
def test_impossible_files_are_refused(path: Any, size: Any, sha256: Any) -> None:
    with pytest.raises(BundleError, match="manifest"):
        FileEntry(path, size, sha256)


@pytest.mark.parametrize("role", ["prior", "scales", "h_s"])
def test_files_without_which_no_packet_can_be_read_are_needed(role: str, raw: dict[str, Any]) -> None:
    del raw["files"][role]
    with pytest.raises(BundleError, match=f"no file has the role {role}"):
        Manifest.from_json(json.dumps(raw))


TEXTS: dict[str, Callable[[str], str]] = {
    "deep": lambda text: "[" * 100_000,
    "long": lambda text: text + " " * (1 << 18),
    "integer": lambda text: text.replace('"rate": 1', f'"rate": {"9" * 5000}'),
    "nan": lambda text: text.replace('"step": 1.0', '"step": NaN'),
    "twice": lambda text: text.replace('"rate": 1', '"rate": 2, "rate": 1'),
    "deep notes": lambda text: text.replace('"tests.tiny_bundle"', "[" * 50 + "]" * 50),
    "infinite notes": lambda text: text.replace('"tests.tiny_bundle"', "1e999"),
}  # fmt: skip


@pytest.mark.parametrize("change", TEXTS)
def test_text_that_readers_disagree_about_is_refused(change: str, raw: dict[str, Any]) -> None:
    text = json.dumps(raw)
    assert TEXTS[change](text) != text
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(TEXTS[change](text))
    assert len(str(caught.value)) < 300


def test_a_message_shows_little_of_a_strangers_text(raw: dict[str, Any]) -> None:
    raw["name"] = "\x1b[31m\n" * 1000
    with pytest.raises(BundleError) as caught:
        Manifest.from_json(json.dumps(raw))
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_names_are_names_and_no_paths() -> None:
    for name in ("efficientnet_lite0-mshp-r1-robust", "a", "0.1_b-c"):
        check_name(name)
    for wrong in ("../a", "/a", "a/b", "a\\b", "C:", "", ".", "..", "shared"):
        with pytest.raises(BundleError):
            check_name(wrong)


@pytest.mark.parametrize(
    "text", [b"\xff\xfe\x00", b"one\n", b"thing\n" * 9, b"thing\n" * 9 + b"\x1b[31mred\n", b"x\n" * (1 << 20)]
)
def test_labels_are_as_many_printable_lines_as_there_are_classes(
    text: bytes, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    from shutil import copytree

    folder = tmp_path / "bundles" / "tiny-fp"
    copytree(tiny_bundles["fp"].parent, folder.parent)
    (folder / "labels.txt").write_bytes(text)
    with pytest.raises(BundleError, match=r"labels\.txt"):
        load(rewrite(folder, "labels", folder / "labels.txt")).labels()
