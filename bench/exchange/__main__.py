"""Packets made on one machine and decoded on another: do both see the same symbols and logits?

    python -m bench.exchange frames FILE [--count N] [--seed N]     frames from the sample photographs
    python -m bench.exchange write DIR --frames FILE --bundle NAME  here: encode, decode what was encoded
    python -m bench.exchange check DIR ... [--json PATH]            there: decode, and compare with that

``write`` and ``check`` need the edge install alone (numpy, numba, Pillow, onnxruntime). ``frames`` needs the
photographs that ``bench.common.photos`` finds, so one machine makes the file for both. Every other frame is
defended, whatever is in it, so that mask, denoiser and second head take part.

Symbols must be equal: a frame with another symbol, or with a packet that cannot be decoded, is a mismatch.
Logits may differ by ``comparison.TOLERANCE``. ``check`` exits with 1 when anything is not so.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import options as options_of
from bench.common import report
from bench.common.photos import photos
from bench.exchange.comparison import TOLERANCE, ExchangeRow, compared, encoded, summarise
from bench.exchange.folder import Exchange
from bench.exchange.frames import read_frames, varied
from runtime.bundle import DEFAULT
from runtime.cli.program import program


def show(rows: list[ExchangeRow], summary: dict[str, Any]) -> None:
    """A few plain lines on standard output: a device needs no package for tables."""
    print("the machines agree" if summary["agree"] else "the machines do NOT agree")
    for row in rows:
        print(
            f"{row.bundle}: {row.frames} frames, {row.made_on} -> {row.checked_on}: "
            f"{row.symbol_mismatches} mismatches, logits differ by {row.logits_largest_difference:.1e}"
        )
        for frame, reason in row.mismatches.items():
            print(f"  frame {frame}: {reason}")


@program("bench.exchange")
def main(arguments: list[str] | None = None) -> int:
    """0, or 1 where machines do not agree, or where something is missing or damaged."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = options_of.parser("bench.exchange", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    frames = commands.add_parser(
        "frames", help="make the frames that all machines encode", formatter_class=options_of.Help
    )
    frames.add_argument("file", type=Path, help=".npz to write")
    frames.add_argument("--count", type=options_of.positive, metavar="N", default=200, help="frames")
    frames.add_argument("--seed", type=int, default=0, help="seed of crops and noise")
    frames.set_defaults(run=_frames)

    write = commands.add_parser(
        "write", help="encode frames on this machine", formatter_class=options_of.Help
    )
    write.add_argument("folder", type=Path, help="folder to write")
    write.add_argument("--frames", type=Path, required=True, metavar="FILE", help=".npz that `frames` wrote")
    write.add_argument(
        "--bundle", metavar="NAME", default=DEFAULT, help="installed bundle, or the folder of one"
    )
    write.set_defaults(run=_write)

    check = commands.add_parser(
        "check", help="decode here what another machine wrote, and compare", formatter_class=options_of.Help
    )
    check.add_argument("folders", type=Path, nargs="+", metavar="folder", help="folders that `write` wrote")
    options_of.add_json(check)
    check.set_defaults(run=_check)
    return parser


def _frames(options: argparse.Namespace) -> int:
    frames = varied([image for _, image in photos()], options.count, options.seed)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.file, frames=frames)
    return 0


def _write(options: argparse.Namespace) -> int:
    encoded(options.bundle, read_frames(options.frames)).save(options.folder)
    return 0


def _check(options: argparse.Namespace) -> int:
    rows = [compared(Exchange.open(folder)) for folder in options.folders]
    as_dicts = [asdict(row) for row in rows]
    summary = summarise(as_dicts)
    if options.json != "-":
        show(rows, summary)
    report.write(options.json, "exchange", {"tolerance": TOLERANCE}, as_dicts, summary)
    return 0 if summary["agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
