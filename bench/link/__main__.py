"""What an entropy attack does to a user on a thin link, and what the guard does about it.

    python -m bench.link [--bundle NAME] [--attacked DIR] [--emulate LINK ...] [--json PATH]

A camera takes frames at a steady pace. A device encodes and sends them over an emulated link (token bucket,
delay, lost requests) to a tail server in a process of its own. Frames that wait too long give way to fresh
ones. Latency is from capture to answer, goodput counts answers. JPEG and WebP of the same square take the
same way, in qualities that cost about the same accuracy; their server's work is not counted at all.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console

from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.attack_pack import attacked as in_pack
from bench.common.photos import photos, samples
from bench.common.terminal import Column, print_table
from bench.link.runs import Camera, Image, LinkRow, measure, setups
from bench.serve.emulated_link import Conditions
from bench.serve.process import serving
from runtime.bundle import load
from runtime.cli.program import program
from runtime.engines import EngineOptions
from runtime.errors import ImageError
from runtime.head import Head
from runtime.preprocess import Preprocess
from runtime.streaming.window import MOST
from runtime.tail import Tail

LINKS = ("50kbit,40ms", "100kbit,40ms", "250kbit,40ms", "1000kbit,40ms", "250kbit,80ms,1%loss")

FEW_ANSWERS = 20
"""Answers below which percentiles mean little."""

progress = Console(stderr=True)


def clean_and_attacked(
    clean: Path | None, attacked: Path | None, count: int, preprocess: Preprocess
) -> tuple[dict[str, list[Image]], bool]:
    """At most ``count`` frames of each; whether those are two versions of the same frames.

    Without folders: sample photographs and the attack pack. Where no attacked frame fits this bundle, noise
    of the size of its input takes their place. An attacked folder names its files like the clean one.
    """
    if clean is None and attacked is None:
        pairs = [(image, in_pack(name, preprocess.square(image))) for name, image in photos()]
        known = [(image, frame) for image, frame in pairs if frame is not None][:count]
        if known:
            return {"clean": [image for image, _ in known], "attacked": [frame for _, frame in known]}, True
    if clean is not None and attacked is not None:
        return _same_frames(clean, attacked, count), True
    images = [s.image() for s in samples(clean, count)] if clean else [image for _, image in photos()]
    if attacked is not None:
        frames = [sample.image() for sample in samples(attacked, count)]
        return {"clean": images[:count], "attacked": frames}, False
    rng, side = np.random.default_rng(0), preprocess.size
    noise = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in images]
    return {"clean": images[:count], "attacked": noise[:count]}, False


def _same_frames(clean: Path, attacked: Path, count: int) -> dict[str, list[Image]]:
    """The first frames that both folders have, by their names; a file that fails takes its pair with it.

    Raises ImageError when there is none.
    """
    named = {sample.path.stem: sample for sample in samples(attacked)}
    pairs = [(sample, named[sample.path.stem]) for sample in samples(clean) if sample.path.stem in named]
    if not pairs:
        raise ImageError(f"{attacked}: no file in it is named like one of {clean}")
    return {
        "clean": [sample.image() for sample, _ in pairs[:count]],
        "attacked": [sample.image() for _, sample in pairs[:count]],
    }


def summarise(rows: list[LinkRow]) -> dict[str, float | None]:
    """How much later the median answer comes under attack, without and with guard: worst over the links.

    None where a setup had no answer at all.
    """
    p50 = {(row.link, row.variant, row.frames): row.latency_p50_ms for row in rows}
    links = dict.fromkeys(row.link for row in rows)

    def slowest(variant: str) -> float | None:
        found = [_ratio(p50[link, variant, "attacked"], p50[link, "ratehold", "clean"]) for link in links]
        return None if None in found else max(ratio for ratio in found if ratio is not None)

    return {"attacked_slowdown": slowest("ratehold"), "guarded_slowdown": slowest("ratehold guarded")}


def _ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over and under else None


def show(rows: list[LinkRow], summary: dict[str, float | None], console: Console) -> None:
    """The slow-down in words, then the table."""
    console.print("\nCapture to answer over an emulated link\n", style="bold")
    for name, how in (("attacked_slowdown", "without the guard"), ("guarded_slowdown", "behind the guard")):
        slowdown = summary[name]
        said = (
            "no answer came" if slowdown is None else f"the median answer took {slowdown:.2f} times as long"
        )
        console.print(f"Under attack, {how}: {said}{' as that of clean frames' * bool(slowdown)}.")
    fewest = min(row.answered for row in rows)
    if fewest < FEW_ANSWERS:
        console.print(f"Too few answers ({fewest}) for percentiles: take more --frames.")
    columns = [*(Column(name, words=True) for name in ("link", "sent as", "frames")), Column("bytes")]
    columns += [Column("p50 ms"), Column("p95 ms", rank=1), Column("answers/s", rank=2)]
    columns += [Column("answered"), Column("as clean")]
    cells, before = [], None
    for row in rows:
        times = ["-" if ms is None else f"{ms:.0f}" for ms in (row.latency_p50_ms, row.latency_p95_ms)]
        size = "-" if row.wire_bytes_mean is None else f"{row.wire_bytes_mean:,.0f}"
        agreement = "" if row.agreement is None else f"{100 * row.agreement:.0f} %"
        answered = f"{row.answered}/{row.captured}"
        name = "" if row.link == before else row.link
        cells.append(
            [name, row.variant, row.frames, size, *times, f"{row.goodput_fps:.1f}", answered, agreement]
        )
        before = row.link
    print_table(
        console, columns, cells, "Each way to send, over each link",
        "bytes: of the HTTP request; as clean: answered frames with the class of the clean frame; guarded: "
        "with a budget; shrinking: the budget follows the link.",
    )  # fmt: skip


@program("bench.link")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 with a message."""
    options = _parser().parse_args(arguments)
    rows = _measure(options)
    summary = summarise(rows)
    show(rows, summary, bundle_options.console(options))
    names = ("bundle", "emulate", "fps", "frames", "budget", "workers", "in_flight", "threads")
    settings = options_of.chosen(options, *names) | {"images": options.limit}
    settings |= {"clean": bool(options.photos), "attacked": bool(options.attacked)}  # nobody's paths
    report.write(options.json, "link", settings, [asdict(row) for row in rows], summary)
    return 0


