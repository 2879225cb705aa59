"""The rows of a campaign: each cell over all its seeds, beside clean frames that are sent as they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.common.bootstrap import interval, ratio_interval
from bench.resilience.cell import Cell, Input, MeasuredCell, Subject, Treatment

LEFT_AS_SEEN = ("plain", "adapted")
"""Rungs of the guard without denoising."""


@dataclass(frozen=True)
class Row:
    """One row of the report; its fields are the keys of the JSON.

    bundle, prior: of the subject. sender: name of the treatment.
    input, kind, name, level, setting, steps, restarts: of the input; ``input`` is its label.
    made_on: the bundle that the frames were made on, where it is another; else empty.
    bytes_mean, bytes_p99, bytes_max: of a packet.
    bytes_ratio: all bytes over those of the clean, undefended frames.
    top1: share of the images classified right. top1_drop: points below the clean, undefended frames.
    defended_share: share of the frames that the guard denoised.
    linf: largest change of a value of the input, of 255.
    *_ci: 95 % interval over images.
    """

    bundle: str
    prior: str
    input: str
    kind: str
    name: str
    level: int
    setting: str
    steps: int
    restarts: int
    sender: str
    images: int
    seeds: int
    made_on: str
    bytes_mean: float
    bytes_p99: float
    bytes_max: int
    bytes_ratio: float
    bytes_ratio_ci: tuple[float, float]
    top1: float
    top1_ci: tuple[float, float]
    top1_drop: float
    top1_drop_ci: tuple[float, float]
    defended_share: float
    linf: int


@dataclass(frozen=True)
class Means:
    """Means over the seeds for each image, float64 (n,)."""

    bytes: NDArray[np.float64]
    correct: NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """The effect of one input on one sender: a mean over the seeds for each image, float64 (n,).

    largest: bytes of the largest packet, over the seeds too.
    clean_bytes, clean_correct: of the same images, clean and undefended, in the same bundle.
    """

    cell: Cell
    seeds: int
    bytes: NDArray[np.float64]
    correct: NDArray[np.float64]
    defended: NDArray[np.float64]
    largest: int
    linf: int
    clean_bytes: NDArray[np.float64]
    clean_correct: NDArray[np.float64]

    @property
    def ratio(self) -> float:
        """All bytes over those of the clean, undefended frames."""
        return float(self.bytes.sum() / self.clean_bytes.sum())

    @cached_property
    def ratio_ci(self) -> tuple[float, float]:
        """95 % interval of ``ratio`` over images."""
        return ratio_interval(self.bytes, self.clean_bytes)

    @property
    def top1(self) -> float:
        """Share of the images classified right."""
        return float(self.correct.mean())

    @property
    def drop(self) -> float:
        """Points of top-1 below the clean, undefended frames."""
        return 100 * float(self.clean_correct.mean() - self.correct.mean())

    @cached_property
    def drop_ci(self) -> tuple[float, float]:
        """95 % interval of ``drop`` over images, in pairs."""
        low, high = interval(self.clean_correct - self.correct)
        return 100 * low, 100 * high

    def as_row(self) -> Row:
        """The row of the report."""
        subject, given = self.cell.subject, self.cell.input
        return Row(
            bundle=subject.name, prior=subject.prior,
            input=given.label, kind=given.kind, name=given.name, level=given.level,
            setting=given.setting, steps=given.steps, restarts=given.restarts,
            sender=self.cell.sender.name, images=len(self.bytes), seeds=self.seeds,
            made_on=given.made_on.name if given.made_on else "",
            bytes_mean=float(self.bytes.mean()), bytes_p99=float(np.quantile(self.bytes, 0.99)),
            bytes_max=self.largest, bytes_ratio=self.ratio, bytes_ratio_ci=self.ratio_ci,
            top1=self.top1, top1_ci=interval(self.correct), top1_drop=self.drop, top1_drop_ci=self.drop_ci,
            defended_share=float(self.defended.mean()), linf=self.linf,
        )  # fmt: skip


class Outcomes:
    """All outcomes of a campaign, for look-ups by name."""

    def __init__(self, measured: dict[Cell, MeasuredCell]):
        grouped: dict[Cell, list[MeasuredCell]] = {}
        for cell, found in measured.items():
            grouped.setdefault(_without_seed(cell), []).append(found)
        clean = {cell.subject: _means(found) for cell, found in grouped.items() if _is_reference(cell)}
        self.all = [_outcome(cell, found, clean[cell.subject]) for cell, found in grouped.items()]
        self.subjects = list(clean)

    def find(
        self, subject: Subject, sender: str, name: str, level: int = 0, setting: str = ""
    ) -> Outcome | None:
        """The outcome of a bundle, a sender and an input by their names; None where it was not measured."""
        wanted = (subject, sender, name, level, setting)
        for outcome in self.all:
            cell, given = outcome.cell, outcome.cell.input
            if (cell.subject, cell.sender.name, given.name, given.level, given.setting) == wanted:
                return outcome
        return None

    def of(self, subject: Subject, kind: str) -> list[Outcome]:
        """The outcomes of one bundle under one kind of input."""
        return [o for o in self.all if o.cell.subject == subject and o.cell.input.kind == kind]


def _without_seed(cell: Cell) -> Cell:
    return replace(cell, input=replace(cell.input, seed=0))


def _is_reference(cell: Cell) -> bool:
    return cell.input == Input() and cell.sender == Treatment()


def _means(found: list[MeasuredCell]) -> Means:
    return Means(
        np.mean([one.bytes for one in found], axis=0, dtype=np.float64),
        np.mean([one.correct for one in found], axis=0, dtype=np.float64),
    )


def _outcome(cell: Cell, found: list[MeasuredCell], clean: Means) -> Outcome:
    means = _means(found)
    defended = np.mean([~np.isin(one.rung, LEFT_AS_SEEN) for one in found], axis=0, dtype=np.float64)
    linf = max(int(one.linf.max()) for one in found)
    largest = max(int(one.bytes.max()) for one in found)
    return Outcome(
        cell, len(found), means.bytes, means.correct, defended, largest, linf, clean.bytes, clean.correct
    )
