"""Attackers that see no gradient of the frame they send: one perturbation for all frames, and queries only.

    python -m bench.blind --data DIR [--bundle NAME] [--limit N] [--queries N] [--eps N] [--json PATH]

``universal`` is found with the deployed file on other photographs of the folder, as many as are attacked.
``black_box`` sees nothing but the length of each packet, as an observer of an encrypted link does, and
queries the sender that it is measured against. Bytes are of real packets.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.attacks import Target, to_uint8
from bench.attacks.black_box import black_box
from bench.attacks.universal import applied, universal
from bench.common import bundle_options, report
from bench.common.bootstrap import interval, ratio_interval
from bench.common.photos import Sample, labelled
from export.progress import bar
from runtime.bundle import DEFAULT, Bundle, load
from runtime.cli.program import prog, program
from runtime.engines import EngineOptions
from runtime.errors import ImageError
from runtime.guard import Guard
from runtime.head import Head
from runtime.tail import Tail

Frames = NDArray[np.uint8]
SENDERS = {"undefended": None, "guard": Guard()}


@dataclass(frozen=True)
class Outcome:
    """Bytes of the packets and whether the answer is the label, one value an image."""

    bytes: NDArray[np.int64]
    correct: NDArray[np.bool_]

    @classmethod
    def of(cls, head: Head, tail: Tail, frames: Frames, labels: NDArray[np.int64]) -> Outcome:
        """Send frames, uint8 (n, S, S, 3), through the real bitstream."""
        packets = [head.encode(frame).to_bytes() for frame in frames]
        answers = [int(tail.decode(packet).argmax()) for packet in packets]
        return cls(np.array([len(packet) for packet in packets]), np.array(answers) == labels)

    def as_row(self, threat: str, sender: str, clean: Outcome) -> dict[str, Any]:
        """Against clean frames that are sent undefended."""
        return {
            "threat": threat, "sender": sender, "bytes_mean": float(self.bytes.mean()),
            "bytes_ratio": float(self.bytes.sum() / clean.bytes.sum()),
            "bytes_ratio_ci": list(ratio_interval(self.bytes.astype(float), clean.bytes.astype(float))),
            "top1": float(self.correct.mean()), "top1_ci": list(interval(self.correct)),
        }  # fmt: skip


def run(bundle: Bundle, samples: list[Sample], limit: int, eps: float, queries: int) -> list[dict[str, Any]]:
    """One row a threat and sender; the last ``limit`` of 2 ``limit`` samples are attacked."""
    square = bundle.manifest.preprocess.square
    frames = np.stack([square(sample.image()) for sample in samples[: 2 * limit]])
    train, clean = frames[:limit], frames[limit:]
    labels = np.array([sample.label for sample in samples[limit : 2 * limit]])
    engine, tail = EngineOptions(threads=1), Tail(bundle, EngineOptions(threads=1))
    heads = {name: Head(bundle, engine, guard=guard) for name, guard in SENDERS.items()}
    reference = Outcome.of(heads["undefended"], tail, clean, labels)
    rows = [reference.as_row("clean", "undefended", reference)]
    everywhere = _universal(bundle, train, clean, eps)
    for name, head in heads.items():
        rows.append(Outcome.of(head, tail, everywhere, labels).as_row("universal", name, reference))
        queried = _black_box(head, clean, eps, queries, name)
        rows.append(Outcome.of(head, tail, queried, labels).as_row("black_box", name, reference))
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


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """The table."""
    table = Table()
    for column in ("threat", "sender"):
        table.add_column(column)
    for column in ("bytes", "against clean", "95 %", "top-1 %", "95 %"):
        table.add_column(column, justify="right")
    for row in rows:
        change, ratios, (low, high) = row["bytes_ratio"] - 1, row["bytes_ratio_ci"], row["top1_ci"]
        table.add_row(
            row["threat"], row["sender"], f"{row['bytes_mean']:,.0f}", f"{100 * change:+.1f} %",
            " to ".join(f"{100 * ratio - 100:+.1f}" for ratio in ratios), f"{100 * row['top1']:.1f}",
            f"{100 * low:.1f}-{100 * high:.1f}",
        )  # fmt: skip
    console.print(table)


@program("bench.blind")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 when the bundle or the images cannot be had."""
    parser = argparse.ArgumentParser(prog=prog("bench.blind"), description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, metavar="DIR", required=True, help="folder with images/ and labels.csv"
    )
    parser.add_argument("--bundle", default=DEFAULT, help="default: %(default)s")
    parser.add_argument(
        "--limit", type=bundle_options.positive, default=30, help="images attacked (default: %(default)s)"
    )
    parser.add_argument(
        "--queries",
        type=bundle_options.positive,
        default=500,
        help="of black_box, an image (default: %(default)s)",
    )
    parser.add_argument(
        "--eps", type=bundle_options.positive, default=4, help="of 255 (default: %(default)s)"
    )
    report.add_json_argument(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    samples = labelled(options.data)
    if len(samples) < 2 * options.limit:
        raise ImageError(f"{options.data}: {len(samples)} images; --limit {options.limit} needs twice that")
    rows = run(load(options.bundle), samples, options.limit, options.eps / 255, options.queries)
    show(rows, Console(stderr=options.json == "-", width=bundle_options.WIDTH, highlight=False))
    settings = {name: getattr(options, name) for name in ("bundle", "limit", "queries", "eps")}
    summary = {f"{r['threat']}, {r['sender']}": [r["bytes_ratio"], r["top1"]] for r in rows}
    report.write(options.json, "blind", settings, rows, summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
