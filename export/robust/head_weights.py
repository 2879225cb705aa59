"""Weights of a head graph: those of its backbone, to be trained, and a graph written with others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from onnx import numpy_helper

from export.graphs.onnx_file import read_model, save
from export.graphs.torch_graph import TorchGraph
from runtime.bundle import Bundle
from runtime.errors import BundleError

BACKBONE = "backbone."
"""Prefix of the backbone's weights in a head graph (``export.build.HeadGraph``)."""


def backbone_weights(graph: TorchGraph) -> dict[str, torch.Tensor]:
    """The backbone's convolutions and biases by their name in ``graph``, ready to be trained.

    Raises BundleError when the graph was not built by ``export.build``.
    """
    names = [n for n in graph.constants if n.startswith(BACKBONE) and (".weight" in n or ".bias" in n)]
    if not names:
        raise BundleError(f"the head graph has no weights called {BACKBONE}*: build the bundle with export")
    for name in names:
        graph.constants[name] = graph.constants[name].clone().requires_grad_(True)
    return {name: graph.constants[name] for name in names}


def write_head(bundle: Bundle, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write the bundle's head graph with other weights in its backbone, stored as precisely as its own.

    Raises BundleError when the head is not one that these weights fit.
    """
    model = read_model(bundle.graph("head"))
    constants = {initializer.name: initializer for initializer in model.graph.initializer}
    for name, weight in weights.items():
        initializer = constants.get(name)
        if initializer is None or tuple(initializer.dims) != tuple(weight.shape):
            raise BundleError(f"{bundle.manifest.name}: {path.stem}'s {name} does not fit its head")
        stored = numpy_helper.to_array(initializer).dtype
        initializer.CopyFrom(numpy_helper.from_array(weight.numpy().astype(stored), name))
    save(model, path)
