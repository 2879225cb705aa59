"""CUDA without a GPU: kernels in the simulator against the reference, and compiled to PTX for every
target.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TARGETS = [(8, 7), (9, 0), (11, 0)]  # Orin, Hopper, Thor


def run(script, simulator, *arguments):
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1" if simulator else "0"}
    return subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip


def toolkit():
    """Why PTX cannot be compiled here, or None."""
    for package in ("numba-cuda", "nvidia-nvvm"):
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            return f"{package} is not installed: pip install 'numba-cuda[cu13]'"
    return None


def gpu():
    """Why no kernel can run here, or None."""
    code = "from numba import cuda; print(cuda.is_available())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return None if found.stdout.strip() == "True" else "no NVIDIA GPU"


def test_every_path_equals_the_reference_in_the_simulator():
    result = run("cuda_cases.py", True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "all CUDA paths agree" in result.stdout


@pytest.mark.gpu
def test_every_path_equals_the_reference_on_the_gpu():
    reason = gpu()
    if reason:
        pytest.skip(reason)
    result = run("cuda_cases.py", False, "--large")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("target", TARGETS, ids=lambda cc: f"sm_{cc[0]}{cc[1]}")
def test_kernels_compile_to_ptx(target, tmp_path, record_property):
    reason = toolkit()
    if reason:
        pytest.skip(reason)
    result = run("cuda_ptx.py", False, f"{target[0]}.{target[1]}", str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    kernels = json.loads(result.stdout)
    assert len(kernels) == 10
    for name, facts in kernels.items():
        assert f".target sm_{target[0]}{target[1]}" in (tmp_path / f"{name}.ptx").read_text()
        # Everything stays in single precision; only the gap is summed in double.
        assert facts["double_instructions"] == 0 or name == "rof_gap"
        assert ("registers" in facts) == (shutil.which("ptxas") is not None)
        if "registers" in facts:
            record_property(name, facts)
            assert facts["spill_bytes"] <= (64 if name == "descent_many" else 0)  # two in 2,000 instructions
            assert facts["registers"] <= (128 if name.endswith(("few", "many")) else 64)
            # Two blocks of a tile fit in the 100 KiB or more of an SM.
            assert facts["shared_bytes"] <= 48 * 1024


def test_tiles_cover_the_plane():
    code = (
        "from native_denoise.cuda import Strips\n"
        "shape = Strips(columns=2, rows=8, warps=8, halo=4)\n"
        "x, y = shape.inside\n"
        "assert (x, y) == (shape.width - 8, 56)\n"
        "for w, h in ((1, 1), (x, y), (x + 1, y + 1), (224, 224)):\n"
        "    bx, by, bz = shape.blocks(w, h, 5)\n"
        "    assert (bx - 1) * x < w <= bx * x and (by - 1) * y < h <= by * y and bz == 5\n"
    )
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)


def test_device_arrays_are_checked():
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
    code = (
        "import numpy as np\n"
        "from native_denoise import DenoiseError, settings\n"
        "from native_denoise.cuda import Workspace, denoise_device, solve\n"
        "from native_denoise.cuda.device import cuda\n"
        "w = Workspace(settings('rof', iterations=1), 1, 2, 3, 4)\n"
        "good = cuda.to_device(np.zeros((1, 2, 3, 4), np.float32))\n"
        "for bad in (np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 4, 3), np.float32)):\n"
        "    try: denoise_device(cuda.to_device(bad), None, w, good)\n"
        "    except DenoiseError as error: print(error)\n"
        "try: solve(np.zeros((1, 2, 3, 4), np.float32), None, settings(), True, np.zeros((1, 2, 3, 4)))\n"
        "except DenoiseError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    lines = result.stdout.splitlines()
    assert len(lines) == 3, result.stdout
    assert "float32" in lines[0]
    assert "workspace" in lines[1]
    assert "vectorial" in lines[2]
