"""The one shape in which every benchmark writes its result.

{"bench": name, "provenance": {...}, "environment": {...}, "settings": {...}, "rows": [{...}, ...],
 "summary": {...}}
"""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.common.provenance import cores, processor, provenance

PACKAGES = (
    "numpy", "numba", "constriction", "onnxruntime", "onnxruntime-gpu", "onnx", "torch", "compressai",
    "pillow", "scikit-image", "opencv-python-headless", "numba-cuda",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """The machine and the versions that a figure depends on; nothing that names a person or a path."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "packages": versions,
    }


def write(
    path: str | None,
    bench: str,
    settings: dict[str, Any],
    rows: list[dict[str, Any]],
    summary: dict[str, Any],
) -> dict[str, Any]:
    """Return the report and, when ``path`` is given, write it there (``-``: standard output)."""
    report = {
        "bench": bench,
        "provenance": provenance(),
        "environment": environment(),
        "settings": settings,
        "rows": rows,
        "summary": summary,
    }
    text = json.dumps(report, indent=1) + "\n"
    if path == "-":
        sys.stdout.write(text)
    elif path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    return report
