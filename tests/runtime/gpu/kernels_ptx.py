"""Compile the kernels of runtime.gpu to PTX for each target, without a GPU.

    python tests/runtime/gpu/kernels_ptx.py 8.7 9.0

Prints {target: {name: number of its double-precision instructions}} as JSON.
"""

import json
import re
import sys

from numba import cuda, float32, int32, int64, uint8, void

from runtime.gpu import kernels

IMAGE, INPUT, MASK = uint8[:, :, ::1], float32[:, :, :, ::1], float32[:, :, ::1]
FLAT, MAP, TAPS, INTEGERS = float32[::1], float32[:, ::1], int32[:, ::1], int32[::1]

KERNELS = {
    "nv12_to_rgb": void(uint8[:, ::1], IMAGE, INTEGERS, IMAGE),
    "resize_along_rows": void(IMAGE, INTEGERS, TAPS, IMAGE),
    "resize_to_input": void(IMAGE, INTEGERS, TAPS, int64, int64, INPUT),
    "hyper_symbols": void(FLAT, FLAT),
    "symbol_likelihood": void(FLAT, FLAT, FLAT, INTEGERS, INTEGERS, INTEGERS, FLAT),
    "likelihood_map": void(MASK, MASK, MAP),
    "resize_map": void(MAP, MASK),
}


def doubles_of(target: str) -> dict[str, int]:
    doubles = {}
    for name, signature in KERNELS.items():
        capability = tuple(map(int, target.split(".")))
        ptx, _ = cuda.compile_ptx(getattr(kernels, name), signature, cc=capability, fastmath=True)
        assert f".target sm_{target.replace('.', '')}" in ptx
        doubles[name] = len(re.findall(r"^\s+\w+\.(?:\w+\.)*f64\b", ptx, re.M))
    return doubles


if __name__ == "__main__":
    json.dump({target: doubles_of(target) for target in sys.argv[1:]}, sys.stdout)
