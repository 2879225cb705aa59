"""Side by side with sc2bench, in one run: the same weights, the same frames, the same threads.

    python -m bench.sc2bench --arch resnet50 --prior mshp

Weights are a checkpoint's, or random by a seed (``bench.sc2bench.paper_network``). Before anything is timed,
bytes and logits of both are compared. Ours begins with pixels and ends with a packet's bytes, header and
checks included; theirs begins with the normalised tensor and ends with CompressAI's strings, without their
pickle. The server's half is decoding, decoder and classifier for both.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.bars import print_bars
from bench.common.errors import PeerError
from bench.common.terminal import Column, print_table
from bench.common.timing import Timing, rested_turns
from bench.sc2bench import paper_network
from bench.sc2bench.paper_network import PaperNetwork
from bench.sc2bench.twin import Sc2benchTwin, size_of
from export.paper.architectures import SIZE
from export.paper.build import normalised
from runtime.bundle import Bundle
from runtime.cli.program import program
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.head import Head
from runtime.pictures import read_image
from runtime.preprocess import Preprocess
from runtime.tail import Tail

LOGITS_MAY_DIFFER = 0.1
"""Of the largest logit: means on a grid of 1/16 of a step move y_hat by as much as 1/32 of it."""

BYTES_MAY_DIFFER = 0.05
CONTENDERS = ("encode", "defended", "decode")

COLUMNS = {
    "bytes": 0, "peer_bytes": 0, "logits_difference": 2, "same_class": 3, "encode_ms": 0, "peer_encode_ms": 0,
    "defended_ms": 1, "decode_ms": 0, "peer_decode_ms": 0,
}  # fmt: skip
"""Keys of rows that are printed, and their ranks as of ``terminal.Column``."""


@dataclass(frozen=True)
class ComparedFrame:
    """One photograph for both: pixels uint8 (224, 224, 3), and the tensor that sc2bench takes."""

    name: str
    square: NDArray[np.uint8]
    tensor: torch.Tensor


@torch.no_grad()
def measure(
    bundle: Bundle,
    peer: Sc2benchTwin,
    frames: list[ComparedFrame],
    threads: int,
    runs: int,
    say: Callable[[str], object],
) -> list[dict[str, Any]]:
    """One row a frame: bytes and logits compared, then medians in ms, all contenders in turns.

    ``bundle`` takes frames as they are, without cropping. Raises PeerError when results differ.
    """
    torch.set_num_threads(threads)
    engine = EngineOptions(threads=threads)
    head, tail = Head(bundle, engine), Tail(bundle, engine)
    defended = Head(bundle, engine, guard=Guard("always", budget=None))
    rows = []
    for frame in frames:
        say(frame.name)
        data, coded = head.encode(frame.square).to_bytes(), peer.encode(frame.tensor)
        row = compared(frame.name, len(data), tail.decode(data), size_of(coded), peer.decode(coded))
        calls: dict[str, Callable[[], object]] = {
            "peer encode": lambda f=frame: peer.encode(f.tensor),  # type: ignore[misc]
            "encode": lambda f=frame: head.encode(f.square).to_bytes(),  # type: ignore[misc]
            "defended": lambda f=frame: defended.encode(f.square).to_bytes(),  # type: ignore[misc]
            "peer decode": lambda c=coded: peer.decode(c),  # type: ignore[misc]
            "decode": lambda d=data: tail.decode(d),  # type: ignore[misc]
        }
        rows.append(row | _timed(rested_turns(calls, runs)))
    return rows


def _timed(times: dict[str, Timing]) -> dict[str, float]:
    return {f"{name.replace(' ', '_')}_ms": timing.p50 for name, timing in times.items()}


def compared(
    name: str, size: int, logits: NDArray[np.float32], peer_size: int, peer_logits: torch.Tensor
) -> dict[str, Any]:
    """Bytes and logits of one frame. Raises PeerError when they are not of the same network."""
    theirs = peer_logits[0].numpy()
    difference = float(np.abs(logits - theirs).max() / np.abs(theirs).max())
    if difference > LOGITS_MAY_DIFFER:
        raise PeerError(f"{name}: logits differ from sc2bench's by {difference:.1%} of the largest")
    if abs(size / peer_size - 1) > BYTES_MAY_DIFFER:
        raise PeerError(f"{name}: {size} bytes, sc2bench's strings have {peer_size}")
    return {
        "photo": name,
        "bytes": size,
        "peer_bytes": peer_size,
        "logits_difference": difference,
        "same_class": bool(logits.argmax() == theirs.argmax()),
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Ratios of medians over the frames, ours over sc2bench's; both sides' bytes summed."""

    def median(name: str) -> float:
        return float(np.median([row[name] for row in rows]))

    return {
        "encode_ratio_vs_sc2bench": median("encode_ms") / median("peer_encode_ms"),
        "defended_ratio_vs_sc2bench": median("defended_ms") / median("peer_encode_ms"),
        "decode_ratio_vs_sc2bench": median("decode_ms") / median("peer_decode_ms"),
        "bytes_ratio_vs_sc2bench": sum(r["bytes"] for r in rows) / sum(r["peer_bytes"] for r in rows),
        "same_class_as_sc2bench": float(np.mean([row["same_class"] for row in rows])),
    } | {f"{name}_ms_p50": median(f"{name}_ms") for name in (*CONTENDERS, "peer_encode", "peer_decode")}


