"""A bundle's server half as a model repository of Triton Inference Server.

    decode    Python backend          packet -> y_hat, by export/triton/decode.py
    tail      ONNX Runtime, TensorRT  y_hat -> logits, top classes, probabilities, by server_graph.py
    split     ensemble of the two     packet -> logits, top classes, probabilities

``split`` has the tensors of ``runtime.serving.protocol``, so a client of our own server can use it unchanged.
The configurations follow Triton's model_config.proto, in protobuf's text format.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from export.atomic import new_folders
from export.errors import ExportError
from export.triton.server_graph import Y_HAT, server_graph
from runtime.bundle import MANIFEST, Bundle
from runtime.serving.protocol import INPUT
from runtime.tail import READ_ROLES
from runtime.tasks.classification import TOP_K, Classification

MODELS = ("decode", "tail", "split")
VERSION = "1"
TYPES = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT32": "TYPE_INT32"}
"""Open Inference Protocol -> model_config.proto."""


@dataclass(frozen=True)
class TensorType:
    """Datatype of the Open Inference Protocol, and shape."""

    datatype: str
    shape: list[int]


Tensors = Mapping[str, TensorType]
"""By name."""

DECODE = Template("""\
# Written by `python -m export triton`: packets of the bundle $bundle (id $id) -> y_hat.
# Needs `pip install 'ratehold[cpu]'` in the interpreter of the Python backend.
name: "decode"
backend: "python"
# One packet a request: packets differ in length, and decoding is serial.
max_batch_size: 0
$input
$output
# Each instance is a process that keeps one core busy. Raise the count to the cores that you can spare.
instance_group [ { kind: KIND_CPU count: 2 } ]
""")

TAIL = Template("""\
# Written by `python -m export triton`: y_hat of the bundle $bundle -> logits and the likeliest classes.
name: "tail"
platform: "$platform"
# The graphs have a static batch of 1, so that one file serves every engine; hence no dynamic_batching.
# Instances run side by side instead: raise their count until the GPU or CPU is busy.
max_batch_size: 0
$input
$output
$instances
# The first frame does not pay for allocation.
model_warmup [
  {
    name: "zeros"
    batch_size: 1
    inputs { key: "$y_hat" value { data_type: TYPE_FP32 dims: $dims zero_data: true } }
  }
]
""")

INSTANCES = {
    "onnxruntime_onnx": """\
# On the GPU if Triton has one. On a CPU each instance takes one thread: set the count to its cores.
instance_group [ { count: 2 } ]
parameters { key: "intra_op_thread_count" value { string_value: "1" } }""",
    "tensorrt_plan": "instance_group [ { kind: KIND_GPU count: 2 } ]",
}

SPLIT = Template("""\
# Written by `python -m export triton`: the server half of the bundle $bundle.
# Its tensors are those of ratehold's own server; it ignores the request parameter top_k, which is always $k.
name: "split"
platform: "ensemble"
max_batch_size: 0
$input
$output
ensemble_scheduling {
  step [
    {
      model_name: "decode"
      model_version: -1
      $decode
    },
    {
      model_name: "tail"
      model_version: -1
      $tail
    }
  ]
}
""")


def write_repository(bundle: Bundle, folder: Path, plan: Path | None = None) -> Path:
    """Write the models ``decode``, ``tail`` and ``split`` below ``folder``; returns ``folder``.

    plan: a TensorRT engine, built from the ``tail/1/model.onnx`` of a repository written without one.

    Raises ExportError when one of the models exists already or the plan does not, and GraphError when the
    tail does not take what restore returns. Only classifiers have a tail's graph for Triton.
    """
    if not isinstance(bundle.task, Classification):
        raise ExportError(f"{bundle.manifest.name}: Triton gets classifications only, no {bundle.task.kind}")
    if plan is not None and not (plan.is_file() and plan.stat().st_size):
        raise ExportError(
            f"{plan}: not a TensorRT engine; build one: trtexec --onnx=model.onnx --saveEngine=FILE"
        )
    _check_free(folder)
    graph = server_graph(bundle, TOP_K)
    platform = "onnxruntime_onnx" if plan is None else "tensorrt_plan"
    with new_folders(folder, MODELS) as made:
        for model, config in configurations(bundle, platform).items():
            (made / model / VERSION).mkdir(parents=True)
            (made / model / "config.pbtxt").write_text(config, encoding="utf-8")
        _write_decode(bundle, made / "decode" / VERSION)
        if plan is None:
            (made / "tail" / VERSION / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
        else:
            shutil.copyfile(plan, made / "tail" / VERSION / "model.plan")
        _check_free(folder)
    return folder


def _check_free(folder: Path) -> None:
    for model in MODELS:
        if (folder / model).exists():
            raise ExportError(f"{folder / model} is there already: remove it, or name another folder")


def configurations(bundle: Bundle, platform: str) -> dict[str, str]:
    """config.pbtxt by model. platform: of the tail, ``onnxruntime_onnx`` or ``tensorrt_plan``."""
    task, name = bundle.task, json.dumps(bundle.manifest.name)  # no line break in a comment
    k = min(TOP_K, task.names)
    packet: Tensors = {INPUT: TensorType("BYTES", [1])}
    y_hat: Tensors = {Y_HAT: TensorType("FP32", [1, *bundle.manifest.latent])}
    answer: Tensors = {
        tensor.name: TensorType(tensor.datatype, [k if size < 0 else size for size in tensor.shape])
        for tensor in task.tensors
    }
    return {
        "decode": DECODE.substitute(
            bundle=name, id=bundle.id.hex(), input=_tensors("input", packet), output=_tensors("output", y_hat)
        ),
        "tail": TAIL.substitute(
            bundle=name, platform=platform, instances=INSTANCES[platform], y_hat=Y_HAT,
            dims=y_hat[Y_HAT].shape, input=_tensors("input", y_hat), output=_tensors("output", answer),
        ),
        "split": SPLIT.substitute(
            bundle=name, k=k, input=_tensors("input", packet), output=_tensors("output", answer),
            decode=_maps(packet, y_hat), tail=_maps(y_hat, answer),
        ),
    }  # fmt: skip


def _write_decode(bundle: Bundle, folder: Path) -> None:
    """Copy the model's code and its files of the bundle, laid out as in the bundle."""
    shutil.copyfile(Path(__file__).with_name("decode.py"), folder / "model.py")
    (folder / "bundle").mkdir()
    (folder / "shared").mkdir()
    shutil.copyfile(bundle.folder / MANIFEST, folder / "bundle" / MANIFEST)
    for role in READ_ROLES:
        if role in bundle.manifest.files:
            (folder / "bundle" / bundle.manifest.files[role].path).write_bytes(bundle.read(role))


def _tensors(field: str, tensors: Tensors) -> str:
    entries = (
        f'  {{ name: "{name}" data_type: {TYPES[tensor.datatype]} dims: {tensor.shape} }}'
        for name, tensor in tensors.items()
    )
    return f"{field} [\n" + ",\n".join(entries) + "\n]"


def _maps(inputs: Tensors, outputs: Tensors) -> str:
    """The maps of a step; a tensor has the same name everywhere in the ensemble."""
    entries = [f'input_map {{ key: "{name}" value: "{name}" }}' for name in inputs]
    entries += [f'output_map {{ key: "{name}" value: "{name}" }}' for name in outputs]
    return "\n      ".join(entries)
