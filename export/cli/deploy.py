"""``fp16`` and ``triton``: a finished bundle for another engine or server."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from export.cli.options import add_bundle, add_output, add_photos, add_threads, subcommand


def add_parsers(commands: Any) -> None:
    """Add ``fp16`` and ``triton``."""
    fp16 = subcommand(
        commands, "fp16", "write a bundle's heads in half precision; print the cost in bytes and logits"
    )
    add_bundle(fp16)
    add_photos(fp16)
    add_threads(fp16)
    fp16.set_defaults(run=_fp16)
    triton = subcommand(
        commands, "triton", "write a bundle's server half as a model repository of Triton Inference Server"
    )
    add_bundle(triton)
    add_output(triton)
    triton.add_argument(
        "--tail", choices=("onnxruntime", "python"), default="onnxruntime",
        help="what runs the tail: Triton's ONNX Runtime backend, or a Python model, for a server without it",
    )  # fmt: skip
    triton.add_argument(
        "--instances", type=int, default=2, metavar="N", help="instances of decode and of tail, side by side"
    )
    triton.add_argument(
        "--batch", type=int, default=1, metavar="N",
        help="most frames in one run of the tail; above 1 the outputs begin with a dimension of 1",
    )  # fmt: skip
    triton.add_argument(
        "--plan", type=Path, metavar="FILE",
        help="TensorRT engine for the tail, built by trtexec from the tail/1/model.onnx of an earlier run",
    )  # fmt: skip
    triton.set_defaults(run=_triton)


def _fp16(options: argparse.Namespace) -> None:
    from export.graphs.fp16 import write_half_graphs
    from export.graphs.fp16_drift import drifts
    from export.progress import say
    from runtime.bundle import load
    from runtime.pictures import find_pictures, read_image, readable

    bundle = load(options.bundle)
    photographs = [path for path, _ in readable(find_pictures(options.photos), read_image)]
    for path in write_half_graphs(bundle):
        say(str(path))
    for drift in drifts(bundle, photographs, options.threads):
        print(drift)


def _triton(options: argparse.Namespace) -> None:
    from export.triton.repository import Deployment, Engine, write_repository
    from runtime.bundle import load

    engine: Engine = "tensorrt" if options.plan else options.tail
    deployment = Deployment(engine, options.instances, options.batch)
    print(write_repository(load(options.bundle), options.output, deployment, options.plan))
