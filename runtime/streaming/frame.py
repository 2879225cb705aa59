"""A frame between its encoder and its answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Encoded:
    """A frame that is ready to be sent.

    identity: the id of its requests, however often it is sent and by whichever process.
    rung: as in ``runtime.guard.decision.Decision``.
    captured: ``time.perf_counter()`` when it was taken, or found in the spool.
    file: where it lies in the spool, None without one.
    """

    name: str
    identity: str
    packet: bytes
    rung: str
    captured: float
    file: Path | None = None
