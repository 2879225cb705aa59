"""Nothing leaves the machine and nothing is written outside our cache, whatever ONNX Runtime would do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from native_denoise.cache_files import cache_folder

ROOT = Path(__file__).parents[3]

OPENED = """
import sys
{first}
from runtime.engines import EngineOptions, open_engine
import numpy as np
engine = open_engine(__import__("pathlib").Path(sys.argv[1]), EngineOptions())
engine.warm_up()
"""

ENCODED = """
import sys
import numpy as np
from runtime import Guard, Head, Tail, load
bundle = load(sys.argv[1])
packet = Head(bundle, guard=Guard("always")).encode(np.zeros((40, 40, 3), dtype=np.uint8))
Tail(bundle).decode(packet.to_bytes())
"""


@pytest.fixture
def stranger(tmp_path: Path) -> dict[str, str]:
    """The environment of a user whose home is empty. ONNX Runtime is silent under test and CI services, so
    their variables are left out.
    """
    (tmp_path / "home").mkdir()
    return {
        "HOME": str(tmp_path / "home"),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "RATEHOLD_CACHE": str(cache_folder()),  # kernels are there already
    }


@pytest.mark.parametrize("first", ["", "import export", "import bench"])
def test_an_engine_leaves_nothing_in_the_users_home(
    tmp_path: Path, stranger: dict[str, str], tiny_bundles: dict[str, Path], first: str
) -> None:
    graph = next(tiny_bundles["fp"].glob("*.onnx"))
    code = OPENED.format(first=first)
    subprocess.run([sys.executable, "-c", code, str(graph)], env=stranger, check=True, cwd=tmp_path)
    assert not list((tmp_path / "home").rglob("*"))


@pytest.mark.parametrize("told", ["0", "1"])
def test_who_sets_the_variable_has_their_way(tmp_path: Path, stranger: dict[str, str], told: str) -> None:
    code = "import os, runtime\nprint(os.environ['ORT_DISABLE_TELEMETRY'])"
    variables = stranger | {"ORT_DISABLE_TELEMETRY": told}
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == told


@pytest.mark.slow
def test_no_network_is_asked_for_and_no_file_is_written_elsewhere(
    tmp_path: Path, stranger: dict[str, str], robust_bundles: dict[str, Path]
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = tmp_path / "calls"
    calls = "trace=network,open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2"
    command = ["strace", "-f", "-qq", "-e", calls, "-o", str(log), sys.executable, "-c", ENCODED]
    stranger |= {"RATEHOLD_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [*command, str(robust_bundles["mshp"])],
        env=stranger,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    text = log.read_text()
    assert (tmp_path / "cache" / "kernels").is_dir() and "openat(" in text
    assert not re.search(r"AF_INET|AF_NETLINK", text)
    written = set(re.findall(r'open(?:at|at2)?\([^"]*"([^"]*)", [^)]*O_(?:WRONLY|RDWR|CREAT)', text))
    written |= set(re.findall(r'(?:mkdir|creat|rename)\w*\([^"]*"([^"]*)"', text))
    assert {
        path for path in written if not path.startswith((str(tmp_path / "cache"), "/dev/", "/proc/self"))
    } == set()
