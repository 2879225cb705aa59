"""Decoding across engines: packets that are encoded once must be read alike whoever computes the exact h_s.

    python -m bench.engines [--bundle NAME ...] [--frames N] [--seed N] [--json PATH]

Every frame is coded to a packet and read by the NumPy definition of h_s, by torch, by ONNX Runtime with one
and two threads at every optimisation level, and by CUDA and TensorRT where they are; with a factorized prior
by both coders, for there is nothing to compute. A mismatch is a packet that is refused, or a symbol or the
index of a table that is not the encoder's. Engines that are not on this machine are named with the reason.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.common import bundle_options, report
from bench.common.photos import photos
from bench.engines.frames import KINDS, frames
from bench.engines.readers import priors
from runtime.bundle import DEFAULT, Bundle
from runtime.cli.program import prog, program
from runtime.codec.coder import BACKENDS, Coder, open_coder
from runtime.codec.packet import symbol_checksum
from runtime.engines import EngineOptions
from runtime.errors import CoderError, PacketError
from runtime.prior import open_prior
from runtime.prior.base import Prior, Stream, push_streams

BUNDLES = (DEFAULT, DEFAULT.replace("mshp", "fp"))


@dataclass
class Reader:
    """One way to read packets, and how many it read wrongly."""

    name: str
    prior: Prior
    coder: Coder
    mismatches: int = 0

    def read(self, payload: bytes, wanted: tuple[Stream, ...]) -> None:
        """Read a payload and compare symbols and indices with those that were written."""
        decoder = self.coder.decoder(payload)
        try:
            streams, _ = self.prior.read(decoder)
            decoder.finish(symbol_checksum(*(stream.symbols for stream in streams)))
        except PacketError:
            self.mismatches += 1
            return
        self.mismatches += any(
            not (np.array_equal(a.symbols, b.symbols) and np.array_equal(a.index, b.index))
            for a, b in zip(streams, wanted, strict=True)
        )


@dataclass
class Result:
    """What became of one bundle's frames."""

    bundle: Bundle
    readers: list[Reader]
    skipped: dict[str, str]
    kinds: Counter[str] = field(default_factory=Counter)
    bytes: int = 0


def open_readers(bundle: Bundle) -> tuple[list[Reader], dict[str, str]]:
    """Every way to read packets of this bundle on this machine, and the engines that are missing."""
    found, skipped = priors(bundle)
    coder = open_coder()
    readers = [Reader(name, prior, coder) for name, prior in found.items()]
    name, prior = next(iter(found.items()))
    for backend in set(BACKENDS) - {coder.name}:
        with suppress(CoderError):
            readers.append(Reader(f"{name}, coder {backend}", prior, open_coder(backend)))
    return readers, skipped


def compare(bundle: Bundle, count: int, seed: int, progress: Progress) -> Result:
    """Encode ``count`` frames once each, and read them in every way."""
    result = Result(bundle, *open_readers(bundle))
    prior, coder = open_prior(bundle, EngineOptions(threads=1)), open_coder()
    photographs = [image for _, image in photos()]
    task = progress.add_task(bundle.manifest.name, total=count)
    for kind, latents in islice(frames(bundle, photographs, seed), count):
        streams = prior.code(*latents)
        payload = encode(streams, coder)
        for reader in result.readers:
            reader.read(payload, streams)
        result.kinds[kind] += 1
        result.bytes += len(payload)
        progress.advance(task)
    return result


def encode(streams: tuple[Stream, ...], coder: Coder) -> bytes:
    """A packet's payload."""
    encoder = coder.encoder(symbol_checksum(*(stream.symbols for stream in streams)))
    push_streams(streams, encoder)
    return encoder.finish()


def rows_of(result: Result) -> list[dict[str, Any]]:
    """One row a way to read."""
    frames = result.kinds.total()
    return [
        {"bundle": result.bundle.manifest.name, "read_by": reader.name, "frames": frames}
        | {kind: result.kinds[kind] for kind in KINDS}
        | {"mean_bytes": result.bytes / frames, "mismatches": reader.mismatches}
        for reader in result.readers
    ]


@program("bench.engines")
def main(arguments: list[str] | None = None) -> None:
    """Run from the command line; exits with 1 when anything was read differently."""
    parser = argparse.ArgumentParser(prog=prog("bench.engines"), description=__doc__.splitlines()[0])
    parser.add_argument(
        "--bundle", nargs="+", default=list(BUNDLES), metavar="NAME", help="default: one of each prior"
    )
    parser.add_argument(
        "--frames", type=bundle_options.positive, default=10_000, help="of each bundle (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    report.add_json_argument(parser)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = bundle_options.console(options)
    with Progress(console=Console(stderr=True)) as progress:
        results = [
            compare(b, options.frames, options.seed, progress) for b in bundle_options.bundles(options)
        ]
    rows = [row for result in results for row in rows_of(result)]
    skipped = {name: reason for result in results for name, reason in result.skipped.items()}
    mismatches = sum(row["mismatches"] for row in rows)
    summary = {"mismatches": mismatches, "frames": sum(result.kinds.total() for result in results)}
    summary |= {"decoded": sum(row["frames"] for row in rows), "skipped": skipped}
    report.write(options.json, "engines", {"frames": options.frames, "seed": options.seed}, rows, summary)
    table = Table("bundle", "read by", "frames", "mismatches")
    for row in rows:
        table.add_row(row["bundle"], row["read_by"], str(row["frames"]), str(row["mismatches"]))
    console.print(table)
    for name, reason in skipped.items():
        console.print(f"skipped: {name}: {reason}", markup=False)
    sys.exit(mismatches > 0)


if __name__ == "__main__":
    sys.exit(main())
