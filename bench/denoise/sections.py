"""The sections of ``bench.denoise``: each times one thing and returns rows with its name as ``section``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console

from bench.common.timing import WARM, measure, rested_turns
from bench.denoise.images import SIDE, Image, disturbed, energy, photograph, psnr, smooth_mask
from bench.denoise.peers import DenoiserPeer, chambolle
from bench.denoise.roofline import measure_roofs
from native_denoise import Settings, denoise, denoise_planar, reference, settings
from runtime.guard.defence import Defence

BATCHES = (1, 2, 4, 8)
STEPS = 40
"""Steps of `rof` where time and not its stop is of interest."""

progress = Console(stderr=True)

Rows = list[dict[str, Any]]


def planar(image: Image, mask: Image | None, chosen: Settings, threads: int) -> Any:
    """Our hot path on ``image``, prepared: a call without arguments that returns (C, H, W)."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    out = np.empty_like(planes)

    def run() -> Image:
        denoise_planar(planes, mask, chosen, out, threads=threads)
        return out

    return run


def steps_to_reach(target: float, noisy: Image, weight: float) -> int:
    """Least steps of `rof` whose objective is at most ``target``."""
    low, high = 0, 1
    while energy(denoise(noisy, weight=weight, iterations=high), noisy, weight) > target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if energy(denoise(noisy, weight=weight, iterations=middle), noisy, weight) > target:
            low = middle
        else:
            high = middle
    return high


def compare_peer(
    peer: DenoiserPeer, noisy: Image, clean: Image, mask: Image, threads: int, runs: int
) -> Rows:
    """One peer and the setting of ours that does the same or better, in turns."""
    theirs = peer.run()
    weight = settings("rof").weight
    row: dict[str, Any] = {"section": "peers", "peer": peer.name, "psnr_db": psnr(theirs, clean)}
    if peer.same_as:
        chosen = settings(peer.same_as)
        ours = planar(noisy, mask, chosen, threads)
        row["ours"] = f"{peer.same_as}, {chosen.iterations} steps"
        row["largest_difference"] = float(np.abs(ours() - np.clip(theirs, 0, 1).transpose(2, 0, 1)).max())
    elif peer.minimises:
        row["objective"] = energy(theirs, noisy, weight)
        steps = steps_to_reach(row["objective"], noisy, weight)
        ours = planar(noisy, None, settings("rof", iterations=steps), threads)
        row["ours"] = f"rof, {steps} steps to the same objective"
        row["our_objective"] = energy(ours().transpose(1, 2, 0), noisy, weight)
    else:
        ours = planar(noisy, None, settings(), threads)
        row["ours"] = "rof, default (another problem: times only)"
    row["our_psnr_db"] = psnr(ours().transpose(1, 2, 0), clean)
    times = rested_turns({"peer": peer.run, "ours": ours}, runs)
    row |= {**times["peer"].as_row("peer_"), **times["ours"].as_row("our_")}
    row["speedup"] = row["peer_p50_ms"] / row["our_p50_ms"]
    return [row]


def modes(noisy: Image, mask: Image, threads: int, runs: int) -> Rows:
    """Time, error against the float64 reference and fraction of the roofline of each mode."""
    rows: Rows = []
    planes = noisy.transpose(2, 0, 1).astype(np.float64)
    for count in sorted({1, threads}):
        roofs = measure_roofs(count)
        for mode in ("released", "descent", "rof"):
            chosen = settings(mode, iterations=100)
            run = planar(noisy, mask, chosen, count)
            want = np.clip(reference.solve(planes, mask.astype(np.float64), chosen), 0, 1)
            error = float(np.abs(run() - want).max())
            timing = measure(run, runs)
            least = roofs.least_ms(mode, noisy.size, 100)
            rows.append(
                {
                    "section": "modes", "mode": mode, "steps": 100, "threads": count,
                    "largest_error": error, **timing.as_row(), "least_ms": least,
                    "roofline_fraction": least / timing.p50, "roof_gflops": roofs.gflops,
                    "roof_cache_gbytes": roofs.cache_gbytes,
                }
            )  # fmt: skip
    return rows


