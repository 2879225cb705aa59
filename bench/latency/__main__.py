"""What a frame costs on this machine, from pixels to logits: milliseconds by stage, and bytes on the wire.

    python -m bench.latency [--bundle NAME ...] [--engine all] [--photos DIR] [--link KBIT/S] [--json PATH]
    python -m bench.latency --camera 1080p
    python -m bench.latency --arch resnet50 --prior mshp [--checkpoint FILE] [--peer sc2bench]

Every run is a whole frame: photo -> packet -> logits, as device and server do it, both on this machine. Only
the time on the link is computed, from the bytes. Noise and attacks disturb the prepared square
(``bench.latency.disturbances``), so that nothing is left to resize. ``--arch`` builds one of the paper's
networks (``bench.sc2bench.paper_network``). ``--peer sc2bench`` times sc2bench's own encode and decode of it
beside ours, in turns, on two threads by default. Where a board's power can be read
(``bench.latency.energy``), the report has the energy of a frame.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.bars import print_bars
from bench.common.photos import photos, samples
from bench.common.timing import Timing
from bench.jetson_check import board
from bench.latency import tables
from bench.latency.attack_cost import attack_cost
from bench.latency.camera import CAMERAS, camera_frame, resize_cost
from bench.latency.defence_cost import defence_costs, median_bytes
from bench.latency.disturbances import CLEAN, VARIANTS, Disturbance
from bench.latency.energy import find_meter
from bench.latency.frame_timing import (
    DEVICE,
    LINK,
    SERVER,
    TOTAL,
    UNDEFENDED,
    BundleTimings,
    Photos,
    agreement,
    pooled,
    steps,
    time_bundle,
)
from bench.latency.guard_cost import guard_cost
from bench.sc2bench import paper_network
from bench.sc2bench.paper_network import PaperNetwork
from runtime.bundle import DEFAULT, Bundle
from runtime.cli.program import program

PARTS: dict[str, tuple[str, ...]] = {stage: (stage,) for stage in (*DEVICE, *SERVER)}
PARTS |= {"device": DEVICE, "server": SERVER, "total": TOTAL}


def rows_of(timings: BundleTimings) -> list[dict[str, Any]]:
    """One row a photo and variant, then one a photo and baseline; all times in ms."""
    labels = timings.bundle.labels()
    rows: list[dict[str, Any]] = []
    for m in timings.frames:
        row: dict[str, Any] = {"bundle": timings.bundle.manifest.name, "engine": timings.engine}
        row |= {"codec": "ratehold", "photo": m.photo, "variant": m.variant}
        row |= {"bytes": m.bytes, "information_bytes": m.information, "top1": m.top1}
        row["defended"] = m.defended
        row |= {"top1_name": labels[m.top1] if labels else None}
        row |= {"transmit_ms": 1e3 * float(m.seconds[LINK][0])}
        for part, of in PARTS.items():
            if m.seconds.keys().isdisjoint(of):
                continue  # a step of the defence, and this frame was not defended
            row |= Timing.of_seconds(m.total(of)).as_row(f"{part}_")
        rows.append(row | {"fps": 1e3 / row["device_p50_ms"]})
    return rows + [baseline.as_row(timings.bundle.manifest.name) for baseline in timings.baselines]


def summarise(timings: BundleTimings) -> dict[str, Any]:
    """Medians over clean photographs and runs, costs of defence, guard and attack, bytes of every variant."""
    clean = [m for m in timings.frames if m.variant == CLEAN.name]
    device = pooled(timings, CLEAN.name, DEVICE)
    summary: dict[str, Any] = {"bundle": timings.bundle.manifest.name, "engine": timings.engine}
    for variant in measured(timings):
        summary[f"bytes_{variant.key}_p50"] = median_bytes(timings, variant)
    for stage in (*UNDEFENDED, *SERVER):
        summary[f"{stage}_ms_p50"] = pooled(timings, CLEAN.name, (stage,)).p50
    (of_clean, *_) = defence_costs(timings)
    footprint, attacks = timings.footprint, attack_cost(timings)
    summary |= guard_cost(timings).as_summary() | timings.sustained.as_summary()
    return (
        summary
        | of_clean.as_summary()
        | {
            "information_bytes_clean_p50": float(np.median([m.information for m in clean])),
            "device_ms_p50": device.p50,
            "server_ms_p50": pooled(timings, CLEAN.name, SERVER).p50,
            "transmit_ms_p50": pooled(timings, CLEAN.name, (LINK,)).p50,
            "total_ms_p50": pooled(timings, CLEAN.name, TOTAL).p50,
            "fps": 1e3 / device.p50,
            "head_rss_mb": footprint.head_rss_mb,
            "head_tail_rss_mb": footprint.head_tail_rss_mb,
            "cold_start_s": footprint.cold_start_s,
            "same_class": {v.name: agreement(timings, v.name) for v in measured(timings)},
        }
        | (attacks.as_summary() if attacks else {})
        | (timings.energy.as_summary() if timings.energy else {})
    )


def measured(timings: BundleTimings) -> list[Disturbance]:
    """The variants that any photograph had: a user's own folder has no attacked ones."""
    names = {m.variant for m in timings.frames}
    return [variant for variant in VARIANTS if variant.name in names]


