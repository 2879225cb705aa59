"""What pyproject.toml, the lock files and the container promise about versions, without an installation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

from tests.floors import ROOT, floors

VULNERABLE = {
    "aiohttp": "3.13.3",
    "grpcio": "1.66.1",
    "numba": "0.60",  # nothing compiles with its LLVM
    "onnx": "1.20.1",
    "pillow": "12.1.1",
    "protobuf": "6.33.4",
    "ray": "2.53",
    "scikit-learn": "1.4.2",
    "tqdm": "4.66.2",
}
"""The last version of each that has a known vulnerability."""

LOCKS = [".ci/locks/dev.txt", ".ci/locks/peers.txt", "docker/jetson.txt", "docker/server.txt"]
LOCKS += [f"runtime/cli/deploy/wheelhouses/{board}.txt" for board in ("jetpack6", "jetpack7", "debian12")]


def locked(name: str) -> dict[str, list[str]]:
    """Package -> its versions in a lock file."""
    found: dict[str, list[str]] = {}
    for package, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE):
        found.setdefault(package, []).append(version)
    return found


def test_each_package_has_one_lowest_version() -> None:
    assert len(floors()) > 30
    assert {name: versions for name, versions in floors().items() if len(versions) > 1} == {}


@pytest.mark.parametrize("package", VULNERABLE)
def test_no_lowest_version_is_known_to_be_vulnerable(package: str) -> None:
    (lowest,) = floors()[package]
    assert Version(lowest) > Version(VULNERABLE[package])


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_satisfies_the_lowest_versions_and_has_hashes(name: str) -> None:
    for package, versions in locked(name).items():
        for version in versions:
            for lowest in floors().get(package, ()):
                assert Version(version) >= Version(lowest), f"{package} {version}: run make locks"
    entries = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    assert entries and all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in (ROOT / name).read_text()


def test_the_container_takes_each_package_from_one_index_with_hashes_and_is_not_root() -> None:
    text = (ROOT / "docker" / "Dockerfile.l4t").read_text()
    steps = re.sub(r"^#.*\n", "", text.replace("\\\n", " "), flags=re.MULTILINE).splitlines()
    installs = [step for step in steps if "pip install" in step]
    assert len(installs) == 3 and "extra-index-url" not in text
    for step in installs:
        assert "--no-deps" in step and ("--require-hashes --index-url" in step or "--no-index" in step)
    users = [step.split()[1] for step in steps if step.startswith("USER")]
    assert users and users[-1] not in ("root", "0")
    for name in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / Path(source)).exists() for source in name.split())