def default_setting(noisy: Image, mask: Image, threads: int, runs: int) -> Rows:
    """First the step as the runtime takes it when nothing is said (``runtime.guard.defence``), with a mask;
    then `rof` as ``denoise`` does, with the mask and without, one channel and three.
    """
    rows: Rows = []
    for name, chosen, image, weights in (
        ("the defence's", Defence().solver(), noisy, mask),
        ("rof, 3 channels, mask", settings(), noisy, mask),
        ("rof, 3 channels, no mask", settings(), noisy, None),
        ("rof, 1 channel, mask", settings(), noisy[..., :1], mask),
    ):
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))
        taken = denoise_planar(planes, weights, chosen, np.empty_like(planes), threads=threads)
        timing = measure(planar(image, weights, chosen, threads), runs)
        rows.append({"section": "default", "case": name, "steps": int(taken.max()), **timing.as_row()})
    everything = measure(partial(denoise, noisy, mask, threads=threads), runs)
    rows.append({"section": "default", "case": "denoise(), checks and HWC", **everything.as_row()})
    return rows


def growth(sizes: list[int], threads: int, runs: int) -> Rows:
    """Time against pixels and against the number of frames, fixed steps; all sizes in turns."""
    rows: Rows = []
    for mode in ("released", "descent", "rof"):
        chosen = settings(mode, iterations=STEPS if mode == "rof" else 100)
        for section, cases in (
            ("pixels", {f"{side}": (1, side) for side in sizes}),
            ("frames", {f"{frames}": (frames, SIDE) for frames in BATCHES}),
        ):
            for count in sorted({1, threads}):
                calls = {name: _batch(*case, chosen, count) for name, case in cases.items()}
                for name, timing in rested_turns(calls, max(5, runs // 4), WARM).items():
                    frames, side = cases[name]
                    each = timing.p50 * 1e6 / (3 * frames * side * side) / chosen.iterations
                    rows.append(
                        {
                            "section": section, "mode": mode, "side": side, "frames": frames,
                            "threads": count, "steps": chosen.iterations, **timing.as_row(),
                            "ns_per_pixel_and_step": each,
                        }
                    )  # fmt: skip
        progress.print(f"growth: {mode}")
    return rows


def _batch(frames: int, side: int, chosen: Settings, threads: int) -> Callable[[], object]:
    """A call that denoises some frames of this size."""
    image = disturbed(np.resize(photograph(), (side, side, 3)))
    planes = np.repeat(np.ascontiguousarray(image.transpose(2, 0, 1))[None], frames, axis=0)
    masks = np.repeat(smooth_mask(side, side)[None], frames, axis=0)
    return partial(denoise_planar, planes, masks, chosen, np.empty_like(planes), threads=threads)


def convergence(noisy: Image, threads: int, runs: int) -> Rows:
    """Objective against time, ours and scikit-image's."""
    weight = settings("rof").weight
    lowest = energy(denoise(noisy, weight=weight, iterations=3000), noisy, weight)
    rows: Rows = []
    for steps in (1, 2, 3, 5, 8, 13, 20, 30, 50, 80, 130, 200):
        calls: dict[str, Any] = {"rof": planar(noisy, None, settings("rof", iterations=steps), threads)}
        try:
            chambolle(noisy, weight, 1)
            calls["scikit-image Chambolle"] = partial(chambolle, noisy, weight, steps)
        except ImportError:
            pass
        times = rested_turns(calls, max(3, runs // 10))
        for name, call in calls.items():
            u = call()
            above = energy(u.transpose(1, 2, 0) if name == "rof" else u, noisy, weight) - lowest
            rows.append(
                {
                    "section": "convergence", "solver": name, "steps": steps,
                    "objective_above_minimum": above, **times[name].as_row(),
                }
            )  # fmt: skip
    return rows
