"""``ratehold tensorrt``: build a bundle's plans ahead, so that the first frame does not wait for them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

from runtime.bundle import Bundle, load
from runtime.engines import EngineOptions, open_engine
from runtime.engines.precision import HALVED

ABOUT = "build a bundle's TensorRT plans ahead, on the device that will run them"


def add_parser(commands: Any) -> None:
    """Add the subcommand to a parser of others; it needs TensorRT, and not torch."""
    add_arguments(commands.add_parser("tensorrt", help=ABOUT, description=ABOUT))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subcommand's parser."""
    parser.add_argument("bundle", metavar="BUNDLE", help="installed name or folder")
    parser.add_argument(
        "--fp16", action="store_true",
        help="build also the plans of the half-precision graphs, which `ratehold export fp16` writes",
    )  # fmt: skip
    parser.set_defaults(run=_run, threads=None)


def build_ahead(bundle: Bundle, fp16: bool) -> Iterator[str]:
    """Build the plan of each graph of a bundle, or find it in the cache; yields a line when one is ready.

    Raises EngineUnavailable without TensorRT, EngineError where a graph cannot be built or a half-precision
    graph is missing.
    """
    roles = [role for role, entry in sorted(bundle.manifest.files.items()) if entry.path.endswith(".onnx")]
    wanted = [(role, EngineOptions("tensorrt")) for role in roles]
    if fp16:
        halved = [role for role in roles if role in HALVED]
        wanted += [(role, EngineOptions("tensorrt", precision="float16")) for role in halved]
    for role, options in wanted:
        start = time.perf_counter()
        engine = open_engine(bundle.graph(role), options)
        seconds = time.perf_counter() - start
        yield f"{role}, {engine.precision}: ready on {engine.device} after {seconds:.1f} s"


def _run(options: argparse.Namespace) -> None:
    for line in build_ahead(load(options.bundle), options.fp16):
        print(line, flush=True)
