"""Our entropy coder beside CompressAI's rANS: bytes, gap to the information content, time.

    python -m bench.coding [--bundle NAME] [--runs N] [--threads N] [--json PATH]

One set has 72,600 synthetic symbols (24 x 55 x 55, the latent of an Entropic Student): zero-mean Gaussians
with log-uniform scales in 0.11 .. 20, 2.8 bits each. Another set of each bundle has the latents of the sample
photographs, one stream a photograph. All coders get the same symbols and the same scales or table indices.
All use tables of the same 64 scales; CompressAI's have 16 bits, as always. Times begin and end with arrays in
memory (NumPy, for CompressAI torch). For a bundle they are of its first photograph.

CompressAI runs in its fastest way: ``build_indexes``, then its ``ans`` module, with the tables as Python
lists beforehand. Its own ``compress()`` makes those lists on each call and is slower.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console

from bench.coding.coders import CoderPeer, Frame, Ours, Part, peers
from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.terminal import Column, print_table
from bench.common.timing import Timing, measure_side_by_side
from runtime.cli.program import ERROR, program
from runtime.codec.coder import BACKENDS
from runtime.codec.packet import Flags, Packet
from runtime.codec.stream import SEAL_BITS
from runtime.codec.tables import gaussian_tables, scale_index
from runtime.errors import RateholdError

SYMBOLS = 72_600
LOWEST, HIGHEST = 0.11, 20.0
STAGES = ("index", "encode", "decode")
BUNDLE_ID = bytes(8)

progress = Console(stderr=True)


def synthetic(symbols: int = SYMBOLS, seed: int = 0) -> Frame:
    """One part of Gaussian symbols, scales log-uniform in LOWEST .. HIGHEST."""
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.uniform(np.log(LOWEST), np.log(HIGHEST), symbols)).astype(np.float32)
    values = np.rint(rng.normal(size=symbols) * scales).astype(np.int32)
    return [Part(values, scale_index(scales), gaussian_tables(), scales)]


def bundle_sets(names: list[str]) -> Iterator[tuple[str, list[Frame]]]:
    """Name and latents of the sample photographs, for each bundle, or each without a shield."""
    from bench.common.photos import photos
    from runtime.bundle import load
    from runtime.head import Head

    for name in names or bundle_options.plain_bundles():
        head = Head(load(name))
        frames = [head.analyse(image).streams for _, image in photos()]
        yield name, [[Part(s.symbols, s.index, s.tables) for s in streams] for streams in frames]


@dataclass(frozen=True)
class CodingRow:
    """One set by one coder.

    symbols, payload_bytes, information_bytes: of all frames. gap: share of bits over the information content.
    stages: times by ``STAGES``, of the first frame, which has ``timed_symbols``.
    """

    set: str
    coder: str
    frames: int
    symbols: int
    payload_bytes: int
    information_bytes: float
    gap: float
    timed_symbols: int
    stages: dict[str, Timing]

    @property
    def total_ms(self) -> float:
        """Median of all stages together."""
        return sum(timing.p50 for timing in self.stages.values())

    @property
    def symbols_per_s(self) -> float:
        """Symbols a second through all stages."""
        return self.timed_symbols / self.total_ms * 1e3

    def as_row(self) -> dict[str, Any]:
        """Fields of a row of the report."""
        names = (
            "set",
            "coder",
            "frames",
            "symbols",
            "payload_bytes",
            "information_bytes",
            "gap",
            "timed_symbols",
        )
        row: dict[str, Any] = {name: getattr(self, name) for name in names}
        row |= {"total_p50_ms": self.total_ms, "symbols_per_s": self.symbols_per_s}
        for stage, timing in self.stages.items():
            row |= timing.as_row(f"{stage}_")
        return row


def measure_set(name: str, frames: list[Frame], coders: list[CoderPeer], runs: int) -> list[CodingRow]:
    """Rows of one set, one a coder. Outputs are compared before anything is timed."""
    information = sum(
        float(p.tables.information_bits(p.symbols, p.index).sum(dtype=np.float64))
        for frame in frames
        for p in frame
    )
    sizes = {coder.name: sum(_verified_size(coder, frame) for frame in frames) for coder in coders}
    _check_equal_bytes(coders, frames)
    timings = _time(coders, frames[0], runs)
    rows = []
    for coder in coders:
        seal = SEAL_BITS * len(frames) if isinstance(coder, Ours) else 0
        rows.append(
            CodingRow(
                set=name,
                coder=coder.name,
                frames=len(frames),
                symbols=sum(part.symbols.size for frame in frames for part in frame),
                payload_bytes=sizes[coder.name],
                information_bytes=information / 8,
                gap=(8 * sizes[coder.name] - seal - information) / information,
                timed_symbols=sum(part.symbols.size for part in frames[0]),
                stages={stage: timings[f"{coder.name} {stage}"] for stage in STAGES},
            )
        )
    return rows


def _verified_size(coder: CoderPeer, frame: Frame) -> int:
    index = coder.index(frame)
    data = coder.encode(frame, index)
    for part, symbols in zip(frame, coder.decode(data, frame, index), strict=True):
        if not np.array_equal(part.symbols, symbols):
            raise SystemExit(f"{coder.name} does not decode what it has encoded")
    return coder.size(data)


def _check_equal_bytes(coders: list[CoderPeer], frames: list[Frame]) -> None:
    ours = [coder for coder in coders if isinstance(coder, Ours)]
    for frame in frames:
        if len({coder.encode(frame, coder.index(frame)) for coder in ours}) > 1:
            raise SystemExit("our backends do not write the same bytes")


def _time(coders: list[CoderPeer], frame: Frame, runs: int) -> dict[str, Timing]:
    calls: dict[str, Callable[[], object]] = {}
    for coder in coders:
        index = coder.index(frame)
        data = coder.encode(frame, index)
        calls[f"{coder.name} index"] = partial(coder.index, frame)
        calls[f"{coder.name} encode"] = partial(coder.encode, frame, index)
        calls[f"{coder.name} decode"] = partial(coder.decode, data, frame, index)
    return measure_side_by_side(calls, runs)


def header_bytes(payload_bytes: int) -> int:
    """Bytes of a packet that are not code: header, CRC-32, and the two of the seal inside the payload."""
    packet = Packet(BUNDLE_ID, Flags.NONE, bytes(payload_bytes)).to_bytes()
    return len(packet) - payload_bytes + SEAL_BITS // 8


def summarise(rows: list[CodingRow]) -> dict[str, Any]:
    """Speed on the synthetic set, and the worst overhead of all sets."""
    ours = [row for row in rows if row.coder in BACKENDS]
    totals = {row.coder: row.total_ms for row in rows if row.set == "synthetic"}
    best = next(name for name in BACKENDS if name in totals)  # what ``auto`` takes
    theirs = totals.get("compressai")
    return {
        "backend": best,
        "speedup_vs_compressai": theirs / totals[best] if theirs else None,
        "overhead_ratio": max(row.gap for row in ours),
        "header_bytes": max(header_bytes(row.payload_bytes // row.frames) for row in ours),
    }


def show(rows: list[CodingRow], summary: dict[str, Any], console: Console) -> None:
    """The verdict, then the table."""
    console.print("\nEntropy coding: our rANS beside CompressAI's\n", style="bold")
    speedup = summary["speedup_vs_compressai"]
    console.print(
        f"{summary['backend']} codes the synthetic set {speedup:.1f} times as fast as CompressAI."
        if speedup
        else "CompressAI is not installed, so no speed is compared: pip install 'ratehold[export]'"
    )
    console.print(
        f"A packet is at most {100 * summary['overhead_ratio']:.3f} % over the information content of its "
        f"symbols, and {summary['header_bytes']} bytes of header and checks."
    )
    columns = [Column("set", words=True), Column("coder", words=True), Column("symbols", rank=2)]
    columns += [
        Column("bytes"),
        Column("gap %"),
        *(Column(stage, rank=3 if stage == "index" else 1) for stage in STAGES),
    ]
    columns += [Column("Msymbols/s")]
    cells, before = [], None
    for row in rows:
        stages = [f"{row.stages[stage].p50:.2f}" for stage in STAGES]
        sizes = [f"{row.symbols:,}", f"{row.payload_bytes:,}", f"{100 * row.gap:.3f}"]
        name = "" if row.set == before else row.set
        cells.append([name, row.coder, *sizes, *stages, f"{row.symbols_per_s / 1e6:.1f}"])
        before = row.set
    ends = [n for n in range(len(rows) - 1) if rows[n + 1].set != rows[n].set]
    print_table(
        console, columns, cells, "Each set by each coder: median ms",
        "gap: bits over the information content of our tables; index, encode, decode: of one frame.",
        ends=ends,
    )  # fmt: skip


@program("bench.coding")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when a bundle that was asked for cannot be opened."""
    parser = options_of.parser("bench.coding", __doc__)
    bundle_options.add_bundles(parser, [bundle_options.ALL])
    options_of.add_runs(parser, 50, "runs of each call")
    options_of.add_threads(parser, 1, "torch; ours uses one")
    options_of.add_json(parser)
    options = parser.parse_args(arguments)

    coders = peers(options.threads, progress.print)
    progress.print("synthetic ...")
    named = options.bundle if options.bundle != [bundle_options.ALL] else []
    rows = measure_set("synthetic", [synthetic(SYMBOLS)], coders, options.runs)
    try:
        for name, frames in bundle_sets(named):
            progress.print(f"{name} ...")
            rows += measure_set(name, frames, coders, options.runs)
    except (ImportError, RateholdError) as error:
        progress.print(f"bundles: skipped ({error})", highlight=False)
        if named:
            return ERROR
    summary = summarise(rows)
    show(rows, summary, bundle_options.console(options))
    settings = {
        "runs": options.runs,
        "threads": options.threads,
        "symbols": SYMBOLS,
        "scales": [LOWEST, HIGHEST],
    }
    report.write(options.json, "coding", settings, [row.as_row() for row in rows], summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
