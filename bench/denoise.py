"""Our TV denoiser beside others: time at equal work and at equal objective, error, growth, roofline.

    python -m bench.denoise [--runs N] [--threads N] [--sizes N ...] [--plot DIR] [--json PATH]

The image is a photograph of 224 x 224 x 3 with noise of +-8 of 255, the mask a smooth map.  Peers run in
turns with ours, each rested and warm (``denoise_peers.rested_turns``); outputs are compared before times.
``descent`` and ``released`` are compared with a loop in torch of the same iteration, `rof` with solvers of
the same problem at an equal or lower objective, without a mask since they take none.  A peer that is not
installed is left out and named.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench import report
from bench.denoise_peers import Image, Peer, chambolle, peers, rested_turns
from bench.roofline import measure_roofs
from bench.timing import measure
from native_denoise import Settings, denoise, denoise_planar, objective, reference, settings
from native_denoise.cpu.bands import plan
from native_denoise.cpu.threads import available

SIDE = 224
SIZES = (64, 128, 224, 512, 1024, 2048)
BATCHES = (1, 2, 4, 8)
STEPS = 40
"""Steps of `rof` where time and not its stop is of interest."""

progress = Console(stderr=True)

Rows = list[dict[str, Any]]


def photograph(side: int = SIDE) -> Image:
    """A photograph that scikit-image carries; without it discs, edges and a texture."""
    try:
        from skimage import data, transform

        picture = transform.resize(data.astronaut() / 255.0, (side, side), anti_aliasing=True)
        return picture.astype(np.float32)
    except ImportError:
        y, x = np.mgrid[:side, :side] / side
        base = 0.5 + 0.2 * (np.hypot(x - 0.5, y - 0.4) < 0.3) - 0.3 * (x > y) + 0.05 * np.sin(80 * x * y)
        return np.clip(np.stack([base, 0.8 * base, 1 - base], axis=-1), 0, 1).astype(np.float32)


def disturbed(clean: Image, amplitude: float = 8 / 255, seed: int = 0) -> Image:
    """``clean`` plus or minus ``amplitude``: every value on a corner of the box that an attack may use."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], clean.shape)
    return np.clip(clean + amplitude * signs, 0, 1).astype(np.float32)


def smooth_mask(height: int, width: int) -> Image:
    """Small in the middle, large outside, like the likelihood of a photograph with an object in it."""
    y, x = np.mgrid[:height, :width]
    return np.clip(np.hypot(x / width - 0.5, y / height - 0.5) * 1.6, 0, 1).astype(np.float32)


def energy(u: Image, f: Image, weight: float) -> float:
    """E per value, all channels."""
    planes = [np.asarray(z, dtype=np.float64).transpose(2, 0, 1) for z in (u, f)]
    return objective.energy(planes[0], planes[1], weight) / u.size


def psnr(u: Image, clean: Image) -> float:
    """In dB against the photograph without noise."""
    return float(-10 * np.log10(((np.asarray(u, dtype=np.float64) - clean) ** 2).mean()))


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


def compare_peer(peer: Peer, noisy: Image, clean: Image, mask: Image, threads: int, runs: int) -> Rows:
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
    """The step as the runtime takes it: `rof` at its defaults, with the mask and without, one channel and
    three.
    """
    rows: Rows = []
    for name, image, weights in (
        ("3 channels, mask", noisy, mask),
        ("3 channels, no mask", noisy, None),
        ("1 channel, mask", noisy[..., :1], mask),
    ):
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))
        taken = denoise_planar(planes, weights, settings(), np.empty_like(planes), threads=threads)
        timing = measure(planar(image, weights, settings(), threads), runs)
        rows.append({"section": "default", "case": name, "steps": int(taken.max()), **timing.as_row()})
    everything = measure(partial(denoise, noisy, mask, threads=threads), runs)
    rows.append({"section": "default", "case": "denoise(), checks and HWC", **everything.as_row()})
    return rows


