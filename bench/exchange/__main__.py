"""Packets made on one machine and decoded on another: do both see the same symbols and logits?

    python -m bench.exchange frames FILE [--count N] [--seed N]     frames from the sample photos
    python -m bench.exchange write DIR --frames FILE --bundle NAME  here: encode, decode what was encoded
    python -m bench.exchange check DIR ... [--json PATH]            there: decode, and compare with that

``write`` and ``check`` need the edge install alone (numpy, numba, Pillow, onnxruntime); ``frames`` needs the
photographs that ``bench.common.photos`` finds, so one machine makes the file for both. Every other frame is
defended, whatever is in it, so that mask, denoiser and second head take part.

Symbols must be equal: a frame with another symbol, or with a packet that cannot be decoded, is a mismatch.
Logits are sums of floats, which each machine adds in its own order: they may differ by ``TOLERANCE`` of the
frame's largest. ``check`` exits with 1 when anything is not so.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.common import report
from bench.common.errors import ExchangeError
from bench.common.photos import photos
from bench.exchange.folder import Exchange
from runtime.bundle import DEFAULT, load
from runtime.cli.program import prog, program
from runtime.codec.packet import Flags
from runtime.engines import EngineOptions
from runtime.errors import PacketError
from runtime.guard import Guard
from runtime.head import Head
from runtime.tail import Tail

SIZE = 224
"""Side of the frames, in pixels: what the default bundles take without resizing."""

NOISE = (0.0, 0.0, 8.0, 32.0, 96.0)
"""Standard deviations of the noise on frames, of 255: from none to little else."""

TOLERANCE = 1e-4

OPTIONS = EngineOptions(threads=1)


def varied(images: list[NDArray[np.uint8]], count: int, seed: int = 0, size: int = SIZE) -> NDArray[np.uint8]:
    """``count`` different frames, uint8 (count, size, size, 3): crops, some mirrored, most noisy."""
    rng = np.random.default_rng(seed)
    frames = np.empty((count, size, size, 3), np.uint8)
    for number in range(count):
        image = images[number % len(images)]
        side = int(min(image.shape[:2]) * rng.uniform(0.4, 1.0))
        top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        crop = Image.fromarray(image).resize(
            (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
        )
        pixels = np.asarray(crop)[:, :: int(rng.choice([-1, 1]))]
        noise = rng.normal(0.0, rng.choice(NOISE), pixels.shape)
        frames[number] = np.clip(np.rint(pixels + noise), 0, 255)
    return frames


def encoded(bundle_name: str, frames: NDArray[np.uint8]) -> Exchange:
    """Encode frames on this machine, every other one defended, and decode each packet here too."""
    bundle = load(bundle_name)
    heads = [Head(bundle, OPTIONS, guard=Guard(mode)) for mode in ("never", "always")]
    tail = Tail(bundle, OPTIONS)
    packets, logits = [], []
    symbols: dict[str, list[NDArray[np.int32]]] = {}
    for frame, head in zip(frames, itertools.cycle(heads)):
        packets.append(head.encode(frame).to_bytes())
        logits.append(tail.decode(packets[-1]))
        assert head.report is not None
        for stream in head.report.latent.streams:
            symbols.setdefault(stream.name, []).append(stream.symbols)
    return Exchange(
        bundle_name,
        bundle.id.hex(),
        report.environment(),
        tuple(packets),
        {name: np.stack(of).astype(np.int32) for name, of in symbols.items()},
        np.stack(logits),
    )


def compared(exchange: Exchange) -> dict[str, Any]:
    """Decode everything on this machine and compare it with what its maker saw: a row of the report.

    Raises BundleError when this machine has no such bundle, ExchangeError when it has another of that name.
    """
    bundle = load(exchange.bundle)
    if bundle.id.hex() != exchange.bundle_id:
        raise ExchangeError(
            f"bundle {exchange.bundle} is {bundle.id.hex()} here and was {exchange.bundle_id} where the "
            "packets were made: bring both machines to one release"
        )
    tail = Tail(bundle, OPTIONS)
    wrong: dict[int, str] = {}
    differences, defended, classes_changed = [], 0, 0
    for number, (packet, logits) in enumerate(zip(exchange.packets, exchange.logits, strict=True)):
        try:
            here = tail.decode(packet)
        except PacketError as error:
            wrong[number] = f"{type(error).__name__}: {error}"
            continue
        assert tail.report is not None
        decoded = {stream.name: stream.symbols for stream in tail.report.streams}
        unequal = [
            name
            for name, symbols in exchange.symbols.items()
            if name not in decoded or not np.array_equal(decoded[name], symbols[number])
        ]
        if unequal:
            wrong[number] = f"other symbols in {' and '.join(unequal)}"
        defended += Flags.DENOISED in tail.report.flags
        differences.append(np.abs(here - logits).max() / np.abs(logits).max())
        classes_changed += int(here.argmax() != logits.argmax())
    return {
        "bundle": bundle.manifest.name,
        "made_on": exchange.environment["machine"],
        "checked_on": report.environment()["machine"],
        "frames": len(exchange.packets),
        "defended": defended,
        "packet_bytes": sum(map(len, exchange.packets)),
        "symbols": sum(symbols.size for symbols in exchange.symbols.values()),
        "symbol_mismatches": len(wrong),
        "mismatches": wrong,
        "logits_largest_difference": float(np.max(differences, initial=0.0)),
        "classes_changed": classes_changed,
    }


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Over all folders; ``agree`` is what the exit status says."""
    mismatches = sum(row["symbol_mismatches"] for row in rows)
    difference = float(np.max([row["logits_largest_difference"] for row in rows]))  # a NaN stays one
    return {
        "frames": sum(row["frames"] for row in rows),
        "symbol_mismatches": mismatches,
        "logits_largest_difference": difference,
        "agree": mismatches == 0 and difference <= TOLERANCE,
    }


