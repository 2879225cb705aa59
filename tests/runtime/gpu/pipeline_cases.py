"""The frame that stays on the GPU against the CPU's: run by test_pipeline.py in the simulator.

    python tests/runtime/gpu/pipeline_cases.py FOLDER

FOLDER is for the tiny bundles.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stand_in_engine import NAME, opened

from native_denoise import denoise_planar, soft_mask
from native_denoise.cuda import Workspace
from native_denoise.cuda.device import cuda
from runtime.bundle import Bundle, load
from runtime.codec.packet import Flags
from runtime.engines import EngineOptions, Memory, open_engine
from runtime.gpu import kernels, launch, pipeline
from runtime.gpu.latent_mask import LatentMask
from runtime.gpu.memory import Crossing
from runtime.gpu.pixels import Pixels
from runtime.guard import Guard
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.preprocess import Nv12, Preprocess
from tests.tiny_bundle import make_tiny_bundle, tiny_images

Image = NDArray[np.uint8]
SHAPES = [(9, 13, 3), (5, 40, 3), (10, 3, 3), (7, 9, 4), (6, 6)]
QUICK = Defence(iterations=2)


def preprocess_is_exact() -> None:
    rng, stream = np.random.default_rng(0), cuda.stream()
    for wanted, shapes in ((Preprocess(8, 0.8), SHAPES), (Preprocess(7, 1.0, "pad"), SHAPES[1:3])):
        pixels = Pixels(wanted, "device", stream)
        for shape in shapes:
            image = rng.integers(0, 256, shape, dtype=np.uint8)
            view = image[::-1, ::-1]
            np.testing.assert_array_equal(pixels.queue(view).copy_to_host(), wanted(view))
        frame = rng.integers(0, 256, (9, 14), dtype=np.uint8)
        nv12 = Nv12.of(frame, "bt709" if wanted.fit == "pad" else "bt601")
        np.testing.assert_array_equal(pixels.queue(nv12).copy_to_host(), wanted(nv12))


def mask_is_the_cpus(bundle: Bundle) -> None:
    """On latents that are ordinary, except some far beyond the tables."""
    rng, stream = np.random.default_rng(1), cuda.stream()
    shapes = [shape for shape in (bundle.manifest.latent, bundle.manifest.hyper) if shape]
    latents = [Crossing((1, *shape), np.float32, "device") for shape in shapes]
    h_s = open_engine(bundle.path("h_s"), EngineOptions(NAME)) if len(shapes) > 1 else None
    masks = LatentMask(bundle, h_s, [latent.device for latent in latents], stream)
    host = Head(bundle)
    values = [(3 * rng.standard_t(1, (1, *shape))).astype(np.float32) for shape in shapes]
    values[0].ravel()[:2] = 1e7, -1e9
    for latent, value in zip(latents, values, strict=True):
        latent.host[...] = value
        latent.to_device(stream)
    size = bundle.manifest.preprocess.size
    want = soft_mask(host.latent_of(values).likelihood_map, (size, size))
    np.testing.assert_allclose(masks.queue().copy_to_host()[0], want, rtol=1e-5, atol=1e-6)


def packets_are_the_cpus(bundle: Bundle, guard: Guard, memory: Memory, images: list[Image]) -> None:
    """The same packets, except symbols that a last bit of the denoised frame has tipped over."""
    before = len(opened)
    on_gpu = Head(bundle, EngineOptions(NAME, memory=memory), guard=guard)
    on_cpu = Head(bundle, EngineOptions(threads=1), guard=guard)
    for image in images:
        got, want = on_gpu.encode(image), on_cpu.encode(image)
        assert on_gpu.report is not None and on_cpu.report is not None
        assert got.flags == want.flags, (got.flags, want.flags)
        assert list(on_gpu.report.seconds) == list(on_cpu.report.seconds)
        if Flags.DENOISED not in want.flags:
            assert got.to_bytes() == want.to_bytes()
        ours, theirs = (h.report.latent.streams for h in (on_gpu, on_cpu))
        for a, b in zip(ours, theirs, strict=True):
            assert np.abs(a.symbols - b.symbols).max() <= 1
            assert (a.symbols != b.symbols).mean() <= 0.02
    assert on_gpu.counters == on_cpu.counters
    runs = {engine.graph.stem: engine.runs for engine in opened[before:]}
    assert all(engine.binds == 1 for engine in opened[before:])
    print(bundle.manifest.name, guard.mode, memory, runs, on_gpu.counters)


def denoise_on_the_host(images: Any, masks: Any, workspace: Workspace, out: Any, stream: Any) -> None:
    """Stands in for denoise_device, which is slow in the simulator and has tests of its own."""
    clean = np.empty(images.shape, dtype=np.float32)
    denoise_planar(images.copy_to_host(), masks.copy_to_host(), workspace.chosen, clean, threads=1)
    out.copy_to_device(clean)


def main(folder: Path) -> None:
    # In the simulator every thread of a block is one of Python's, and each barrier costs one of its time
    # slices: no more threads than there is work, short slices, few barriers.
    launch.TILE, launch.ROW, kernels.ADDERS = (8, 4), 32, 2
    pipeline.Workspace = functools.partial(Workspace, fast=False)
    sys.setswitchinterval(5e-4)
    fp, mshp = (load(make_tiny_bundle(folder, prior)) for prior in ("fp", "mshp"))
    robust = load(make_tiny_bundle(folder, "mshp", robust=True))
    clean = tiny_images(1, seed=3)[0]
    noise = np.random.default_rng(4).integers(0, 256, clean.shape, dtype=np.uint8)
    preprocess_is_exact()
    mask_is_the_cpus(fp)
    mask_is_the_cpus(mshp)
    packets_are_the_cpus(fp, Guard("always", Defence(iterations=1)), "device", [clean])
    pipeline.denoise_device = denoise_on_the_host
    packets_are_the_cpus(robust, Guard("auto", QUICK, budget=90), "pinned_mapped", [clean, noise])
    varied = Defence(mode="rof", iterations=1, power=2.0, reuse_mask=True)
    packets_are_the_cpus(mshp, Guard("always", varied), "auto", [clean, noise])
    print("the GPU's frame is the CPU's")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
