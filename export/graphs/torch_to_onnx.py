"""Export a torch module as an ONNX file, check it, and compare it with the module."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from export.errors import GraphError
from export.graphs.onnx_file import HALF_FROM, OPSET, save, store_in_half

TOLERANCE = 1e-4  # of the largest output: float32 in another order of summation


def round_to_half(module: nn.Module) -> None:
    """Round large parameters to float16 values, in place, so that ``write_graph`` stores them exactly."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() >= HALF_FROM:
                parameter.copy_(parameter.half().float())


def write_graph(
    module: nn.Module, example: torch.Tensor, path: Path, inputs: list[str], outputs: list[str]
) -> None:
    """Export ``module`` at the static shape of ``example`` to one file; weights that fit take 16 bits.

    Arithmetic stays float32: engines fold the Cast behind each stored constant when they open the graph.
    Raises GraphError when the graph differs from the module by more than ``TOLERANCE``.
    """
    module = module.eval()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module, (example,), dynamo=True, opset_version=OPSET, external_data=False,
            input_names=inputs, output_names=outputs, verbose=False,
        )  # fmt: skip
    assert program is not None
    save(_anonymous(store_in_half(program.model_proto)), path)
    compare(module, example, path)


def compare(module: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Run module and graph on ``example``; raise GraphError when they differ."""
    with torch.no_grad():
        expected = module(example)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"], enable_fallback=0)
    (given,) = session.get_inputs()
    if given.shape != list(example.shape):
        raise GraphError(f"{path.name}: takes {given.shape}, the module {list(example.shape)}")
    actual = session.run(None, {given.name: example.numpy()})
    for name, e, a in zip(
        [o.name for o in session.get_outputs()],
        expected if isinstance(expected, tuple) else (expected,),
        actual,
        strict=True,
    ):
        if e.shape != a.shape:
            raise GraphError(f"{path.name}: output {name} is {a.shape}, the module's {tuple(e.shape)}")
        error = float(np.abs(e.numpy() - a).max() / max(np.abs(e.numpy()).max(), 1e-12))
        if not error <= TOLERANCE:
            raise GraphError(f"{path.name}: output {name} differs from the torch module by {error:.1e}")


def _anonymous(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the exporter's notes: stack traces with this machine's paths, half of a small file."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.doc_string = ""
    return model
