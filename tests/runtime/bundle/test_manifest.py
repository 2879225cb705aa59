"""Each field of a manifest has a type and a bound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle import INSTALLED, MANIFEST, FileEntry, Manifest, check_name, installed, load
from runtime.errors import BundleError
from runtime.tasks import Output
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
    manifest = Manifest.from_json(text)
    again = manifest.to_json()
    assert Manifest.from_json(again) == manifest and Manifest.from_json(again).to_json() == again


WRONG: dict[str, list[Any]] = {
    "schema": [0, 1, 2, 4, "3", True, 3.0, None],
    "name": ["", "a/b", "..", "-x", ".x", "shared", "a b", "a\n", "x" * 129, 7, ["a"], "<img>", "é"],
    "backbone": ["", "../x", "/x", None],
    "prior": ["gp", None, "fp"],
    "rate": [0, -1, 65, 1.5, True, "1"],
    "step": [0, -1.0, "1", None, 1e400, True],
    "task": [None, [], {}, {"kind": 1}, {"kind": "../x"}, {"kind": "base"}, {"kind": "no_such"},
             "classification",
             {"kind": "classification", "more": 1}, {"kind": "detection"},
             {"kind": "detection", "strides": [8]}, {"kind": "detection", "strides": [5], "bins": 2}],
    "outputs": [None, {}, [], [{"name": "logits"}], [{"name": "logits", "shape": []}],
                [{"name": 1, "shape": [10]}],
                [{"name": "a/b", "shape": [10]}], [{"name": "logits", "shape": [0]}],
                [{"name": "logits", "shape": [1 << 21]}], [{"name": "logits", "shape": [10.0]}],
                [{"name": "logits", "shape": [True]}], [{"name": "logits", "shape": [10, 10]}],
                [{"name": "logits", "shape": [10], "more": 1}], [{"name": "logits", "shape": [10]}] * 2],
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


NEW = {1: {"task", "outputs", "budget"}, 2: {"task", "outputs"}}
"""Members of this schema that an earlier one lacks."""


def earlier(raw: dict[str, Any], schema: int) -> dict[str, Any]:
    """The manifest as an earlier schema has it."""
    old = {name: value for name, value in raw.items() if name not in NEW[schema]}
    return old | {"schema": schema, "classes": 10}


@pytest.mark.parametrize("schema", [1, 2])
def test_earlier_schemas_say_classes(schema: int, raw: dict[str, Any]) -> None:
    """They are read as they were written then; written again they are of this schema."""
    old = earlier(raw, schema)
    manifest = Manifest.from_json(json.dumps(old))
    assert manifest.task == {"kind": "classification"} and manifest.outputs == (Output("logits", (10,)),)
    assert manifest.budget == (None if schema == 1 else raw["budget"]) and manifest.schema == 3
    assert Manifest.from_json(manifest.to_json()) == manifest


@pytest.mark.parametrize("schema", [1, 2])
@pytest.mark.parametrize("classes", [0, -1, 1 << 21, 10.0, "a", True, None])
def test_classes_of_earlier_schemas_have_bounds(schema: int, classes: Any, raw: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="classes is"):
        Manifest.from_json(json.dumps(earlier(raw, schema) | {"classes": classes}))


@pytest.mark.parametrize("schema", [1, 2])
def test_a_manifest_has_the_members_of_its_schema_only(schema: int, raw: dict[str, Any]) -> None:
    old = earlier(raw, schema)
    for name in NEW[schema]:
        with pytest.raises(BundleError, match=name):
            Manifest.from_json(json.dumps(old | {name: raw[name]}))
    with pytest.raises(BundleError, match="classes"):
        Manifest.from_json(json.dumps(raw | {"classes": 10}))


def test_earlier_schemas_need_no_fit(raw: dict[str, Any]) -> None:
    del raw["preprocess"]["fit"]
    assert Manifest.from_json(json.dumps(earlier(raw, 2))).preprocess.fit == "crop"
    with pytest.raises(BundleError, match="fit"):
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
