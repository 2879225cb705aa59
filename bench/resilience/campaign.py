"""Runs the cells of a campaign: attacked frames first, which cost most and serve many cells, then the cells.

A task holds all that it needs, so a worker may be another process or another machine. A worker keeps what it
opens (graphs, tables, differentiable models, a caller's own modules) for its next task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bench.attacks import LEARNS
from bench.common.errors import CampaignError
from bench.common.photos import Sample
from bench.common.unquantised import Unquantised
from bench.resilience.catalogue.corruptions import corruption_named
from bench.resilience.catalogue.trivial_defences import TRIVIAL, filter_named
from bench.resilience.cell import Cell, Input, MeasuredCell, Subject, Treatment
from bench.resilience.store import Store
from bench.resilience.workers import Run
from export.robust.corruptions import CORRUPTIONS
from runtime.bundle import load
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.tail import Tail

BATCH = 10
"""Images attacked together, in one task: a killed campaign loses no more. An adaptive attack on so many takes
about 2.5 GB, and more would not be faster an image."""

SEED_STRIDE = 1_000_003  # further apart than there are images: no two seeds share an image's draws


@dataclass(frozen=True)
class AttackPart:
    """One attack on some of the images; ``others``: those that it learns from, where it does."""

    subject: Subject
    attack: Input
    start: int
    stop: int
    learns_from: tuple[int, int] | None = None

    @property
    def part(self) -> slice:
        """Which images."""
        return slice(self.start, self.stop)

    @property
    def others(self) -> slice | None:
        """Which images it learns from."""
        return None if self.learns_from is None else slice(*self.learns_from)


@dataclass(frozen=True)
class AttackTask:
    """Images to attack: squares uint8 (n, S, S, 3), labels int64 (n,); others uint8 (m, S, S, 3)."""

    what: AttackPart
    squares: NDArray[np.uint8]
    labels: NDArray[np.int64]
    engine: EngineOptions
    others: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class CellTask:
    """A cell to measure: the clean squares and, under an attack, the attacked ones."""

    cell: Cell
    squares: NDArray[np.uint8]
    attacked: NDArray[np.uint8] | None
    labels: NDArray[np.int64]
    engine: EngineOptions


class Campaign:
    """The images of a campaign, prepared, and how and where its tasks run."""

    def __init__(self, samples: list[Sample], store: Store, run: Run, engine: EngineOptions):
        self._samples, self._store, self._run, self._engine = samples, store, run, engine
        self._labels = np.array([sample.label for sample in samples], dtype=np.int64)
        self._squares: dict[Any, NDArray[np.uint8]] = {}

    def measure(self, cells: list[Cell]) -> dict[Cell, MeasuredCell]:
        """Every cell, from the store where it is there."""
        found = {cell: self._store.cell(cell) for cell in cells}
        missing = [cell for cell, measured in found.items() if measured is None]
        place = {given: number for number, given in enumerate(dict.fromkeys(cell.input for cell in missing))}
        missing.sort(key=lambda cell: place[cell.input])  # cells of the same frames come together
        self._try(dict.fromkeys(missing))
        self._attack([cell for cell in missing if cell.input.kind == "attack"])
        with tqdm(total=len(found), initial=len(found) - len(missing), desc="cells", unit="cell") as bar:
            for task, measured in self._run(measure_cell, self._cell_tasks(missing)):
                self._store.keep(task.cell, measured)
                found[task.cell] = measured
                bar.set_description(f"{task.cell.input.label}, {task.cell.sender.name}")
                bar.update()
        return {cell: measured for cell, measured in found.items() if measured is not None}

    def _try(self, cells: Iterable[Cell]) -> None:
        """Run a caller's own filters and corruptions once: they fail now, not after hours of attacks."""
        for cell in cells:
            given, before = cell.input, cell.sender.before
            if given.kind == "corruption" and given.name not in CORRUPTIONS:
                corruption_named(given.name)(self._prepared(cell.subject)[0], given.level, 0)
            if before is not None and before not in TRIVIAL:
                filter_named(before)(self._prepared(cell.subject)[0])

    def _attack(self, cells: list[Cell]) -> None:
        """Make the attacked frames of these cells that the store does not have."""
        wanted = dict.fromkeys(part for cell in cells for part in self._parts(cell))
        missing = [one for one in wanted if self._frames(one) is None]
        if not missing:
            return
        with tqdm(total=sum(one.stop - one.start for one in missing), desc="attacks", unit="image") as bar:
            for task, frames in self._run(attacked_frames, self._attack_tasks(missing)):
                what = task.what
                self._store.keep_frames(what.subject, what.attack, what.part, frames, what.others)
                bar.set_description(task.what.attack.label)
                bar.update(len(frames))

    def _parts(self, cell: Cell) -> list[AttackPart]:
        """The attack of a cell in batches; one that learns from others in two halves, each from the other."""
        count, attack = len(self._samples), cell.input
        made_on = attack.made_on or cell.subject
        if attack.name == LEARNS:
            halves = (0, count // 2), (count // 2, count)
            each = zip(halves, halves[::-1], strict=True)
            return [AttackPart(made_on, attack, *part, others) for part, others in each if part[0] < part[1]]
        starts = range(0, count, BATCH)
        return [AttackPart(made_on, attack, start, min(start + BATCH, count)) for start in starts]

    def _frames(self, what: AttackPart) -> NDArray[np.uint8] | None:
        return self._store.frames(what.subject, what.attack, what.part, what.others)

    def _attack_tasks(self, missing: list[AttackPart]) -> Iterator[AttackTask]:
        for one in missing:
            prepared = self._prepared(one.subject)
            others = None if one.others is None else prepared[one.others]
            yield AttackTask(one, prepared[one.part], self._labels[one.part], self._engine, others)

    def _cell_tasks(self, cells: list[Cell]) -> Iterator[CellTask]:
        for cell in cells:
            attacked = self._all_frames(cell) if cell.input.kind == "attack" else None
            yield CellTask(cell, self._prepared(cell.subject), attacked, self._labels, self._engine)

    def _all_frames(self, cell: Cell) -> NDArray[np.uint8]:
        parts = [self._frames(part) for part in self._parts(cell)]
        return np.concatenate([part for part in parts if part is not None])

    def _prepared(self, subject: Subject) -> NDArray[np.uint8]:
        """The squares that a bundle's head sees; bundles that prepare alike share them."""
        prepare = load(subject.where).manifest.preprocess
        if prepare not in self._squares:
            self._squares[prepare] = np.stack([prepare.square(sample.image()) for sample in self._samples])
        return self._squares[prepare]


def attacked_frames(task: AttackTask) -> NDArray[np.uint8]:
    """The frames of one task, attacked, uint8 (n, S, S, 3)."""
    import torch

    from bench.attacks import norm_of, threat_named
    from bench.attacks.budget import to_uint8

    torch.set_num_threads(task.engine.threads or torch.get_num_threads())
    what, attack = task.what, task.what.attack
    if not attack.setting:
        raise CampaignError(f"the attack {attack.name} has no setting")
    images = _as_images(task.squares)
    seed = SEED_STRIDE * attack.seed + what.start
    target = _target(what.subject.where, attack.knows, task.engine)
    if task.others is not None:
        target = replace(target, others=_as_images(task.others))
    attacked = threat_named(attack.name)(
        target, images, torch.tensor(task.labels), attack.level / 255,
        steps=attack.steps, seed=seed, setting=attack.setting, restarts=attack.restarts,
    )  # fmt: skip
    return to_uint8(attacked, task.squares, attack.level / 255, norm_of(attack.name))


def _as_images(squares: NDArray[np.uint8]) -> Any:
    """uint8 (n, S, S, 3) -> float32 tensor (n, 3, S, S) in [0, 1]."""
    import torch

    return torch.tensor(squares).permute(0, 3, 1, 2).float() / 255


def measure_cell(task: CellTask) -> MeasuredCell:
    """Every image of a cell through the real bitstream: encoded, sent as bytes, decoded, classified.

    An unsplit network classifies it as it is.
    """
    cell = task.cell
    if cell.sender.unsplit:
        return _unsplit_cell(task)
    head = _head(cell.subject.where, cell.sender, task.engine)
    tail = _tail(cell.subject.where, task.engine)
    before = filter_named(cell.sender.before) if cell.sender.before else None
    sizes, answers, rungs, changes = [], [], [], []
    for square, frame in zip(task.squares, _frames(task), strict=True):
        seen = before(frame) if before else frame
        sent = min((_sent(head, one) for one in ([frame, seen] if cell.sender.both else [seen])), key=_length)
        sizes.append(_length(sent))
        answers.append(int(tail.decode(sent[0]).argmax()))
        rungs.append(sent[1])
        changes.append(int(np.abs(frame.astype(np.int16) - square).max()))
    return MeasuredCell(np.array(sizes), np.array(answers) == task.labels, np.array(rungs), np.array(changes))


def _sent(head: Head, frame: NDArray[np.uint8]) -> tuple[bytes, str]:
    """One packet, and the rung where the guard's ladder ended."""
    head.forget()  # photographs: the guard's memory is for video
    data = head.encode(frame).to_bytes()
    assert head.report is not None
    return data, head.report.decision.rung


def _length(sent: tuple[bytes, str]) -> int:
    return len(sent[0])


def _unsplit_cell(task: CellTask) -> MeasuredCell:
    network, frames = _unsplit(task.cell.subject.where, task.engine), _frames(task)
    answers = np.array([int(network.logits(frame).argmax()) for frame in frames])
    changes = np.abs(frames.astype(np.int16) - task.squares).reshape(len(frames), -1).max(axis=1)
    nothing = np.zeros(len(frames), np.int64)
    return MeasuredCell(
        nothing, answers == task.labels, np.full(len(frames), "plain"), changes.astype(np.int64)
    )


def _frames(task: CellTask) -> NDArray[np.uint8]:
    """What reaches the camera, uint8 (n, S, S, 3)."""
    if task.cell.input.kind == "corruption":
        return _corrupted(task.squares.tobytes(), task.squares.shape, task.cell.input)
    return task.squares if task.attacked is None else task.attacked


@lru_cache(maxsize=1)
def _corrupted(squares: bytes, shape: tuple[int, ...], how: Input) -> NDArray[np.uint8]:
    """A corruption takes longer than sending its frames, and the next cells want the same."""
    pixels = np.frombuffer(squares, np.uint8).reshape(shape)
    corruption, seed = corruption_named(how.name), SEED_STRIDE * how.seed
    return np.stack([corruption(square, how.level, seed + n) for n, square in enumerate(pixels)])


@lru_cache(maxsize=4)
def _head(where: str, sender: Treatment, engine: EngineOptions) -> Head:
    return Head(load(where), engine, guard=sender.guard)


@lru_cache(maxsize=4)
def _tail(where: str, engine: EngineOptions) -> Tail:
    return Tail(load(where), engine)


@lru_cache(maxsize=4)
def _unsplit(where: str, engine: EngineOptions) -> Unquantised:
    return Unquantised(load(where), engine)


@lru_cache(maxsize=4)
def _target(where: str, knows: Defence | Guard | None, engine: EngineOptions) -> Any:
    from bench.attacks.differentiable.target import Target

    return Target.open(load(where), knows, engine)
