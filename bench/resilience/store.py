"""Where a campaign keeps its results, so that nothing is measured or attacked twice.

A store is a folder. Each finished cell is a JSON file in ``cells/``. Each batch of attacked frames is an npy
file in ``frames/``. A file's name is a digest of all that its content depends on but the code of ratehold:
other settings, images or bundles have other names, and so has another version of a caller's own code. Files
are moved into place when they are complete, so a killed campaign leaves no halves.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common.errors import CampaignError
from bench.common.photos import Sample
from bench.resilience.cell import Cell, Input, MeasuredCell, Subject, Treatment

VERSION = 2
"""Of what a cell's file holds; raised when the same settings give other results."""


@dataclass(frozen=True)
class ImageFile:
    """What tells one image of a campaign from another: name, label and size in bytes of its file."""

    name: str
    label: int | None
    size: int


def fingerprint(samples: list[Sample]) -> list[ImageFile]:
    """Which images these are."""
    return [ImageFile(s.path.name, s.label, s.path.stat().st_size) for s in samples]


def digest(*parts: Any) -> str:
    """24 hex digits that differ where the parts do. The parts are what JSON can hold."""
    text = json.dumps([VERSION, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Store:
    """Results and attacked frames of one or more campaigns over the same images, in a folder."""

    def __init__(self, folder: Path, images: list[ImageFile]):
        self._cells, self._frames = folder / "cells", folder / "frames"
        self._images = [list(vars(image).values()) for image in images]
        for path in (self._cells, self._frames):
            path.mkdir(parents=True, exist_ok=True)

    def cell(self, cell: Cell) -> MeasuredCell | None:
        """A finished cell, or None. Raises CampaignError when its file is damaged."""
        path = self._cell_path(cell)
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))["images"]
            return MeasuredCell(
                np.array(values["bytes"], np.int64), np.array(values["correct"], bool),
                np.array(values["rung"], str), np.array(values["linf"], np.int64),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError) as error:
            raise CampaignError(f"{path}: not a finished cell ({error}); delete it") from error

    def keep(self, cell: Cell, measured: MeasuredCell) -> None:
        """Write a finished cell."""
        values = {name: array.tolist() for name, array in vars(measured).items()}
        text = json.dumps({"cell": asdict(cell), "images": values}) + "\n"
        _move_into_place(self._cell_path(cell), lambda path: path.write_text(text, encoding="utf-8"))

    def frames(
        self, subject: Subject, attack: Input, part: slice, others: slice | None = None
    ) -> NDArray[np.uint8] | None:
        """The attacked frames of some images, uint8 (n, S, S, 3); None where there are none yet.

        others: images that the attack learned from, where it did.
        """
        path = self._frames_path(subject, attack, part, others)
        if not path.exists():
            return None
        try:
            frames: NDArray[np.uint8] = np.load(path, allow_pickle=False)
            return frames
        except (ValueError, EOFError, OSError) as error:
            raise CampaignError(f"{path}: not attacked frames ({error}); delete it") from error

    def keep_frames(
        self,
        subject: Subject,
        attack: Input,
        part: slice,
        frames: NDArray[np.uint8],
        others: slice | None = None,
    ) -> None:
        """Write the attacked frames of some images; arguments as of ``frames``."""

        def write(path: Path) -> None:
            with path.open("wb") as file:  # np.save adds .npy to a name that lacks it
                np.save(file, frames)

        _move_into_place(self._frames_path(subject, attack, part, others), write)

    def _cell_path(self, cell: Cell) -> Path:
        known = {"subject": cell.subject.id, "input": _settings(cell.input), "sender": _settings(cell.sender)}
        return self._cells / f"{digest('cell', known, self._images)}.json"

    def _frames_path(self, subject: Subject, attack: Input, part: slice, others: slice | None) -> Path:
        learned = [] if others is None else [self._images[others]]
        name = digest("frames", subject.id, _settings(attack), self._images[part], *learned)
        return self._frames / f"{name}.npy"


def _settings(of: Input | Treatment) -> dict[str, Any]:
    """The fields. What is ours has no ``code``, and its digest none either. A bundle is known by its id."""
    found = {name: value for name, value in asdict(of).items() if name != "code" or value}
    if found.get("made_on"):
        found["made_on"] = found["made_on"]["id"]
    return found


def _move_into_place(path: Path, write: Callable[[Path], Any]) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    write(unfinished)
    unfinished.replace(path)
