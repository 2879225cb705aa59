"""The cells of a campaign: one bundle, one kind of input, one way of sending it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.guard import Guard
from runtime.guard.defence import Defence

UNDEFENDED = "undefended"


@dataclass(frozen=True)
class Subject:
    """A bundle of a campaign; ``where`` is its folder, ``budget`` its own (None: no limit)."""

    name: str
    prior: str
    id: str
    where: str
    budget: int | None = None

    @classmethod
    def of(cls, bundle: Bundle) -> Subject:
        """The subject that is this bundle."""
        manifest = bundle.manifest
        return cls(manifest.name, manifest.prior, bundle.id.hex(), str(bundle.folder), manifest.budget)


@dataclass(frozen=True)
class Input:
    """What reaches the camera. ``Input()`` is clean.

    level: eps of an attack, of 255; severity of a corruption, 1 to 5.
    setting, steps, restarts: of the attack.
    seed: of the attack's start or of the corruption's draws.
    knows: the defence or the whole guard that the attacker differentiates through, or the guard that it
        queries; None where it attacks the plain head.
    made_on: the bundle that the frames are made on, where it is another than the one that sends them.
    code: fingerprint of the source of a caller's own attack or corruption; empty for ours.
    """

    kind: Literal["clean", "attack", "corruption"] = "clean"
    name: str = "clean"
    level: int = 0
    setting: Literal["", "unmasked", "released"] = ""
    steps: int = 0
    restarts: int = 0
    seed: int = 0
    knows: Defence | Guard | None = None
    made_on: Subject | None = None
    code: str = ""

    @property
    def label(self) -> str:
        """For tables: the name, its setting where it is not the usual one, its level."""
        if self.kind == "clean":
            return self.name
        if self.kind == "corruption":
            return f"{self.name} {self.level}"
        made = f" on {self.made_on.name}" if self.made_on else ""
        return f"{self.name}{' released' if self.setting == 'released' else ''} {self.level}/255{made}"


@dataclass(frozen=True)
class Treatment:
    """How a frame is sent: as it is, through a filter, or by a guarded head; or not split at all.

    before: name of the filter (``trivial_defences.filter_named``).
    both: the frame as it is and the filtered one are encoded, and the shorter packet is sent.
    unsplit: one machine runs the whole network and nothing is sent: its answers are what an attack on the
        network alone leaves.
    code: fingerprint of the source of a caller's own filter; empty for ours.
    """

    name: str = UNDEFENDED
    before: str | None = None
    guard: Guard | None = None
    both: bool = False
    unsplit: bool = False
    code: str = ""


@dataclass(frozen=True)
class Cell:
    """One square of the table that a campaign fills."""

    subject: Subject
    input: Input
    sender: Treatment

    @property
    def budget(self) -> int | None:
        """Most bytes of its packets; None: no limit."""
        guard = self.sender.guard
        return None if guard is None else guard.budget_of(self.subject.budget)


@dataclass(frozen=True)
class MeasuredCell:
    """One value an image, in the images' order.

    bytes: int64, of the packet, header included; 0 where nothing is sent.
    correct: bool, whether the server's first answer is the label.
    rung: str, where the guard's ladder ended (``runtime.guard.decision.Rung``): ``plain`` for a frame sent as
        it came.
    linf: int64, largest change of a value of the input, of 255.
    """

    bytes: NDArray[np.int64]
    correct: NDArray[np.bool_]
    rung: NDArray[np.str_]
    linf: NDArray[np.int64]
