"""Attackers that see no gradient of the frame they send: one perturbation for all frames, and queries only.

    python -m bench.blind --data DIR [--bundle NAME] [--limit N] [--queries N] [--eps N] [--json PATH]

``universal`` is found with the bundle on as many other photographs of the folder as are attacked.
``black_box`` sees only the length of each packet, as an observer of an encrypted link does. It queries the
sender that it is measured against. Bytes are of real packets.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from bench.attacks.black_box import black_box
from bench.attacks.budget import to_uint8
from bench.attacks.differentiable.target import Target
from bench.attacks.universal import applied, universal
from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.bootstrap import about_few, interval, ratio_interval
from bench.common.options import positive
from bench.common.photos import Sample, labelled
from bench.common.terminal import Column, print_table
from export.progress import bar
from runtime.bundle import Bundle, load
from runtime.cli.program import program
from runtime.engines import EngineOptions
from runtime.errors import ImageError
from runtime.guard import Guard
from runtime.head import Head
from runtime.tail import Tail

Frames = NDArray[np.uint8]
SENDERS = {"undefended": None, "guard": Guard()}
PLACES = {"undefended": "undefended", "guard": "behind the guard"}


@dataclass(frozen=True)
class BlindRow:
    """One threat against one sender; ``as_json`` is the row of the report.

    bytes_ratio: all bytes over those of the clean frames, undefended. top1: share of right answers.
    *_ci: 95 % interval over images. images: how many, which is the report's ``limit``.
    """

    threat: str
    sender: str
    bytes_mean: float
    bytes_ratio: float
    bytes_ratio_ci: tuple[float, float]
    top1: float
    top1_ci: tuple[float, float]
    images: int

    def as_json(self) -> dict[str, Any]:
        """The row of the report."""
        return {name: value for name, value in vars(self).items() if name != "images"}


@dataclass(frozen=True)
class BlindOutcome:
    """Bytes of the packets and whether the answer is the label, one value an image."""

    bytes: NDArray[np.int64]
    correct: NDArray[np.bool_]

    @classmethod
    def of(cls, head: Head, tail: Tail, frames: Frames, labels: NDArray[np.int64]) -> BlindOutcome:
        """Send frames, uint8 (n, S, S, 3), through the real bitstream."""
        packets = [head.encode(frame).to_bytes() for frame in frames]
        answers = [int(tail.decode(packet).argmax()) for packet in packets]
        return cls(np.array([len(packet) for packet in packets]), np.array(answers) == labels)

    def as_row(self, threat: str, sender: str, clean: BlindOutcome) -> BlindRow:
        """Against clean frames that are sent undefended."""
        return BlindRow(
            threat, sender, float(self.bytes.mean()), float(self.bytes.sum() / clean.bytes.sum()),
            ratio_interval(self.bytes.astype(float), clean.bytes.astype(float)),
            float(self.correct.mean()), interval(self.correct), len(self.bytes),
        )  # fmt: skip


def run(
    bundle: Bundle, samples: list[Sample], limit: int, eps: float, queries: int, threads: int
) -> list[BlindRow]:
    """One row a threat and sender; the last ``limit`` of 2 ``limit`` samples are attacked."""
    square = bundle.manifest.preprocess.square
    frames = np.stack([square(sample.image()) for sample in samples[: 2 * limit]])
    train, clean = frames[:limit], frames[limit:]
    labels = np.array([sample.label for sample in samples[limit : 2 * limit]])
    engine = EngineOptions(threads=threads)
    tail = Tail(bundle, engine)
    heads = {name: Head(bundle, engine, guard=guard) for name, guard in SENDERS.items()}
    reference = BlindOutcome.of(heads["undefended"], tail, clean, labels)
    rows = [reference.as_row("clean", "undefended", reference)]
    everywhere = _universal(bundle, train, clean, eps)
    for name, head in heads.items():
        rows.append(BlindOutcome.of(head, tail, everywhere, labels).as_row("universal", name, reference))
        queried = _black_box(head, clean, eps, queries, name)
        rows.append(BlindOutcome.of(head, tail, queried, labels).as_row("black_box", name, reference))
    return rows


def _universal(bundle: Bundle, train: Frames, clean: Frames, eps: float) -> Frames:
    delta = universal(Target.open(bundle), _images(train), eps)
    return to_uint8(applied(_images(clean), delta), clean, eps)


def _black_box(head: Head, clean: Frames, eps: float, queries: int, sender: str) -> Frames:
    found = []
    with bar(len(clean), f"black box, {sender}", "frame") as progress:
        for number, frame in enumerate(clean):
            found.append(black_box(lambda f: head.encode(f).size, frame, eps, queries=queries, seed=number))
            progress.update(1)
    return np.stack(found)


def _images(frames: Frames) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float() / 255


def verdict(rows: list[BlindRow]) -> str:
    """What both attackers cost, undefended and behind the guard."""
    found = {(row.threat, row.sender): row for row in rows}
    said = []
    for threat, name in (
        ("universal", "One perturbation for all frames"),
        ("black_box", "Queries of each frame"),
    ):
        each = [f"{_percent(found[threat, sender])} bytes {place}" for sender, place in PLACES.items()]
        said.append(f"{name}: {', '.join(each)}.")
    clean = 100 * found["clean", "undefended"].top1
    guarded = min(100 * row.top1 for row in rows if row.sender == "guard")
    return f"{' '.join(said)} Right answers behind the guard: {guarded:.0f} % at least, clean {clean:.0f} %."


def _percent(row: BlindRow) -> str:
    return f"{100 * (row.bytes_ratio - 1):+.1f} %"


COLUMNS = (
    Column("threat", words=True), Column("sender", words=True), Column("bytes"), Column("change"),
    Column("95 %", rank=1), Column("top-1 %"), Column("95 % of top-1", rank=2),
)  # fmt: skip
LEGEND = """universal: found with the bundle on other frames, and added to these.
black_box: found by queries alone, which return the length of a packet of this sender.
change: of the bytes, against the same frames clean and undefended."""


def show(rows: list[BlindRow], console: Console) -> None:
    """The verdict, then a table of the rows."""
    few = about_few(rows[0].images)
    for text in filter(None, (few, verdict(rows))):
        console.print(text)
    columns = [column for column in COLUMNS if not (few and column.heading.startswith("95 %"))]
    print_table(console, columns, [_cells(row, bool(few)) for row in rows], legend=LEGEND)


def _cells(row: BlindRow, few: bool) -> list[str]:
    low, high = (100 * (ratio - 1) for ratio in row.bytes_ratio_ci)
    least, most = (100 * share for share in row.top1_ci)
    ratio, top1 = ([], []) if few else ([f"{low:+.1f} to {high:+.1f}"], [f"{least:.1f}-{most:.1f}"])
    size, right = f"{row.bytes_mean:,.0f}", f"{100 * row.top1:.1f}"
    return [row.threat, row.sender, size, _percent(row), *ratio, right, *top1]


def _parser() -> argparse.ArgumentParser:
    parser = options_of.parser("bench.blind", __doc__)
    options_of.add_data(parser)
    bundle_options.add_bundle(parser)
    parser.add_argument(
        "--limit", type=positive, metavar="N", default=30,
        help="images attacked: the N after the first N, on which the perturbation for all is found",
    )  # fmt: skip
    parser.add_argument("--queries", type=positive, metavar="N", default=500, help="of black_box, an image")
    parser.add_argument(
        "--eps", type=positive, metavar="N", default=4, help="largest change of a value by an attack, of 255"
    )
    options_of.add_threads(parser, 1, "the engine and of torch")
    options_of.add_json(parser)
    return parser


@program("bench.blind")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when the bundle or the images cannot be had."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    samples = labelled(options.data, 2 * options.limit)
    if len(samples) < 2 * options.limit:
        raise ImageError(f"{options.data}: {len(samples)} images; --limit {options.limit} needs twice that")
    rows = run(
        load(options.bundle), samples, options.limit, options.eps / 255, options.queries, options.threads
    )
    show(rows, bundle_options.console(options))
    settings = options_of.chosen(options, "bundle", "limit", "queries", "eps")
    summary = {f"{row.threat}, {row.sender}": [row.bytes_ratio, row.top1] for row in rows}
    report.write(options.json, "blind", settings, [row.as_json() for row in rows], summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