def choose_photos(folder: Path | None, limit: int) -> Photos:
    """The first ``limit`` photos of a folder, or the sample photos."""
    if folder is None:
        return photos()[:limit]
    return [(sample.path.stem, sample.image()) for sample in samples(folder, limit)]


def _parser() -> argparse.ArgumentParser:
    parser = options_of.parser("bench.latency", __doc__)
    bundle_options.add_arguments(parser, DEFAULT, every_engine=True)
    paper_network.add_arguments(parser, None)
    parser.add_argument("--peer", choices=("sc2bench",), help="time it beside ours; needs --arch")
    options_of.add_photos(parser, "--data")
    options_of.add_limit(parser, 8, "photographs")
    options_of.add_runs(parser, 50, "frames of each photograph")
    parser.add_argument(
        "--link", type=float, default=1000, metavar="KBIT/S",
        help="rate for which the time on the link is computed",
    )  # fmt: skip
    parser.add_argument(
        "--camera",
        choices=CAMERAS,
        help="enlarge the photographs to a camera's frames; times resizing beside Pillow",
    )
    options_of.add_bars(parser)
    options_of.add_json(parser)
    return parser


def _measure_all(bundles: list[Bundle], options: argparse.Namespace) -> list[BundleTimings]:
    chosen, engines = choose_photos(options.photos, options.limit), bundle_options.engines(options)
    if options.camera:
        chosen = [(name, camera_frame(image, options.camera)) for name, image in chosen]
    results, meter = [], find_meter()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(bundles) * len(engines) * steps(chosen))
        for bundle, engine in itertools.product(bundles, engines):

            def advance(step: str, name: str = bundle.manifest.name) -> None:
                progress.update(task, advance=1, description=f"{name}: {step}")

            results.append(time_bundle(bundle, chosen, engine, options.runs, options.link, advance, meter))
    if meter is not None:
        meter.close()
    return results


def _measure_peer(
    paper: PaperNetwork, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and summary of sc2bench beside ours, printed. Torch is not imported before it is asked for."""
    from bench.sc2bench import peer

    rows = peer.run(paper, options.limit, options.threads or 2, options.runs, _say)
    summary = peer.summarise(rows)
    peer.show(rows, summary, bundle_options.console(options))
    return [{"bundle": paper.bundle.manifest.name, "codec": "sc2bench"} | row for row in rows], summary


def _measure_resizing(bundle: Bundle, options: argparse.Namespace) -> dict[str, float]:
    (_, photo), *_ = choose_photos(options.photos, 1)
    frame, prepare = camera_frame(photo, options.camera), bundle.manifest.preprocess
    cost = resize_cost(frame, prepare, options.runs)
    bundle_options.console(options).print(
        f"\nResizing a frame of {options.camera} to {prepare.size}: Pillow takes "
        f"{cost['resize_pillow_ms_p50']:.2f} ms. Ours takes {cost['resize_ms_p50']:.2f} ms "
        f"({cost['resize_speedup']:.1f} times as fast), on two threads "
        f"{cost['resize_ms_p50_2_threads']:.2f} ms ({cost['resize_speedup_2_threads']:.1f} times)."
    )
    return cost


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _run(options: argparse.Namespace, folder: Path) -> None:
    """Measure, print and write; ``folder`` is empty and for what is built on the way."""
    paper = paper_network.build(options, folder, _say) if options.arch else None
    results = _measure_all([paper.bundle] if paper else bundle_options.bundles(options), options)
    summaries = [summarise(result) for result in results]
    for result, of_result in zip(results, summaries, strict=True):
        tables.show(result, of_result, options)
    rows = [row for result in results for row in rows_of(result)]
    one_engine = len({result.engine for result in results}) == 1
    keys = [result.bundle.manifest.name if one_engine else result.label for result in results]
    summary = summaries[0] | {"bundles": dict(zip(keys, summaries, strict=True))}
    if paper and options.peer:
        of_peer, ratios = _measure_peer(paper, options)
        rows, summary = rows + of_peer, summary | ratios
    if options.camera:
        summary |= _measure_resizing(results[0].bundle, options)
    print_bars("latency", summary, options, bundle_options.console(options))
    names = ("runs", "link", "engine", "threads", "limit", "arch", "prior", "seed", "peer", "camera")
    settings = {name: getattr(options, name) for name in names} | {"board": board()}
    report.write(options.json, "latency", settings, rows, summary)


@program("bench.latency")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle, a network or the photos cannot be had."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.peer and not options.arch:
        parser.error("--peer needs --arch: it has no others than the paper's networks")
    with tempfile.TemporaryDirectory() as folder:
        _run(options, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
