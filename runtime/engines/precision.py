"""Half precision: a second graph beside the one that it was made from (``python -m export fp16``).

    head.onnx  ->  head-fp16-5f0c88a1.onnx

The digits are the first of head.onnx's SHA-256, so an fp16 graph whose original has changed is never found.
The manifest does not name fp16 graphs: a bundle keeps its id, and works with installations without them.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

from runtime.engines.graph import OnnxGraph
from runtime.errors import EngineError

Precision = Literal["float32", "float16"]

HALVED = ("head", "shield", "adapted")
"""Roles that have an fp16 graph. Never h_s: a prior that rounds differently on two machines loses sync."""


def half_graph(graph: OnnxGraph) -> Path:
    """Where the fp16 graph of this one belongs."""
    digest = hashlib.sha256(graph.model).hexdigest()
    return graph.path.with_name(f"{graph.path.stem}-fp16-{digest[:8]}.onnx")


def at_precision(graph: OnnxGraph, precision: Precision) -> tuple[OnnxGraph, Precision]:
    """What to open instead of ``graph``, and the precision of its arithmetic.

    Roles outside ``HALVED`` stay in float32. Raises EngineError where an fp16 graph is missing.
    """
    if precision == "float32" or graph.path.stem not in HALVED:
        return graph, "float32"
    half = half_graph(graph)
    if not half.exists():
        folder = graph.path.parent
        raise EngineError(f"{half} is not there; make it: python -m export fp16 {folder} --data DIR")
    return replace(graph, path=half, model=OnnxGraph.of_file(half).model), "float16"