def run(
    paper: PaperNetwork, limit: int, threads: int, runs: int, say: Callable[[str], object]
) -> list[dict[str, Any]]:
    """Measure both sides of one network on its first photographs; the rows of ``measure``."""
    architecture = paper.imported.architecture
    whole = replace(paper.bundle, manifest=replace(paper.bundle.manifest, preprocess=Preprocess(SIZE, 1.0)))
    square = paper.imported.preprocess.square
    frames = [
        ComparedFrame(path.stem, square(read_image(path)), normalised([path], architecture))
        for path in paper.photographs[:limit]
    ]
    peer = Sc2benchTwin.of(paper.imported.network, architecture, whole.manifest.prior)
    return measure(whole, peer, frames, threads, runs, say)


def show(rows: list[dict[str, Any]], summary: dict[str, Any], console: Console) -> None:
    """The ratios in words, then each photograph."""
    console.print("\nBeside sc2bench: the same weights, frames and threads\n", style="bold")
    for name, what in (
        ("encode", "Encoding takes"),
        ("defended", "Encoding a defended frame takes"),
        ("decode", "Decoding, decoder and classifier take"),
    ):
        theirs = "peer_decode_ms_p50" if name == "decode" else "peer_encode_ms_p50"
        console.print(
            f"{what} {summary[f'{name}_ms_p50']:.1f} ms, sc2bench {summary[theirs]:.1f} ms: "
            f"{summary[f'{name}_ratio_vs_sc2bench']:.3f} of its time."
        )
    console.print(
        f"Bytes are {summary['bytes_ratio_vs_sc2bench']:.3f} of sc2bench's; "
        f"{100 * summary['same_class_as_sc2bench']:.0f} % of the frames get the same class."
    )
    columns = [Column("photo", words=True)]
    columns += [
        Column(name.removesuffix("_ms").replace("_", " "), rank=rank) for name, rank in COLUMNS.items()
    ]
    cells = [[row["photo"], *(_cell(row.get(name, "")) for name in COLUMNS)] for row in rows]
    print_table(
        console, columns, cells, "Each photograph: bytes, and median ms",
        "peer: sc2bench; difference: of logits, of the largest; defended: ours, beside sc2bench's encode.",
    )  # fmt: skip


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@program("bench.sc2bench")
def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; 0, or 1 when sc2bench, the weights or the photographs cannot be had."""
    parser = options_of.parser("bench.sc2bench", __doc__)
    paper_network.add_arguments(parser, "resnet50")
    options_of.add_photos(parser, "--data")
    options_of.add_limit(parser, 8, "photographs")
    options_of.add_runs(parser, 20, "calls of each photograph and side")
    options_of.add_threads(parser, 2, "both sides")
    options_of.add_bars(parser)
    options_of.add_json(parser)
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    with tempfile.TemporaryDirectory() as folder:
        paper = paper_network.build(options, Path(folder), say)
        rows = run(paper, options.limit, options.threads, options.runs, say)
    summary = summarise(rows)
    console = bundle_options.console(options)
    show(rows, summary, console)
    print_bars("peer_sc2bench", summary, options, console)
    settings = options_of.chosen(options, "arch", "prior", "seed", "limit", "runs", "threads")
    report.write(options.json, "peer_sc2bench", settings, rows, summary)
    return 0
