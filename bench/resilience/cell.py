"""The cells of a campaign: one bundle, one kind of input, one way of sending it; and where results are kept.

A store is a folder. Each finished cell is a JSON file in ``cells/``, each batch of attacked frames an npy
file in ``frames/``, both named by a digest of all that they depend on but the code: what is there need not be
done again, and other settings, images or bundles have other names. Files are moved into place when they are
complete, so a killed campaign leaves no halves.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.common.errors import CampaignError
from bench.common.photos import Sample
from runtime.bundle import Bundle
from runtime.guard import Guard
from runtime.guard.defence import Defence

VERSION = 1
"""Of what a cell's file holds; raised when the same settings give other results."""

UNDEFENDED = "undefended"


@dataclass(frozen=True)
class Input:
    """What reaches the camera. Make it with ``Input()``, which is clean, or by naming the fields.

    level: eps of an attack, of 255; severity of a corruption, 1 to 5.
    setting, steps, restarts: of the attack.
    seed: of the attack's start or of the corruption's draws.
    knows: the defence that the attacker differentiates through; None where it attacks the plain head.
    """

    kind: Literal["clean", "attack", "corruption"] = "clean"
    name: str = "clean"
    level: int = 0
    setting: Literal["", "unmasked", "released"] = ""
    steps: int = 0
    restarts: int = 0
    seed: int = 0
    knows: Defence | None = None

    @property
    def label(self) -> str:
        """For tables: the name, its setting where it is not the usual one, its level."""
        if self.kind == "clean":
            return self.name
        if self.kind == "corruption":
            return f"{self.name} {self.level}"
        return f"{self.name}{' released' if self.setting == 'released' else ''} {self.level}/255"


@dataclass(frozen=True)
class Sender:
    """How a frame is sent: through a filter of ``trivial_defences``, by a guarded head, or as it is."""

    name: str = UNDEFENDED
    before: str | None = None
    guard: Guard | None = None


@dataclass(frozen=True)
class Subject:
    """A bundle as a campaign names it; ``where`` is what ``runtime.bundle.load`` takes."""

    name: str
    prior: str
    id: str
    where: str

    @classmethod
    def of(cls, bundle: Bundle) -> Subject:
        """The subject that is this bundle."""
        return cls(bundle.manifest.name, bundle.manifest.prior, bundle.id.hex(), str(bundle.folder))


@dataclass(frozen=True)
class Cell:
    """One square of the table that a campaign fills."""

    subject: Subject
    input: Input
    sender: Sender


@dataclass(frozen=True)
class Measured:
    """One value an image, in the images' order.

    bytes: int64, of the packet, header included.
    correct: bool, whether the server's first answer is the label.
    rung: str, where the guard's ladder ended (``runtime.guard.decision.Rung``): ``plain`` for a frame sent as
        it came.
    linf: int64, largest change of a value of the input, of 255.
    """

    bytes: NDArray[np.int64]
    correct: NDArray[np.bool_]
    rung: NDArray[np.str_]
    linf: NDArray[np.int64]


def fingerprint(samples: list[Sample]) -> list[list[Any]]:
    """What says which images these are: name, label and size of each file."""
    return [[sample.path.name, sample.label, sample.path.stat().st_size] for sample in samples]


def digest(*parts: Any) -> str:
    """24 hex digits that differ where the parts do; they are what JSON can hold."""
    text = json.dumps([VERSION, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Store:
    """Results and attacked frames of one or more campaigns over the same images, in a folder."""

    def __init__(self, folder: Path, images: list[list[Any]]):
        self._cells, self._frames, self._images = folder / "cells", folder / "frames", images
        for path in (self._cells, self._frames):
            path.mkdir(parents=True, exist_ok=True)

    def cell(self, cell: Cell) -> Measured | None:
        """What was measured; None where nothing was. Raises CampaignError when the file is damaged."""
        path = self._cell_path(cell)
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))["images"]
            return Measured(
                np.array(values["bytes"], np.int64), np.array(values["correct"], bool),
                np.array(values["rung"], str), np.array(values["linf"], np.int64),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise CampaignError(f"{path}: not a finished cell ({error}); delete it") from error

    def keep(self, cell: Cell, measured: Measured) -> None:
        """Write a finished cell."""
        values = {name: array.tolist() for name, array in vars(measured).items()}
        text = json.dumps({"cell": asdict(cell), "images": values}) + "\n"
        _move_into_place(self._cell_path(cell), lambda path: path.write_text(text, encoding="utf-8"))

    def frames(self, subject: Subject, attack: Input, part: slice) -> NDArray[np.uint8] | None:
        """The attacked frames of some images, uint8 (n, S, S, 3); None where there are none yet."""
        path = self._frames_path(subject, attack, part)
        if not path.exists():
            return None
        try:
            frames: NDArray[np.uint8] = np.load(path, allow_pickle=False)
            return frames
        except (ValueError, EOFError, OSError) as error:
            raise CampaignError(f"{path}: not attacked frames ({error}); delete it") from error

    def keep_frames(self, subject: Subject, attack: Input, part: slice, frames: NDArray[np.uint8]) -> None:
        """Write the attacked frames of some images."""

        def write(path: Path) -> None:
            with path.open("wb") as file:  # np.save adds .npy to a name that lacks it
                np.save(file, frames)

        _move_into_place(self._frames_path(subject, attack, part), write)

    def _cell_path(self, cell: Cell) -> Path:
        known = asdict(cell) | {"subject": cell.subject.id}
        return self._cells / f"{digest('cell', known, self._images)}.json"

    def _frames_path(self, subject: Subject, attack: Input, part: slice) -> Path:
        name = digest("frames", subject.id, asdict(attack), self._images[part])
        return self._frames / f"{name}.npy"


def _move_into_place(path: Path, write: Callable[[Path], Any]) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    write(unfinished)
    unfinished.replace(path)
