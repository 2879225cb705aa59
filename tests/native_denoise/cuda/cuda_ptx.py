"""Compile every CUDA kernel to PTX for one target, without a GPU, and ask ptxas what it needs.

    python tests/native_denoise/cuda/cuda_ptx.py 9.0 DIRECTORY

Writes NAME.ptx to the directory and prints {name: {"double_instructions": ..., and, where ptxas is on the
path, "registers", "spill_bytes", "stack_bytes", "shared_bytes"}} as JSON.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from numba import cuda, float32, float64, int64, void

from native_denoise.cuda import Tile, planes, strips
from native_denoise.cuda.device import REGISTERS
from native_denoise.cuda.fronts import rof_front

P = float32[:, :, ::1]
TILE = Tile()

KERNELS = {
    "released_step": (planes.released_step, void(P, P, P, int64, float32)),
    "descent_step": (planes.descent_step, void(P, P, P, P, int64, float32, float32, float32)),
    "rof_dual_step": (planes.rof_dual_step, void(P, P, P, P, int64, float32, float32)),
    "rof_primal_step": (planes.rof_primal_step, void(P, P, P, P, P, float32, float32, float32)),
    "rof_gap": (planes.rof_gap, void(P, P, P, P, P, int64, float32, float64[::1])),
    "rof_front": (rof_front(TILE), void(*[P] * 6, int64, float32, float32[:, ::1], int64, int64, int64)),
}
for name, shape in (("few", strips.FEW), ("many", strips.MANY)):
    KERNELS[f"released_{name}"] = strips.released_strips(shape), void(P, P, P, int64, float32, int64)
    signature = void(P, P, P, P, int64, float32, float32, float32, int64)
    KERNELS[f"descent_{name}"] = strips.descent_strips(shape), signature


def ptxas(path: Path, target: str, most: int) -> dict[str, int]:
    """Registers, spills, stack and shared memory of the kernel in a PTX file."""
    limit = f"-maxrregcount={most}"
    command = ["ptxas", "-v", limit, f"-arch=sm_{target}", str(path), "-o", str(path.with_suffix(".cubin"))]
    run = subprocess.run(command, capture_output=True, text=True)
    older = re.search(r"Unsupported .version [\d.]+; current version is '([\d.]+)'", run.stderr)
    if older:
        # NVVM is newer than this ptxas. The kernels use no instruction that the older version lacks.
        path.write_text(re.sub(r"(?m)^\.version .*", f".version {older[1]}", path.read_text()))
        run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    log = run.stderr
    numbers = {
        "registers": r"Used (\d+) registers",
        "stack_bytes": r"(\d+) bytes stack frame",
        "shared_bytes": r"(\d+) bytes smem",
    }
    facts = {name: int(found[1]) if (found := re.search(p, log)) else 0 for name, p in numbers.items()}
    facts["spill_bytes"] = sum(map(int, re.findall(r"(\d+) bytes spill", log)))
    return facts


def main(target: str, directory: Path) -> None:
    capability = tuple(map(int, target.split(".")))
    report = {}
    for name, (function, signature) in KERNELS.items():
        ptx, _ = cuda.compile_ptx(function, signature, cc=capability, fastmath=True)
        path = directory / f"{name}.ptx"
        path.write_text(ptx)
        facts = {"double_instructions": len(re.findall(r"^\s+\w+\.(?:\w+\.)*f64\b", ptx, re.M))}
        if shutil.which("ptxas"):
            most = strips.REGISTERS if name.endswith(("few", "many")) else REGISTERS
            facts.update(ptxas(path, target.replace(".", ""), most))
        report[name] = facts
    json.dump(report, sys.stdout, indent=1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
