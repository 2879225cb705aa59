"""A bundle's server half as a model repository of Triton Inference Server.

    decode    Python backend          packet -> y_hat, by export/triton/decode.py
    tail      ONNX Runtime, TensorRT  y_hat -> logits, top classes, probabilities, by server_graph.py
              or the Python backend   the same, by export/triton/tail.py
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
from typing import Literal

from export.atomic import new_folders
from export.errors import ExportError
from export.triton.server_graph import Y_HAT, server_graph
from runtime.bundle import MANIFEST, Bundle
from runtime.serving.networks import ROLES, Networks
from runtime.serving.protocol import INPUT
from runtime.tail import READ_ROLES
from runtime.tasks.classification import TOP_K, Classification

MODELS = ("decode", "tail", "split")
VERSION = "1"
TYPES = {"BYTES": "TYPE_STRING", "FP32": "TYPE_FP32", "INT32": "TYPE_INT32"}
"""Open Inference Protocol -> model_config.proto."""


Engine = Literal["onnxruntime", "python", "tensorrt"]
"""What runs the tail: a backend of Triton's, or ONNX Runtime inside a model in Python."""

BACKENDS: dict[Engine, str] = {
    "onnxruntime": 'platform: "onnxruntime_onnx"',
    "python": 'backend: "python"',
    "tensorrt": 'platform: "tensorrt_plan"',
}


@dataclass(frozen=True)
class Deployment:
    """How Triton runs the models. Raises ExportError for values that make no sense.

    engine: of the tail.
    instances: of ``decode`` and of ``tail`` each, side by side.
    batch: most frames in one run of the tail. Above 1 its graph has a free batch, Triton puts together what
        waits, and each output of ``split`` begins with a dimension of 1.
    """

    engine: Engine = "onnxruntime"
    instances: int = 2
    batch: int = 1

    def __post_init__(self) -> None:
        if self.instances < 1 or self.batch < 1:
            raise ExportError("--instances and --batch are 1 or more")
        if self.engine == "tensorrt" and self.batch > 1:
            raise ExportError("a plan is built from a graph of one frame: --plan goes without --batch")

    @property
    def leading(self) -> list[int]:
        """Dimensions that the outputs of ``split`` begin with."""
        return [1] if self.batch > 1 else []


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
instance_group [ { kind: KIND_CPU count: $count } ]
""")

TAIL = Template("""\
# Written by `python -m export triton`: y_hat of the bundle $bundle -> logits and the likeliest classes.
name: "tail"
$backend
$batching
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

ONE_BY_ONE = """\
# The graph has a static batch of 1, so that one file serves every engine; hence no dynamic_batching.
# Instances run side by side instead: raise their count until the GPU or CPU is busy.
max_batch_size: 0"""

TOGETHER = Template("""\
# Frames that wait for an instance share a run; none waits for others. A max_queue_delay_microseconds in
# dynamic_batching makes them wait, for larger runs.
max_batch_size: $batch
dynamic_batching { }""")

