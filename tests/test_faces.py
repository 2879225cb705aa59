"""The two packages' faces: every name of ``__all__`` is there, and nothing is imported before it is used."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FACES = {
    "runtime": {
        "Defence", "EngineOptions", "Flags", "Guard", "Head", "Nv12", "Packet", "RateholdError", "Tail",
        "__version__", "installed", "load", "read_image",
    },
    "native_denoise": {
        "BackendUnavailable", "CudaGraphError", "DenoiseError", "Denoised", "MaskMemory", "Settings",
        "denoise", "denoise_planar", "settings", "soft_mask",
    },
}  # fmt: skip


@pytest.mark.parametrize("package", FACES)
def test_every_name_of_the_face_is_there(package: str) -> None:
    face = importlib.import_module(package)
    assert set(face.__all__) == FACES[package]
    assert set(face.__all__) <= set(dir(face))
    for name in face.__all__:
        value = getattr(face, name)
        assert getattr(value, "__name__", name) == name
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        face.lode  # noqa: B018


@pytest.mark.parametrize("package", FACES)
def test_importing_the_face_is_light(package: str) -> None:
    code = (
        f"import sys, {package}\n"
        f"assert {{'load', 'denoise'}} & set(dir({package}))\n"
        "heavy = {'numpy', 'numba', 'PIL', 'onnxruntime', 'constriction'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        f"from {package} import *\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_version_is_that_of_the_project() -> None:
    import runtime

    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{runtime.__version__}"' in project or runtime.__version__ == "0+checkout"