def _measure(options: argparse.Namespace) -> list[LinkRow]:
    bundle = load(options.bundle)
    images, same = clean_and_attacked(
        options.photos, options.attacked, options.limit, bundle.manifest.preprocess
    )
    links = options.emulate or LINKS
    for link in links:
        Conditions.of(link)  # a mistake is said before anything runs
    head, tail = Head(bundle, EngineOptions(threads=1)), Tail(bundle, EngineOptions(threads=1))
    top1 = [int(tail.decode(head.encode(image).to_bytes()).argmax()) for image in images["clean"]]
    expected = {"clean": top1, "attacked": top1 if same else []}
    camera = Camera(options.fps, options.frames, options.in_flight, options.threads)
    rows = []
    with serving([bundle], options.workers) as server:
        for link in links:
            for setup in setups(options.budget or bundle.manifest.budget):
                progress.print(f"{link}, {setup.name}, {setup.frames} ...", highlight=False)
                frames, classes = images[setup.frames], expected[setup.frames]
                rows.append(measure(setup, link, frames, classes, bundle, server.address, camera))
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = options_of.parser("bench.link", __doc__)
    add, positive = parser.add_argument, options_of.positive
    bundle_options.add_bundle(parser)
    options_of.add_photos(parser, "--clean", what="clean frames")
    add(
        "--attacked", type=Path, metavar="DIR",
        help="the same frames, attacked (the attack pack, or noise, where it is missing)",
    )  # fmt: skip
    options_of.add_limit(parser, 8, "frames of each folder", "--images")
    add(
        "--emulate", action="append", metavar="LINK",
        help=f"such as 250kbit,80ms,1%%loss, again for more (default: {' '.join(LINKS).replace('%', '%%')})",
    )  # fmt: skip
    add("--fps", type=float, default=10.0, help="frames a second of the camera")
    add("--frames", type=positive, metavar="N", default=50, help="frames of each setup over each link")
    add(
        "--budget", type=positive, metavar="BYTES",
        help="budget of the guard (default: the bundle's own)",
    )  # fmt: skip
    add("--workers", type=positive, metavar="N", default=2, help="workers of the server")
    add("--in-flight", type=positive, metavar="N", default=MOST, help="frames on their way at most")
    options_of.add_threads(parser, 1, "the device")
    options_of.add_json(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
