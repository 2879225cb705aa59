"""The denoiser's time and error on CPUs and on an H200."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bench.results.markdown import count, fixed, share, spread, table
from bench.results.page import Section
from bench.results.record import Measured, Node, Record

RUNS = ("denoise_amx", "denoise_amx_again", "denoise_amx_slow", "denoise_amx_stolen", "denoise_zen3")
MODES = ("descent", "released", "rof")
FEW = {"columns": 2, "rows": 2, "warps": 16, "halo": 4}
MANY = {"columns": 4, "rows": 8, "warps": 16, "halo": 8}
"""The tiles of native_denoise.cuda.strips, for few frames and for many."""
SHAPES = ((1, FEW), (64, MANY))


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return (
        _cpu([measured[name] for name in RUNS]),
        _gpu(measured["gpu_h200"], measured["gpu_h200_shapes"]),
    )


def _cpu(records: list[Record]) -> Section:
    summaries = [record["summary"] for record in records]
    steps, side = summaries[0]["default_steps"], records[0]["settings"]["side"]

    def row(name: str, value: Callable[[Node], str]) -> tuple[str, ...]:
        return (name, *(value(summary) for summary in summaries))

    return Section(
        "The denoiser on a CPU",
        f"The defence's denoiser, `descent` with {steps} steps, takes "
        f"{_over(summaries, 'default_p50_ms', 2)} ms for a frame of {side} x {side}. That depends on how "
        "much of its two cores a virtual machine has.",
        (
            table(
                ("run", *(f"{number}" for number in range(1, len(records) + 1))),
                [
                    row(f"`descent`, {steps} steps with a mask, ms", lambda s: fixed(s["default_p50_ms"])),
                    row(
                        "torch's loop over ours, `descent`", lambda s: fixed(s["speedup_vs_torch_descent"], 1)
                    ),
                    row(
                        "the same, torch in place", lambda s: fixed(s["speedup_vs_torch_descent_in_place"], 1)
                    ),
                    row("torch's loop over ours, `released`", lambda s: fixed(s["speedup_vs_released"], 1)),
                    row("scikit-image over ours, `rof`", lambda s: fixed(s["speedup_vs_skimage"], 1)),
                    row("largest error against float64", lambda s: f"{s['largest_error']:.1e}"),
                    *(
                        row(f"time a pixel off one line, `{mode}`", lambda s, mode=mode: _off_line(s, mode))  # type: ignore[misc]
                        for mode in MODES
                    ),
                    row("what two cores were worth", lambda s: fixed(s["cores_worth"], 1)),
                ],
            ),
        ),
        tuple(records),
        (
            "Columns are in the order of the files below: four runs on one kind of machine, and one on "
            "another. Two threads, medians, in turns with the peer, outputs compared first.",
            "`released` and torch run 100 steps. `rof` runs to the objective that scikit-image's Chambolle "
            "has after 100.",
            "Runs 3 and 4 had cores that the host took away for part of the time.",
            "*Off one line*: the largest distance of six sizes, 64 to 2048 pixels square, from one time a "
            "pixel; one thread.",
        ),
    )


def _over(summaries: Iterable[Node], key: str, digits: int) -> str:
    return spread((summary[key] for summary in summaries), digits)


def _off_line(summary: Node, mode: str) -> str:
    return share(summary["time_per_pixel_off_line"][f"{mode}, 1 thread"], 0)


def _gpu(record: Record, shapes: Record) -> Section:
    decoding = record.row(part="decoding")
    frame = record.row(part="frame")
    latents = record.row(part="latents")
    one, many = (shapes.row(mode="descent", steps=30, frames=frames, **tile) for frames, tile in SHAPES)
    return Section(
        "The denoiser and the heads on an H200",
        f"`descent` with 30 steps takes {fixed(one['us_per_frame'], 1)} us for one frame and "
        f"{fixed(many['us_per_frame'], 2)} us a frame in a batch of 64. Heads on CUDA give the CPU's "
        "symbols.",
        (
            table(
                ("mode", "steps", "one frame, us", "of 64, us a frame", "largest error"),
                [
                    _shape(shapes, mode, steps)
                    for mode, steps in (("descent", 30), ("descent", 100), ("released", 100))
                ],
            ),
            table(
                ("heads and whole frames, ONNX Runtime on CUDA", "value"),
                [
                    ("symbols changed against the CPU", share(latents["symbols_changed"])),
                    ("packets, bytes over the CPU's", fixed(_packets(record, "bytes_ratio"), 3)),
                    ("frames decoded by every engine", count(decoding["frames"])),
                    ("mismatches", count(decoding["mismatches"])),
                    ("a defended frame, pixels to latents, p50", f"{fixed(frame['frame_p50_ms'])} ms"),
                    ("a defended frame, pixels to packet, p50", f"{fixed(frame['encode_p50_ms'])} ms"),
                ],
            ),
        ),
        (shapes, record),
        (
            "The tiles are those of the kernels that ship. A sweep wrote the first table before "
            "`bench.gpu` had its part `shapes`, and no command of it was kept.",
            "Whole frames were measured with the kernels before these, and not since.",
            "TensorRT has never run on a GPU here.",
        ),
    )


def _shape(shapes: Record, mode: str, steps: int) -> tuple[str, ...]:
    rows = [shapes.row(mode=mode, steps=steps, frames=frames, **tile) for frames, tile in SHAPES]
    times = (fixed(row["us_per_frame"], 1) for row in rows)
    return f"`{mode}`", count(steps), *times, f"{max(row['largest_error'] for row in rows):.1e}"


def _packets(record: Record, key: str) -> float:
    values: list[float] = [row[key] for row in record.rows(part="packets")]
    return max(values, key=lambda ratio: abs(ratio - 1))
