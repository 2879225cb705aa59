"""The GPU's benchmarks on an engine that plays one: run by test_gpu.py in the simulator, which times nothing.

python tests/bench/gpu/frame_cases.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from stand_in_engine import NAME

from bench.common.timing import Timing
from bench.gpu import engines, frame
from native_denoise import denoise_planar
from runtime.bundle import load
from runtime.gpu import kernels, launch, pipeline
from runtime.head import Head
from tests.tiny_bundle import make_tiny_bundle, tiny_images


def denoise_on_the_host(images, masks, workspace, out, stream):
    denoised = np.empty(images.shape, dtype=np.float32)
    denoise_planar(images.copy_to_host(), masks.copy_to_host(), workspace.chosen, denoised, threads=1)
    out.copy_to_device(denoised)


def prepare_on_the_host(self, image):
    self._pixels.input.copy_to_device(self._pixels._preprocess(image))
    return self._pixels.input


def once(call, runs, warm_up):
    call()
    return Timing.of_seconds([1e-3])


def main(folder: Path) -> None:
    launch.TILE, launch.ROW, kernels.ADDERS = (8, 4), 32, 1
    sys.setswitchinterval(5e-4)  # a barrier in the simulator costs a time slice
    # What has tests of its own takes seconds in the simulator.
    pipeline.denoise_device = denoise_on_the_host
    pipeline.GpuPipeline.prepare = prepare_on_the_host
    Head.warm_up = lambda head: None
    bundle = load(make_tiny_bundle(folder, "fp", robust=True))
    for module in (engines, frame):
        module.photos = lambda: [("tiny", tiny_images(1)[0])]
    frame.measure, frame.QUEUED = once, 1
    times = frame.times(bundle, NAME, runs=1)
    assert times["frame_p50_ms"] == times["encode_p50_ms"] == 1.0
    overlap = frame.overlap(bundle, NAME, runs=1)
    assert set(overlap) == {"denoise_p50_ms", "head_p50_ms", "both_p50_ms", "overlap"}
    # One after the other on a CPU: nothing is saved but by chance.
    assert all(np.isfinite(value) for value in overlap.values())
    row = engines.packets(bundle, NAME, "always")
    assert row["symbols_changed"] <= 0.02 and row["same_class"] == 1.0
    assert abs(row["bytes_ratio"] - 1) <= 0.05
    print("the benchmarks run")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