def growth(sizes: list[int], threads: int, runs: int) -> Rows:
    """Time against pixels and against the number of frames, fixed steps."""
    rows: Rows = []
    cases = [(1, side) for side in sizes] + [(frames, SIDE) for frames in BATCHES]
    for index, (frames, side) in enumerate(cases):
        image = disturbed(np.resize(photograph(), (side, side, 3)))
        planes = np.repeat(np.ascontiguousarray(image.transpose(2, 0, 1))[None], frames, axis=0)
        masks = np.repeat(smooth_mask(side, side)[None], frames, axis=0)
        out = np.empty_like(planes)
        for mode in ("released", "descent", "rof"):
            for count in sorted({1, threads}):
                chosen = settings(mode, iterations=STEPS if mode == "rof" else 100)
                timing = measure(
                    partial(denoise_planar, planes, masks, chosen, out, threads=count),
                    max(5, min(runs, 40_000_000 // planes.size)),
                    warm_up=2,
                )
                rows.append(
                    {
                        "section": "pixels" if index < len(sizes) else "frames", "mode": mode, "side": side,
                        "frames": frames, "threads": count, "steps": chosen.iterations, **timing.as_row(),
                        "ns_per_pixel_and_step": timing.p50 * 1e6 / planes.size / chosen.iterations,
                    }
                )  # fmt: skip
        progress.print(f"growth: {frames} x {side}^2")
    return rows


def spread(rows: Rows, mode: str, threads: int) -> float:
    """Largest over smallest time per pixel among the sizes."""
    each = [
        row["ns_per_pixel_and_step"]
        for row in rows
        if row["section"] == "pixels" and row["mode"] == mode and row["threads"] == threads
    ]
    return max(each) / min(each)


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


def plot(rows: Rows, directory: str) -> None:
    """objective.png: how far above the minimum each solver is after how many milliseconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for name in dict.fromkeys(row["solver"] for row in rows if row["section"] == "convergence"):
        mine = [row for row in rows if row.get("solver") == name]
        heights = [max(row["objective_above_minimum"], 1e-9) for row in mine]
        axes.loglog([row["p50_ms"] for row in mine], heights, marker="o", label=name)
    axes.set(xlabel="ms, 224 x 224 x 3", ylabel="objective above its minimum, per value")
    axes.legend()
    axes.grid(alpha=0.3)
    Path(directory).mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(directory) / "objective.png", dpi=120, bbox_inches="tight")


def summarise(rows: Rows, threads: int) -> dict[str, Any]:
    """The figures that are watched."""
    speedups = {row["peer"]: row["speedup"] for row in rows if row["section"] == "peers"}
    roofs = {row["threads"]: row["roof_gflops"] for row in rows if row["section"] == "modes"}
    largest = max(row["largest_error"] for row in rows if row["section"] == "modes")
    default = next(row for row in rows if row["section"] == "default")
    layout = plan(1, 3, 1, SIDE, SIDE, 5, 1, 1)
    return {
        "speedup_vs_torch_descent": speedups.get("torch loop, descent"),
        "speedup_vs_torch_descent_in_place": speedups.get("torch loop, descent, in place and rsqrt"),
        "speedup_vs_released": speedups.get("torch loop, released"),
        "speedup_vs_skimage": speedups.get("scikit-image Chambolle, 100 steps"),
        "default_p50_ms": default["p50_ms"],
        "default_steps": default["steps"],
        "largest_error": largest,
        # Below the number of threads, these share the vector units of one core (or the machine is busy).
        "cores_worth": roofs[threads] / roofs[1],
        "planes_in_flight": layout.size / (3 * SIDE * layout.stride),
        "time_per_pixel_spread": {
            f"{mode}, {count} thread{'s' * (count > 1)}": spread(rows, mode, count)
            for mode in ("released", "descent", "rof")
            for count in sorted({1, threads})
        },
        "roofline_fraction": {
            f"{row['mode']}, {row['threads']} thread{'s' * (row['threads'] > 1)}": row["roofline_fraction"]
            for row in rows
            if row["section"] == "modes"
        },
    }


def show(rows: Rows, summary: dict[str, Any]) -> None:
    """One table a section on the terminal."""
    console = Console()
    for section in dict.fromkeys(row["section"] for row in rows):
        mine = [{k: v for k, v in row.items() if k != "section"} for row in rows if row["section"] == section]
        columns = list(
            dict.fromkeys(key for row in mine for key in row if not key.endswith(("p95_ms", "p99_ms")))
        )
        table = Table(*columns, title=section)
        for row in mine:
            table.add_row(*[_cell(row.get(column)) for column in columns])
        console.print(table)
    console.print(summary)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run all sections and report."""
    parser = argparse.ArgumentParser(description="the TV denoiser beside others")
    parser.add_argument("--runs", type=int, default=50, help="timed calls of each case (default 50)")
    parser.add_argument(
        "--threads", type=int, default=min(2, available()), help="threads for all (default 2)"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=list(SIZES), help="sides of the square images"
    )
    parser.add_argument("--plot", metavar="DIR", help="write objective.png to DIR")
    report.add_json_argument(parser)
    arguments = parser.parse_args()
    clean = photograph()
    noisy, mask = disturbed(clean), smooth_mask(SIDE, SIDE)
    threads, runs = arguments.threads, arguments.runs
    found, missing = peers(
        noisy, mask, {mode: settings(mode) for mode in ("rof", "descent", "released")}, threads
    )
    for package, reason in missing.items():
        progress.print(f"skipped: {package}: {reason}")
    rows = default_setting(noisy, mask, threads, runs)
    for peer in found:
        progress.print(f"peer: {peer.name}")
        rows += compare_peer(peer, noisy, clean, mask, threads, runs)
    progress.print("modes and roofline")
    rows += modes(noisy, mask, threads, runs)
    rows += growth(arguments.sizes, threads, runs)
    progress.print("convergence")
    rows += convergence(noisy, threads, runs)
    if arguments.plot:
        plot(rows, arguments.plot)
    summary = {**summarise(rows, threads), "skipped": missing}
    chosen = {"side": SIDE, "channels": 3, "threads": threads, "runs": runs, "sizes": arguments.sizes}
    report.write(arguments.json, "denoise", chosen, rows, summary)
    if arguments.json != "-":
        show(rows, summary)


if __name__ == "__main__":
    main()
