"""Packets of one machine decoded on another: both must see the same symbols, and nearly the same logits."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common import report
from bench.common.errors import ExchangeError
from bench.exchange.folder import Exchange
from runtime.bundle import load
from runtime.codec.packet import Flags
from runtime.engines import EngineOptions
from runtime.errors import PacketError
from runtime.guard import Guard
from runtime.head import Head
from runtime.tail import Tail

TOLERANCE = 1e-4
"""Difference of logits, of the frame's largest: each machine adds floats in its own order."""

OPTIONS = EngineOptions(threads=1)


@dataclass(frozen=True)
class ExchangeRow:
    """One folder, decoded on this machine.

    made_on, checked_on: kinds of machine.
    mismatches: by frame, what differs from its maker's packet or symbols; there are ``symbol_mismatches``.
    logits_largest_difference: of the frame's largest logit.
    """

    bundle: str
    made_on: str
    checked_on: str
    frames: int
    defended: int
    packet_bytes: int
    symbols: int
    symbol_mismatches: int
    mismatches: dict[int, str]
    logits_largest_difference: float
    classes_changed: int


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


def compared(exchange: Exchange) -> ExchangeRow:
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
    return ExchangeRow(
        bundle=bundle.manifest.name,
        made_on=exchange.environment["machine"],
        checked_on=report.environment()["machine"],
        frames=len(exchange.packets),
        defended=defended,
        packet_bytes=sum(map(len, exchange.packets)),
        symbols=sum(symbols.size for symbols in exchange.symbols.values()),
        symbol_mismatches=len(wrong),
        mismatches=wrong,
        logits_largest_difference=float(np.max(differences, initial=0.0)),
        classes_changed=classes_changed,
    )


def summarise(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Over all folders, from rows as a report has them; ``agree`` is what the exit status says."""
    rows = list(rows)
    mismatches = sum(row["symbol_mismatches"] for row in rows)
    difference = float(np.max([row["logits_largest_difference"] for row in rows]))  # a NaN stays one
    return {
        "frames": sum(row["frames"] for row in rows),
        "symbol_mismatches": mismatches,
        "logits_largest_difference": difference,
        "agree": mismatches == 0 and difference <= TOLERANCE,
    }
