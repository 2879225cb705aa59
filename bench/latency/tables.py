"""What ``bench.latency`` prints: photos, stages, the defence, then the formats that are sent instead."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.common import bundle_options
from bench.common.attack_pack import read_pack
from bench.common.image_codecs import CODECS
from bench.common.report import environment
from bench.common.timing import Timing
from bench.latency.attack_cost import AttackCost, attack_cost
from bench.latency.defence_cost import STEPS, defence_costs
from bench.latency.disturbances import ATTACKED, CLEAN, DEFENDED, NOISY
from bench.latency.frame_timing import DEVICE, LINK, SERVER, TOTAL, UNDEFENDED, Result, pooled

AFTER_RESIZING = "put on the resized square, so no resizing is in its device time"


def show(result: Result, summary: dict[str, Any], options: argparse.Namespace) -> None:
    """Print everything about one bundle."""
    console = bundle_options.console(options)
    machine = environment()
    threads = f"threads: {options.threads or 'as the engine chooses'}"
    console.print(
        f"\n[bold]{summary['bundle']}[/]: photographs from pixels to class through a real bitstream"
    )
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, {result.engine}, {threads}; "
        f"{options.runs} frames a photo and variant, link {options.link:g} kbit/s",
        style="dim",
    )
    _print(
        console,
        _photos(result),
        "By photo: bytes of the packet, bytes of information in it, median ms",
        "\n".join(f"{v.name}: {v.about}; {AFTER_RESIZING}" for v in (NOISY, ATTACKED)),
    )
    _print(console, _stages(result), "By stage, clean photos: ms")
    _print(
        console,
        _defence(result),
        f"What the defence costs ({_defence_in_words()}): median ms",
        "head, prior: the second look; rate: its control. added: to the device's time for the same frame;\n"
        "bytes, right: without -> with the defence.",
    )
    _print(
        console,
        _baselines(result, summary, options.link),
        "Instead: the picture in as many bytes, the whole network on the server; clean photos, median ms",
        "total: with resizing and with all of the network, whose time is that of head and tail above.\n"
        "right: photos that get the class that the network gives to the picture before any coding.",
    )
    console.print(
        f"\nThe device: [bold]{summary['fps']:.0f}[/] frames/s, one at a time; "
        f"{summary['head_rss_mb']:.0f} MB resident; "
        f"{summary['cold_start_s']:.2f} s from import to first packet.\n"
        f"Device and server in one process: {summary['head_tail_rss_mb']:.0f} MB resident."
    )
    if result.energy is not None:
        console.print(
            f"Energy of a clean frame on the device: {result.energy.mj_per_frame:.1f} mJ above idle "
            f"({result.energy.as_summary()['energy_source']})."
        )
    cost = attack_cost(result)
    if cost is not None:
        _print(
            console,
            _attack(cost),
            f"What an attack costs, what the guard saves, what it costs: {cost.photos} photos, medians",
            _attack_in_words(cost),
        )


def _print(console: Console, table: Table, title: str, note: str = "") -> None:
    console.print(f"\n{title}", style="bold")
    console.print(table)
    if note:
        console.print(note, style="dim")


def _table(left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table()
    for column in left:
        table.add_column(column, no_wrap=True)
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _photos(result: Result) -> Table:
    table = _table(("photo", "input"), ("bytes", "inform.", "device", "link", "server", "total"))
    table.add_column("class", no_wrap=True, max_width=24)
    labels = result.bundle.labels()
    for m in result.measurements:
        parts = (DEVICE, (LINK,), SERVER, TOTAL)
        times = [f"{1e3 * float(np.median(m.total(part))):.1f}" for part in parts]
        first = m.variant == CLEAN.name
        last = [other for other in result.measurements if other.photo == m.photo][-1]
        table.add_row(
            m.photo if first else "", m.variant, f"{m.bytes:,}", f"{m.information:,.0f}", *times,
            labels[m.top1] if labels else str(m.top1), end_section=m is last,
        )  # fmt: skip
    return table


def _stages(result: Result) -> Table:
    table = _table(("where", "stage"), ("p50", "p95", "p99"))

    def add(where: str, name: str, stages: tuple[str, ...], last: bool = False) -> None:
        timing = pooled(result, CLEAN.name, stages)
        values = (f"{value:.2f}" for value in (timing.p50, timing.p95, timing.p99))
        table.add_row(where, name, *values, end_section=last, style="bold" if len(stages) > 1 else None)

    for number, stage in enumerate(UNDEFENDED):
        add("" if number else "device", stage, (stage,))
    add("", "together", UNDEFENDED, last=True)
    add("link", "transmit (computed)", (LINK,), last=True)
    add("server", "decode", ("decode",))
    add("", "restore + tail", ("tail",))
    add("", "together", SERVER, last=True)
    add("", "pixels to class", TOTAL)
    return table


def _defence(result: Result) -> Table:
    table = _table(("input",), ("mask", "TV", "head", "prior", "rate", "together", "added", "bytes", "right"))
    photos = len(result.uncoded_top1)
    for cost in defence_costs(result):
        times = [*(cost.steps_ms[step] for step in STEPS), cost.ms]
        without, with_it = (f"{size:,.0f}" for size in cost.bytes)
        before, after = (round(photos * share) for share in cost.right)
        table.add_row(
            cost.variant, *(f"{ms:.2f}" for ms in times), f"{cost.percent:.0f} %",
            f"{without} -> {with_it}", f"{before} -> {after} of {photos}",
        )  # fmt: skip
    return table


def _attack(cost: AttackCost) -> Table:
    table = _table(("input",), ("bytes", "against clean", "right", "defended", "device ms", "link ms"))
    for line in cost.lines:
        right, defended = (round(cost.photos * share) for share in (line.right, line.defended))
        table.add_row(
            line.variant, f"{line.bytes:,.0f}", f"{100 * (line.bytes / cost.clean.bytes - 1):+.1f} %",
            f"{right} of {cost.photos}", f"{defended} of {cost.photos}", f"{line.device_ms:.1f}",
            f"{line.link_ms:.1f}",
        )  # fmt: skip
    return table


def _attack_in_words(cost: AttackCost) -> str:
    summary, pack = cost.as_summary(), read_pack()
    return (
        f"attacked: un-masked PGD-E, {pack.eps} of 255, on the plain head of {pack.bundle}.\n"
        f"An attack costs {summary['attack_bytes_percent']:+.0f} % of the bytes; behind the guard it is "
        f"{summary['guarded_attack_bytes_percent']:+.0f} %, for {summary['guarded_attack_ms_p50']:.1f} ms "
        f"more on the device.\nA clean frame pays {1e3 * cost.guard_ms:.0f} us for the guard, "
        f"{cost.guard_percent:.1f} % of its time on the device."
    )


def _defence_in_words() -> str:
    (_, defended), *_ = DEFENDED
    assert defended.guard is not None
    solver = defended.guard.defence.solver()
    return f"{solver.mode}, weight {solver.weight:g}"


def _baselines(result: Result, summary: dict[str, Any], link: float) -> Table:
    table = _table(("sent as", "quality"), ("bytes", "encode", "link", "decode", "total", "right"))
    clean = [m for m in result.measurements if m.variant == CLEAN.name]
    right = sum(m.top1 == result.uncoded_top1[m.photo] for m in clean)
    times = [summary[f"{name}_ms_p50"] for name in ("encode", "transmit", "decode", "total")]
    table.add_row(
        "ratehold", f"rate {result.bundle.manifest.rate}", f"{summary['bytes_clean_p50']:,.0f}",
        *(f"{time:.1f}" for time in times), f"{right}/{len(clean)}", style="bold",
    )  # fmt: skip
    around = sum(summary[f"{stage}_ms_p50"] for stage in ("preprocess", "head", "tail"))
    for codec in CODECS:
        table.add_row(codec.name, *_baseline(result, codec.name, around, link))
    return table


def _baseline(result: Result, codec: str, around_ms: float, link: float) -> list[str]:
    of = [b for b in result.baselines if b.codec == codec]
    size = float(np.median([b.bytes for b in of]))
    encode, decode = (_median([getattr(b, stage) for b in of]) for stage in ("encode", "decode"))
    transmit = 8 * size / link
    total = around_ms + encode + transmit + decode
    qualities = sorted({b.quality for b in of})
    quality = f"{qualities[0]}" if len(qualities) == 1 else f"{qualities[0]} to {qualities[-1]}"
    right = sum(b.top1 == result.uncoded_top1[b.photo] for b in of)
    times = [f"{time:.1f}" for time in (encode, transmit, decode, total)]
    return [quality, f"{size:,.0f}", *times, f"{right}/{len(of)}"]


def _median(timings: list[Timing]) -> float:
    return float(np.median([timing.p50 for timing in timings]))
