"""What an entropy attack does to a user on a thin link, and what the guard does about it.

    python -m bench.link [--bundle NAME] [--attacked DIR] [--emulate LINK ...] [--json PATH]

A camera takes frames at a steady pace; a device encodes and sends them over an emulated link (token bucket,
delay, lost requests) to a tail server in a process of its own; frames that wait too long give way to fresh
ones. Latency is from capture to answer, goodput counts answers. JPEG and WebP of the same square take the
same way, in qualities that cost about the same accuracy; their server's work is not counted at all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.common import report
from bench.common.attack_pack import attacked as in_pack
from bench.common.emulated_link import Conditions
from bench.common.photos import photos, samples
from bench.link.runs import Image, measure, variants
from bench.serve.process import serving
from runtime.bundle import DEFAULT, Bundle, load
from runtime.cli.program import prog, program
from runtime.codec.packet import MAX_OVERHEAD
from runtime.engines import EngineOptions
from runtime.head import Head
from runtime.preprocess import Preprocess
from runtime.streaming.window import MOST
from runtime.tail import Tail

LINKS = ("50kbit,40ms", "100kbit,40ms", "250kbit,40ms", "1000kbit,40ms", "250kbit,80ms,1%loss")

progress = Console(stderr=True)


def clean_and_attacked(
    clean: Path | None, attacked: Path | None, count: int, preprocess: Preprocess
) -> tuple[dict[str, list[Image]], bool]:
    """At most ``count`` frames of each, and whether the attacked ones are the clean ones, attacked.

    Without folders: sample photographs and the attack pack. Where there is nothing attacked, or nothing that
    fits this bundle, it is noise of the size of its input. An attacked folder names its files like the clean.
    """
    if clean is None and attacked is None:
        pairs = [(image, in_pack(name, preprocess.square(image))) for name, image in photos()]
        known = [(image, frame) for image, frame in pairs if frame is not None][:count]
        if known:
            return {"clean": [image for image, _ in known], "attacked": [frame for _, frame in known]}, True
    images = [s.image() for s in samples(clean)] if clean else [image for _, image in photos()]
    if attacked is not None:
        frames = [sample.image() for sample in samples(attacked)]
        return {"clean": images[:count], "attacked": frames[:count]}, clean is not None
    rng, side = np.random.default_rng(0), preprocess.size
    noise = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in images]
    return {"clean": images[:count], "attacked": noise[:count]}, False


def default_budget(bundle: Bundle) -> int:
    """Bytes that the packets of 99 % of clean frames keep."""
    return int(dict(bundle.manifest.clean_bits)[0.99] / 8) + MAX_OVERHEAD


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How much later the median answer comes under attack, without and with guard: worst over the links."""

    p50 = {(row["link"], row["variant"], row["frames"]): row["latency_p50_ms"] for row in rows}
    links = dict.fromkeys(row["link"] for row in rows)

    def slowest(variant: str) -> float:
        return max(p50[link, variant, "attacked"] / p50[link, "ratehold", "clean"] for link in links)

    return {"attacked_slowdown": slowest("ratehold"), "guarded_slowdown": slowest("ratehold guarded")}


def show(rows: list[dict[str, Any]]) -> None:
    """Table on standard output."""
    table = Table(title="Capture to answer over an emulated link", box=SIMPLE_HEAD, pad_edge=False)
    for column in (
        "link",
        "variant",
        "frames",
        "bytes",
        "p50 ms",
        "p95 ms",
        "answers/s",
        "answered",
        "as clean",
    ):
        table.add_column(column, justify="left" if column in ("link", "variant", "frames") else "right")
    for row in rows:
        agreement = "" if row["agreement"] is None else f"{100 * row['agreement']:.0f} %"
        table.add_row(
            row["link"], row["variant"], row["frames"], f"{row['wire_bytes_mean']:,.0f}",
            f"{row['latency_p50_ms']:.0f}", f"{row['latency_p95_ms']:.0f}", f"{row['goodput_fps']:.1f}",
            f"{row['answered']}/{row['captured']}", agreement,
        )  # fmt: skip
    Console(width=max(Console().width, 110)).print(table)


@program("bench.link")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 with a message."""
    options = _parser().parse_args(arguments)
    rows = _measure(options)
    show(rows)
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    settings |= {"clean": bool(options.clean), "attacked": bool(options.attacked)}  # nobody's paths
    report.write(options.json, "link", settings, rows, summarise(rows))
    return 0


def _measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    bundle = load(options.bundle)
    images, same = clean_and_attacked(
        options.clean, options.attacked, options.images, bundle.manifest.preprocess
    )
    links = {text: Conditions.of(text) for text in options.emulate or LINKS}
    head, tail = Head(bundle, EngineOptions(threads=1)), Tail(bundle, EngineOptions(threads=1))
    top1 = [int(tail.decode(head.encode(image).to_bytes()).argmax()) for image in images["clean"]]
    expected = {"clean": top1, "attacked": top1 if same else []}
    rows = []
    with serving([bundle], options.workers) as server:
        for text, conditions in links.items():
            for variant in variants(options.budget or default_budget(bundle)):
                progress.print(f"{text}, {variant.name}, {variant.frames} ...", highlight=False)
                row = measure(
                    variant, conditions, images, expected, bundle, server.address,
                    options.fps, options.frames, options.threads, options.in_flight,
                )  # fmt: skip
                rows.append({"link": text} | row)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog("bench.link"), description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--bundle", default=DEFAULT, help="installed name or folder (default: %(default)s)")
    add("--clean", type=Path, metavar="DIR", help="clean frames (default: sample photographs)")
    add(
        "--attacked",
        type=Path,
        metavar="DIR",
        help="the same frames, attacked (default: the attack pack, or noise)",
    )
    add("--images", type=int, default=8, help="most different frames (default: %(default)s)")
    add(
        "--emulate", action="append", metavar="LINK",
        help=f"such as 250kbit,80ms,1%%loss, again for more (default: {', '.join(LINKS).replace('%', '%%')})",
    )  # fmt: skip
    add("--fps", type=float, default=10.0, help="of the camera (default: %(default)s)")
    add("--frames", type=int, default=50, help="of each variant over each link (default: %(default)s)")
    add("--budget", type=int, metavar="BYTES", help="of the guard (default: what 99 %% of clean frames keep)")
    add("--workers", type=int, default=2, help="of the server (default: %(default)s)")
    add("--in-flight", type=int, default=MOST, help="frames on their way at most (default: %(default)s)")
    add("--threads", type=int, default=1, help="of the device (default: %(default)s)")
    report.add_json_argument(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
