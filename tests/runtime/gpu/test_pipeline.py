"""Frames on a GPU without one: the whole way in the simulator, and the kernels compiled for every target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
TARGETS = ("8.7", "9.0", "11.0")  # Orin, Hopper, Thor


def run(script: str, simulator: bool, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": str(int(simulator)), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True, text=True, timeout=600, env=environment, cwd=ROOT,
    )  # fmt: skip


def test_a_frame_on_the_gpu_is_the_frame_on_the_cpu(tmp_path: Path) -> None:
    result = run("pipeline_cases.py", True, str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the GPU's frame is the CPU's" in result.stdout


def test_the_kernels_compile_to_ptx() -> None:
    for package in ("numba-cuda", "nvidia-nvvm"):
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed: pip install 'numba-cuda[cu13]'")
    result = run("kernels_ptx.py", False, *TARGETS)
    assert result.returncode == 0, result.stderr
    rounding = {"hyper_symbols", "symbol_likelihood"}  # there and back: two conversions
    for doubles in json.loads(result.stdout).values():
        assert doubles == {name: 2 * (name in rounding) for name in doubles} and len(doubles) == 7


def test_memory_policies_are_checked() -> None:
    code = (
        "from runtime.gpu.memory import policy\nfrom runtime.errors import EngineError\n"
        "assert policy('device') == 'device' and policy('pinned_mapped') == 'pinned_mapped'\n"
        "assert policy('auto') == 'device'\n"
        "try: policy('managed')\n"
        "except EngineError as error: print(error)\n"
    )
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    assert "pinned_mapped" in result.stdout
