"""Restore and tail of all bundles of a server: each graph is opened once, for all workers.

Sessions of ONNX Runtime may run in several threads at a time, so the bundles of one family cost the memory of
one tail. Where several frames share a run, a graph is opened with a free batch dimension (``any_batch``) and
compared with the original. A graph whose frames influence each other stays as it is, and runs frame by frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.engines import Engine, EngineOptions, OnnxGraph, open_engine
from runtime.engines.onnx_file import INT64, parse
from runtime.engines.onnxruntime_cpu import open_model
from runtime.errors import EngineError

OPTIONS = EngineOptions(threads=1)
ROLES = ("restore", "tail")

BATCH = "batch"
"""Name of the free dimension."""

PROVEN = 3
"""Frames in the run that is compared with as many runs of one frame."""

TOLERANCE = 1e-4
"""Largest difference, relative to the largest output: float32 sums in another order."""


class Networks:
    """y_hat -> the tail's output, for frames of several bundles in one run of their tail. Thread-safe.

    Args:
        bundles: bundles of the frames.
        batch: most frames in a run. 1: graphs are opened as they are.

    Attributes:
        one_by_one: bundles whose frames cannot share a run, by name, and why.
    """

    def __init__(self, bundles: Sequence[Bundle], batch: int):
        self._engines: dict[str, Engine] = {}
        self._reasons: dict[str, str] = {}
        self.one_by_one: dict[str, str] = {}
        for bundle in bundles:
            for role in ROLES:
                digest = bundle.manifest.files[role].sha256
                if digest not in self._engines:
                    self._open(digest, bundle.graph(role), batch)
                if digest in self._reasons:
                    self.one_by_one[bundle.manifest.name] = self._reasons[digest]

    def batch_key(self, bundle: Bundle) -> str | None:
        """Frames with the same batch key may share a run; None: this bundle's frames may not."""
        if bundle.manifest.name in self.one_by_one:
            return None
        return bundle.manifest.files["tail"].sha256

    def run(self, bundles: Sequence[Bundle], latents: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The tail's output of n frames with the same batch key, float32 (n, ...). Raises EngineError.

        bundles, latents: of each frame; a latent is y_hat, float32 (1, C, H, W).
        """
        restores = [bundle.manifest.files["restore"].sha256 for bundle in bundles]
        order = sorted(range(len(restores)), key=restores.__getitem__)
        features = []
        for digest, numbers in groupby(order, restores.__getitem__):
            y_hat = np.concatenate([latents[number] for number in numbers])
            features += self._engines[digest].run(y_hat)
        tail = self._engines[bundles[0].manifest.files["tail"].sha256]
        (output,) = tail.run(np.concatenate(features))
        return output[np.argsort(order)]

    def _open(self, digest: str, graph: OnnxGraph, batch: int) -> None:
        self._engines[digest] = engine = open_engine(graph, OPTIONS)
        if batch > 1:
            try:
                self._engines[digest] = _batched(graph, engine)
            except EngineError as error:
                self._reasons[digest] = str(error)


def _batched(graph: OnnxGraph, original: Engine) -> Engine:
    """The graph with a free batch dimension. Raises EngineError where frames in one run differ from alone."""
    engine = open_model(any_batch(graph.model), graph.name, OPTIONS)
    ((_, shape),) = original.inputs
    frames = np.random.default_rng(0).standard_normal((PROVEN, *shape[1:]), dtype=np.float32)
    (together,) = engine.run(frames)
    alone = np.concatenate([original.run(frame[None])[0] for frame in frames])
    if together.shape != alone.shape or not np.abs(together - alone).max() <= TOLERANCE * np.abs(alone).max():
        raise EngineError(f"{graph.name}: several frames in one run do not give what each gives alone")
    return engine


def any_batch(model: bytes) -> bytes:
    """An ONNX file of one frame -> the same with the free dimension ``batch`` in front.

    A Reshape to a constant shape that begins with 1 keeps its input's first dimension instead.

    Raises EngineError for a file that is not ONNX, or an input or output that does not begin with 1.
    """
    parsed = parse(model)
    graph = parsed.graph
    if not graph.input or not graph.output:
        raise EngineError("not an ONNX file: it has no inputs or no outputs")
    for value in (*graph.input, *graph.output):
        shape = value.type.tensor_type.shape.dim
        if not shape or shape[0].dim_value != 1:
            raise EngineError("an input or output does not begin with a batch of 1")
        shape[0].ClearField("dim_value")
        shape[0].dim_param = BATCH
    del graph.value_info[:]  # ONNX Runtime infers the inner shapes anew
    constants = {constant.name: constant for constant in graph.initializer}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            _keep_first(graph, node, _whole_numbers(constants[node.input[1]]))
    rewritten: bytes = parsed.SerializeToString()
    return rewritten


def _whole_numbers(constant: Any) -> list[int]:
    if constant.raw_data:
        return [int(value) for value in np.frombuffer(constant.raw_data, "<i8")]
    return list(constant.int64_data)


def _keep_first(graph: Any, node: Any, shape: list[int]) -> None:
    """Let a Reshape to (1, ...) keep its input's first dimension: 0 means that unless ``allowzero`` is set.

    The old constant stays, as other nodes may use it.
    """
    if shape[:1] != [1] or 0 in shape:
        return
    name = f"{node.input[1]}/{BATCH}"
    if all(constant.name != name for constant in graph.initializer):
        graph.initializer.add(name=name, data_type=INT64, dims=[len(shape)], int64_data=[0, *shape[1:]])
    node.input[1] = name
    kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
    del node.attribute[:]
    node.attribute.extend(kept)