def show(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """A few plain lines on standard output: a device needs no package for tables."""
    for row in rows:
        print(
            f"{row['bundle']}: {row['frames']} frames, {row['made_on']} -> {row['checked_on']}: "
            f"{row['symbol_mismatches']} mismatches, logits differ by {row['logits_largest_difference']:.1e}"
        )
        for frame, reason in row["mismatches"].items():
            print(f"  frame {frame}: {reason}")
    print("the machines agree" if summary["agree"] else "the machines do NOT agree")


@program("bench.exchange")
def main(arguments: list[str] | None = None) -> int:
    """0; 1 where machines do not agree; 2 when something that is needed is missing or damaged."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog("bench.exchange"), description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    frames = verbs.add_parser("frames", help="make the frames that all machines encode")
    frames.add_argument("file", type=Path, help=".npz to write")
    frames.add_argument("--count", type=int, default=200, help="frames (default: %(default)s)")
    frames.add_argument("--seed", type=int, default=0, help="of crops and noise (default: %(default)s)")
    frames.set_defaults(run=_frames)

    write = verbs.add_parser("write", help="encode frames on this machine")
    write.add_argument("folder", type=Path, help="folder to write")
    write.add_argument("--frames", type=Path, required=True, metavar="FILE", help=".npz that `frames` wrote")
    write.add_argument("--bundle", default=DEFAULT, help="name or folder (default: %(default)s)")
    write.set_defaults(run=_write)

    check = verbs.add_parser("check", help="decode on this machine what another one wrote, and compare")
    check.add_argument("folders", type=Path, nargs="+", metavar="folder", help="folders that `write` wrote")
    report.add_json_argument(check)
    check.set_defaults(run=_check)
    return parser


def _frames(options: argparse.Namespace) -> int:
    frames = varied([image for _, image in photos()], options.count, options.seed)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(options.file, frames=frames)
    return 0


def _write(options: argparse.Namespace) -> int:
    encoded(options.bundle, _read_frames(options.frames)).save(options.folder)
    return 0


def _read_frames(file: Path) -> NDArray[np.uint8]:
    try:
        with np.load(file, allow_pickle=False) as archive:
            frames: NDArray[np.uint8] = archive["frames"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ExchangeError(
            f"{file}: no frames: make them: python -m bench.exchange frames {file}"
        ) from error
    return frames


def _check(options: argparse.Namespace) -> int:
    rows = [compared(Exchange.open(folder)) for folder in options.folders]
    summary = summarise(rows)
    report.write(options.json, "exchange", {"tolerance": TOLERANCE}, rows, summary)
    show(rows, summary)
    return 0 if summary["agree"] else 1


if __name__ == "__main__":
    sys.exit(main())
