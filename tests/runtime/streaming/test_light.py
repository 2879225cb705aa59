"""What is imported, and what is asked for when it is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.runtime.streaming.server_process import ROOT

SERVER_ONLY = ("aiohttp", "grpc", "google.protobuf", "prometheus_client")


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)


def without_packages(names: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where those packages are not installed."""
    blocked = f"import sys\nfor name in {names!r}: sys.modules[name] = None\n"
    return run(f"{blocked}from runtime.cli.main import main\nsys.exit(main({list(arguments)!r}))")


def test_the_command_line_imports_neither_server_nor_client() -> None:
    heavy = (*SERVER_ONLY, "cv2", "ssl", "asyncio")
    done = run(
        f"import sys, runtime.__main__\nfound = set({heavy!r}) & set(sys.modules)\nassert not found, found"
    )
    assert done.returncode == 0, done.stderr


def test_a_device_needs_no_server_packages(pictures: Path, tiny_bundles: dict[str, Path]) -> None:
    arguments = ["stream", "--source", str(pictures), "--bundle", str(tiny_bundles["fp"])]
    done = without_packages((*SERVER_ONLY, "cv2"), *arguments, "--to", "ftp://edge")
    assert "a server is [http[s]://]HOST[:PORT]" in done.stderr
    done = without_packages(("cv2",), "stream", "--source", "0", "--to", "edge")
    assert done.returncode == 1 and "pip install opencv-python-headless" in done.stderr


def test_serving_without_its_packages_says_how_to_install_them(tiny_bundles: dict[str, Path]) -> None:
    for name in SERVER_ONLY:
        done = without_packages((name,), "serve", "--bundle", str(tiny_bundles["fp"]))
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert "pip install 'ratehold[serve]'" in done.stderr
