"""Dependencies point one way, and importing the runtime is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "native_denoise": {"native_denoise"},
    "runtime": {"runtime", "native_denoise"},
    "export": {"export", "runtime", "native_denoise"},
    "bench": {"bench", "export", "runtime", "native_denoise"},
}


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_dependencies_point_one_way(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        ours = imported(file) & set(ALLOWED)
        assert ours <= ALLOWED[package], f"{file.relative_to(ROOT)} imports {ours - ALLOWED[package]}"


@pytest.mark.parametrize("package", ["runtime", "native_denoise"])
def test_the_edge_packages_never_name_torch_or_onnx(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert not imported(file) & {"torch", "torchvision", "onnx", "compressai", "matplotlib"}, file


def test_importing_the_runtime_is_light() -> None:
    code = (
        "import sys, runtime.head, runtime.tail, runtime.__main__\n"
        "runtime.head.Guard()\n"
        "heavy = {'torch', 'onnx', 'matplotlib', 'numba', 'onnxruntime', 'constriction'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_encoding_imports_neither_torch_nor_onnx(tiny_bundles: dict[str, Path]) -> None:
    code = (
        "import sys, numpy as np\n"
        "from runtime.bundle import load\nfrom runtime.head import Head\nfrom runtime.tail import Tail\n"
        f"bundle = load({str(tiny_bundles['mshp'])!r})\n"
        "image = np.zeros((40, 40, 3), dtype=np.uint8)\n"
        "Tail(bundle).decode(Head(bundle).encode(image).to_bytes())\n"
        "heavy = {'torch', 'onnx', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
