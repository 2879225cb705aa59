"""What ``bench.latency`` prints: the verdict, then tables; the one of always-defended frames comes last."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console

from bench.common import bundle_options
from bench.common.attack_pack import read_pack
from bench.common.report import environment
from bench.common.terminal import Column, print_table
from bench.common.timing import Timing
from bench.latency.attack_cost import AttackCost, attack_cost
from bench.latency.baselines import PICTURES
from bench.latency.defence_cost import STEPS, defence_costs
from bench.latency.disturbances import CLEAN, DEFENDED, NOISE
from bench.latency.frame_timing import DEVICE, LINK, SERVER, TOTAL, UNDEFENDED, BundleTimings, pooled
from bench.latency.verdict import FEW_FRAMES, verdict

FEW_FOR_P99 = 100
"""Timed frames below which the 99th percentile is only the slowest of them."""

RIGHT = "right: photographs with the class that the network gives to the clean picture before any coding."


def show(timings: BundleTimings, summary: dict[str, Any], options: argparse.Namespace) -> None:
    """Print everything about one bundle."""
    console = bundle_options.console(options)
    _heading(console, timings, options)
    for sentence in verdict(timings):
        console.print(sentence, markup=False)
    _stages(console, timings)
    cost = attack_cost(timings)
    if cost is not None:
        _attack(console, cost)
    _instead(console, timings, summary, options.link)
    _photographs(console, timings)
    _footprint(console, timings, summary)
    _always_defended(console, timings)


def _heading(console: Console, timings: BundleTimings, options: argparse.Namespace) -> None:
    machine, threads = environment(), options.threads or "as it chooses"
    console.print(f"\n{timings.bundle.manifest.name}", style="bold", markup=False)
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, {timings.engine}, threads: {threads}; "
        f"photographs: {len(timings.uncoded_top1)}, runs of each: {options.runs}, "
        f"link: {options.link:g} kbit/s\n",
        style="dim", markup=False,
    )  # fmt: skip


def _stages(console: Console, timings: BundleTimings) -> None:
    count = timings.frames_of_a_kind
    columns = [Column("where", words=True), Column("stage", words=True), Column("p50")]
    columns += [Column("p95")] * (count >= FEW_FRAMES) + [Column("p99")] * (count >= FEW_FOR_P99)
    parts: list[tuple[str, str, tuple[str, ...]]]
    parts = [("device" * (not number), stage, (stage,)) for number, stage in enumerate(UNDEFENDED)]
    parts += [("", "together", UNDEFENDED), ("link", "transmit (computed)", (LINK,))]
    parts += [("server", "decode", ("decode",)), ("", "restore + tail", ("tail",)), ("", "together", SERVER)]
    parts += [("all", "pixels to class", TOTAL)]
    rows = []
    for where, name, stages in parts:
        timing = pooled(timings, CLEAN.name, stages)
        values = [f"{value:.2f}" for value in (timing.p50, timing.p95, timing.p99)]
        rows.append([where, name, *values[: len(columns) - 2]])
    bold = [number for number, (_, _, stages) in enumerate(parts) if len(stages) > 1]
    ends = [number for number, part in enumerate(parts[:-1]) if parts[number + 1][0]]
    print_table(console, columns, rows, "Clean frames by stage, without guard: ms", ends=ends, bold=bold)


def _attack(console: Console, cost: AttackCost) -> None:
    columns = [Column("input", words=True), *map(Column, ("bytes", "against clean", "right", "defended"))]
    columns += [Column("device ms"), Column("link ms", rank=1)]
    rows = []
    for of in cost.inputs:
        right, defended = (round(cost.photos * share) for share in (of.right, of.defended))
        rows.append(
            [
                of.variant, f"{of.bytes:,.0f}", f"{100 * (of.bytes / cost.clean.bytes - 1):+.1f} %",
                f"{right} of {cost.photos}", f"{defended} of {cost.photos}", f"{of.device_ms:.1f}",
                f"{of.link_ms:.1f}",
            ]
        )  # fmt: skip
    pack = read_pack()
    print_table(
        console, columns, rows, "An attack, without and with the guard: medians over the photographs",
        f"attacked: un-masked PGD-E, {pack.eps} of 255, on the plain head of {pack.bundle}. {RIGHT}",
    )  # fmt: skip


def _instead(console: Console, timings: BundleTimings, summary: dict[str, Any], link: float) -> None:
    columns = [Column("sent as", words=True), Column("quality", words=True), Column("bytes")]
    columns += [Column("encode", rank=1), Column("link", rank=2), Column("decode", rank=1)]
    columns += [Column("total"), Column("right")]
    clean = [frame for frame in timings.frames if frame.variant == CLEAN.name]
    right = sum(frame.top1 == timings.uncoded_top1[frame.photo] for frame in clean)
    times = [summary[f"{name}_ms_p50"] for name in ("encode", "transmit", "decode", "total")]
    ours = ["ratehold", f"rate {timings.bundle.manifest.rate}", f"{summary['bytes_clean_p50']:,.0f}"]
    rows = [[*ours, *(f"{time:.1f}" for time in times), f"{right} of {len(clean)}"]]
    around = sum(summary[f"{stage}_ms_p50"] for stage in ("preprocess", "head", "tail"))
    rows += [_picture(timings, codec.name, around, link) for codec in PICTURES]
    print_table(
        console, columns, rows,
        "Instead: a picture in as many bytes, the whole network on the server; median ms",
        f"total: with resizing and with the whole network, timed as head and tail above. {RIGHT}", bold=[0],
    )  # fmt: skip


def _picture(timings: BundleTimings, codec: str, around_ms: float, link: float) -> list[str]:
    of = [baseline for baseline in timings.baselines if baseline.codec == codec]
    size = float(np.median([baseline.bytes for baseline in of]))
    encode, decode = _median([b.encode for b in of]), _median([b.decode for b in of])
    transmit = 8 * size / link
    qualities = sorted({baseline.quality for baseline in of})
    quality = f"{qualities[0]}" if len(qualities) == 1 else f"{qualities[0]} to {qualities[-1]}"
    right = sum(baseline.top1 == timings.uncoded_top1[baseline.photo] for baseline in of)
    times = (encode, transmit, decode, around_ms + encode + transmit + decode)
    return [codec, quality, f"{size:,.0f}", *(f"{time:.1f}" for time in times), f"{right} of {len(of)}"]


def _median(timings: list[Timing]) -> float:
    return float(np.median([timing.p50 for timing in timings]))


def _photographs(console: Console, timings: BundleTimings) -> None:
    columns = [Column("photo", words=True), Column("input", words=True), Column("bytes")]
    columns += [Column("content", rank=3), Column("device"), Column("link", rank=2), Column("server", rank=2)]
    columns += [Column("total"), Column("class", words=True, rank=1)]
    labels = timings.bundle.labels()
    rows, ends = [], []
    for number, frame in enumerate(timings.frames):
        first = frame.variant == CLEAN.name
        ends += [number - 1] * (first and number > 0)
        times = [
            f"{1e3 * float(np.median(frame.total(part))):.1f}" for part in (DEVICE, (LINK,), SERVER, TOTAL)
        ]
        content, answer = f"{frame.information:,.0f}", labels[frame.top1] if labels else str(frame.top1)
        rows.append(
            [frame.photo if first else "", frame.variant, f"{frame.bytes:,}", content, *times, answer]
        )
    print_table(
        console, columns, rows, "Each photograph: bytes of the packet and median ms",
        "content: bytes of information in the packet; +guard: defended where the frame looks attacked; "
        f"+defended: defended in any case; noise: +-{NOISE} of 255 at random; attacked: from the pack. "
        "Noise and attack are put on the resized square, so no resizing is in their device time.", ends=ends,
    )  # fmt: skip


def _footprint(console: Console, timings: BundleTimings, summary: dict[str, Any]) -> None:
    console.print(
        f"\nThe device: {summary['fps']:.0f} frames/s, one at a time; {summary['head_rss_mb']:.0f} MB "
        f"resident; {summary['cold_start_s']:.2f} s from import to first packet.\n"
        f"Device and server in one process: {summary['head_tail_rss_mb']:.0f} MB resident."
    )
    sustained = timings.sustained
    console.print(
        f"Under an attack that does not end a frame takes {sustained.ratio:.2f} of a clean one's time in "
        f"the mean, {sustained.looked_ms / sustained.clean_ms:.2f} at most; the largest packet has "
        f"{sustained.most_bytes:,} bytes."
    )
    if timings.energy is not None:
        console.print(
            f"Energy of a clean frame on the device: {timings.energy.mj_per_frame:.1f} mJ above idle "
            f"({timings.energy.as_summary()['energy_source']})."
        )


def _always_defended(console: Console, timings: BundleTimings) -> None:
    columns = [Column("input", words=True), *map(Column, ("mask", "TV", "head", "prior", "rate"))]
    columns[1:] = [Column(column.heading, rank=1) for column in columns[1:]]
    columns += map(Column, ("together", "added", "bytes", "right"))
    photos, rows = len(timings.uncoded_top1), []
    for cost in defence_costs(timings):
        without, with_it = (f"{size:,.0f}" for size in cost.bytes)
        before, after = (round(photos * share) for share in cost.right)
        times = [*(cost.steps_ms[step] for step in STEPS), cost.ms]
        rows.append(
            [
                cost.variant, *(f"{ms:.2f}" for ms in times), f"{cost.percent:.0f} %",
                f"{without} -> {with_it}", f"{before} -> {after} of {photos}",
            ]
        )  # fmt: skip
    (_, defended), *_ = DEFENDED
    assert defended.guard is not None
    solver = defended.guard.defence.solver()
    print_table(
        console, columns, rows,
        f"Every frame defended, clean ones too ({solver.mode}, weight {solver.weight:g}): median ms",
        "The guard defends only what looks attacked; this is what the defence itself costs. "
        "head, prior: the second look; rate: rate control; added: to the device's time for the same frame; "
        "bytes, right: without -> with the defence.",
    )  # fmt: skip