INSTANCES: dict[Engine, Template] = {
    "onnxruntime": Template("""\
# On the GPU if Triton has one. On a CPU each instance takes one thread: set the count to its cores.
instance_group [ { count: $count } ]
parameters { key: "intra_op_thread_count" value { string_value: "1" } }"""),
    "python": Template("""\
# Each instance is a process with its own copy of the networks, and runs them on one core.
instance_group [ { kind: KIND_CPU count: $count } ]"""),
    "tensorrt": Template("instance_group [ { kind: KIND_GPU count: $count } ]"),
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


def write_repository(
    bundle: Bundle, folder: Path, deployment: Deployment | None = None, plan: Path | None = None
) -> Path:
    """Write the models ``decode``, ``tail`` and ``split`` below ``folder``; returns ``folder``.

    plan: for the engine ``tensorrt``, built from the ``tail/1/model.onnx`` of an earlier repository.

    Raises ExportError when one of the models exists already, the plan does not, frames of the bundle cannot
    share a run, or the bundle is no classifier, and GraphError when the tail does not take what restore
    returns.
    """
    if not isinstance(bundle.task, Classification):
        raise ExportError(f"{bundle.manifest.name}: Triton gets classifications only, no {bundle.task.kind}")
    chosen = deployment or Deployment()
    if (plan is not None) != (chosen.engine == "tensorrt"):
        raise ExportError("a plan is for the engine tensorrt, and that one needs it")
    if plan is not None and not (plan.is_file() and plan.stat().st_size):
        raise ExportError(
            f"{plan}: not a TensorRT engine; build one: trtexec --onnx=model.onnx --saveEngine=FILE"
        )
    _check_free(folder)
    reason = Networks([bundle], chosen.batch).one_by_one.get(bundle.manifest.name)
    if reason is not None:
        raise ExportError(f"{reason}: export it without --batch")
    graph = server_graph(bundle, TOP_K, chosen.batch > 1)
    with new_folders(folder, MODELS) as made:
        for model, config in configurations(bundle, chosen).items():
            (made / model / VERSION).mkdir(parents=True)
            (made / model / "config.pbtxt").write_text(config, encoding="utf-8")
        _write_model(bundle, made / "decode" / VERSION, "decode.py", READ_ROLES)
        tail = made / "tail" / VERSION
        if plan is not None:
            shutil.copyfile(plan, tail / "model.plan")
        elif chosen.engine == "python":
            _write_model(bundle, tail, "tail.py", ROLES)
        else:
            (tail / "model.onnx").write_bytes(graph.SerializeToString(deterministic=True))
        _check_free(folder)
    return folder


def _check_free(folder: Path) -> None:
    for model in MODELS:
        if (folder / model).exists():
            raise ExportError(f"{folder / model} is there already: remove it, or name another folder")


def configurations(bundle: Bundle, deployment: Deployment) -> dict[str, str]:
    """config.pbtxt by model."""
    task, name = bundle.task, json.dumps(bundle.manifest.name)  # no line break in a comment
    k, batch = min(TOP_K, task.names), deployment.batch
    packet: Tensors = {INPUT: TensorType("BYTES", [1])}
    y_hat: Tensors = {Y_HAT: TensorType("FP32", [1, *bundle.manifest.latent])}
    answer: Tensors = {
        tensor.name: TensorType(tensor.datatype, [k if size < 0 else size for size in tensor.shape])
        for tensor in task.tensors
    }
    taken, answered = y_hat, answer
    if batch > 1:  # Triton itself puts the dimension of the frames in front of what a batching model declares
        taken = {Y_HAT: TensorType("FP32", [*bundle.manifest.latent])}
        answered = {n: TensorType(t.datatype, [*deployment.leading, *t.shape]) for n, t in answer.items()}
    return {
        "decode": DECODE.substitute(
            bundle=name, id=bundle.id.hex(), input=_tensors("input", packet),
            output=_tensors("output", y_hat), count=deployment.instances,
        ),
        "tail": TAIL.substitute(
            bundle=name, backend=BACKENDS[deployment.engine], y_hat=Y_HAT, dims=taken[Y_HAT].shape,
            batching=TOGETHER.substitute(batch=batch) if batch > 1 else ONE_BY_ONE,
            instances=INSTANCES[deployment.engine].substitute(count=deployment.instances),
            input=_tensors("input", taken), output=_tensors("output", answer),
        ),
        "split": SPLIT.substitute(
            bundle=name, k=k, input=_tensors("input", packet), output=_tensors("output", answered),
            decode=_maps(packet, y_hat), tail=_maps(y_hat, answer),
        ),
    }  # fmt: skip


def _write_model(bundle: Bundle, folder: Path, code: str, roles: tuple[str, ...]) -> None:
    """Copy a model's code, and the bundle's files that it opens, laid out as in the bundle."""
    shutil.copyfile(Path(__file__).with_name(code), folder / "model.py")
    (folder / "bundle").mkdir()
    (folder / "shared").mkdir()
    shutil.copyfile(bundle.folder / MANIFEST, folder / "bundle" / MANIFEST)
    for role in roles:
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
