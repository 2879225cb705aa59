"""Half precision is a graph of its own, beside the one that it was made from (``python -m export fp16``).

    head.onnx  ->  head-fp16-5f0c88a1.onnx

The digits begin the SHA-256 of head.onnx, so a half graph whose original has changed is never found. The
manifest does not name it: the bundle keeps its id, and decodes and is decoded by devices without it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from runtime.errors import EngineError

Precision = Literal["float32", "float16"]

HALVED = ("head", "shield", "adapted")
"""Graphs that have one. Never h_s: a prior that rounds otherwise on two machines loses the stream."""


def half_graph(graph: Path) -> Path:
    """Where the half graph of an ONNX file belongs."""
    try:
        digest = hashlib.sha256(graph.read_bytes()).hexdigest()
    except OSError as error:
        raise EngineError(f"{graph}: cannot open it: {error.strerror}") from error
    return graph.with_name(f"{graph.stem}-fp16-{digest[:8]}.onnx")


def at_precision(graph: Path, precision: Precision) -> tuple[Path, Precision]:
    """The file to open instead of ``graph``, and the precision of its arithmetic.

    Graphs that have no half twin by design stay in float32. Raises EngineError where one is missing.
    """
    if precision == "float32" or graph.stem not in HALVED:
        return graph, "float32"
    half = half_graph(graph)
    if not half.exists():
        raise EngineError(f"{half} is not there; make it: python -m export fp16 {graph.parent} --data DIR")
    return half, "float16"
