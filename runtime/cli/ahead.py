"""``ratehold warm-up`` and ``ratehold tensorrt``: compile and build ahead, so that no first frame waits."""

from __future__ import annotations

import argparse
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from native_denoise import denoise
from native_denoise.modes import MODES as DENOISERS
from runtime.bundle import Bundle, installed, load
from runtime.cli.files import add_json, report
from runtime.cli.program import ERROR
from runtime.engines import EngineOptions, open_engine
from runtime.engines.precision import HALVED
from runtime.guard import Defence, Guard
from runtime.head import Head
from runtime.preprocess import Nv12, Preprocess
from runtime.tail import Tail

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


def add_warm_up(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of ``warm-up``."""
    parser.add_argument(
        "bundles", nargs="*", metavar="BUNDLE", help="installed name or folder (default: all installed)"
    )
    parser.add_argument(
        "--shared", action="store_true",
        help="let all users of this machine read the compiled kernels, as in a container's image",
    )  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=_warm_up)


def compile_ahead(bundle: Bundle) -> None:
    """Encode and decode with a bundle by each way there is, so that each kernel is compiled and kept."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    tail = Tail(bundle)
    tail.warm_up()
    for mode in DENOISERS:
        head = Head(bundle, guard=Guard("always", Defence(mode)))
        tail.decode(head.encode(noise).to_bytes())
        head.limit(head.least)
        head.warm_up()
        tail.decode(head.encode(noise).to_bytes())
    Head(bundle).warm_up()


def compile_denoiser() -> None:
    """Denoise each kind of image that ``native_denoise`` takes, so that its kernels are compiled and kept."""
    threads = 2  # which share the rows of a plane; that takes kernels of its own
    noise = np.random.default_rng(0)
    for shape in ((128, 128), (128, 128, 3)):
        whole = noise.integers(0, 256, shape, dtype=np.uint8)
        for image in (whole, noise.random(shape, dtype=np.float32)):
            for mask in (None, np.ones(shape[:2], dtype=np.float32)):
                for mode in DENOISERS:
                    denoise(image, mask, mode=mode, iterations=2, threads=threads)
                denoise(image, mask, tolerance=1e-3, threads=threads)


def compile_resampler() -> None:
    """Resize a frame of each format, so that its kernels are compiled and kept."""
    noise = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
    for frame in (noise, Nv12.of(noise)):
        Preprocess(16, 1.0)(frame)
        Preprocess(16, 1.0).square(frame)


def _warm_up(options: argparse.Namespace) -> int:
    from native_denoise.vectors.kernel_cache import events, kernel_folder  # Numba takes half a second

    start, before = time.perf_counter(), dict(events)
    names = options.bundles or installed()
    for name in names:
        compile_ahead(load(name))
    compile_denoiser()
    compile_resampler()
    done = {event: events[event] - before.get(event, 0) for event in ("compiled", "kept", "read")}
    lost = done["compiled"] - done["kept"]
    folder = None if lost else kernel_folder()
    if folder is not None and options.shared:
        _share(folder)
    seconds = time.perf_counter() - start
    line = f"{done['compiled']} kernels compiled, {done['read']} were there, after {seconds:.1f} s"
    where = f"{lost} could not be kept" if folder is None else f"kept in {folder}"
    told = done | {"seconds": seconds, "folder": None if folder is None else str(folder), "bundles": names}
    report([f"{line}; {where}"], told, options.json)
    return ERROR if lost else 0


def _share(folder: Path) -> None:
    for place in (folder.parent, folder):
        place.chmod(stat.S_IMODE(place.stat().st_mode) | 0o055)
    for file in folder.glob("*.kernel"):
        file.chmod(0o644)
