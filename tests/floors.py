"""The lowest versions that pyproject.toml allows: written as pip's constraints, and tried in the main job.

    python tests/floors.py --constraints     a line a package; needs only the standard library
    python -m tests.floors                   an image to a packet, to a server, to its classes

``make test-floors`` does both, in an environment of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r'"([\w.-]+)(?:\[[\w,]*\])?(?:>=|==)([\w.]+)[^"]*"')
PHOTO = ROOT / "bench/common/attacked_photos/cat.png"
BUNDLE = "efficientnet_lite0-mshp-r1-robust"


def floors() -> dict[str, set[str]]:
    """Each package that pyproject.toml asks for -> the lowest versions that it names, one unless it errs."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\n[project]\n")[2]
    found: dict[str, set[str]] = {}
    for name, version in REQUIREMENT.findall(re.sub(r"#.*", "", text)):
        found.setdefault(name.lower(), set()).add(version)
    return found


def installed_floors() -> Iterator[str]:
    """Those of them that are installed here, and whether in their lowest version."""
    for name, versions in floors().items():
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        (lowest,) = versions
        exact = re.fullmatch(re.escape(lowest) + r"(\.0)*", here) is not None
        yield f"{name} {here}" + ("" if exact else f", NOT its lowest version {lowest}")


def main_job() -> None:
    """Encode a photograph, decode the packet, and stream the photograph to a server on this machine."""
    with tempfile.TemporaryDirectory() as name:
        packet = Path(name) / "photo.rh"
        _ratehold("encode", str(PHOTO), "-o", str(packet), "--bundle", BUNDLE, "--budget", "4000")
        assert b"%" in _ratehold("decode", str(packet))
        _ratehold("inspect", str(packet))
        served = ["serve", "--http-port", "0", "--grpc-port", "0", "--bundle", BUNDLE]
        server = subprocess.Popen(_command(served), stderr=subprocess.PIPE, cwd=ROOT)
        try:
            assert server.stderr is not None
            at = next(told for line in server.stderr if (told := json.loads(line))["event"] == "listening")
            to = f"http://127.0.0.1:{at['http_port']}"
            told = _ratehold("stream", "--source", str(PHOTO), "--to", to, "--bundle", BUNDLE).splitlines()
        finally:
            server.terminate()
            server.wait(60)
        assert any(json.loads(line)["event"] == "answered" for line in told), "the server gave no answer"


def _ratehold(*arguments: str) -> bytes:
    return subprocess.run(_command([*arguments]), check=True, cwd=ROOT, stdout=subprocess.PIPE).stdout


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "runtime", *arguments]


if __name__ == "__main__":
    if sys.argv[1:] == ["--constraints"]:
        for package, versions in floors().items():
            print(f"{package}=={min(versions)}")
    else:
        told = list(installed_floors())
        print("\n".join(told))
        main_job()
        if any("NOT" in line for line in told):
            sys.exit("a package is not in its lowest version")
        print("the main job runs with the lowest versions that pyproject.toml allows")
