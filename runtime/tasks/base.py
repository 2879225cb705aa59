"""What every task has: tensors and parameters by name, an answer, and its words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError

Named = dict[str, NDArray[Any]]
"""An answer: little-endian arrays by name."""


@dataclass(frozen=True)
class Output:
    """What the tail returns for one frame: name, and shape without the batch."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Tensor:
    """A tensor that a client may ask for.

    datatype: of the Open Inference Protocol: FP32, INT32, UINT8 ...
    shape: -1 where the size depends on the frame or on the request: of the first axis only.
    low, high: bounds of the values. least: of the first axis, where its size is free.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    low: float = -math.inf
    high: float = math.inf
    least: int = 0


ROUNDING = 1e-3
"""A share may exceed 1 by so much."""


@dataclass(frozen=True)
class Parameter:
    """A number that a manifest or a request may give, within bounds; whole where its default is.

    3.0 is a whole number: JSON has one kind of numbers.
    """

    default: int | float
    low: float
    high: float

    def take(self, name: str, value: Any) -> int | float:
        """The value. Raises ValueError for another type, or one beyond the bounds."""
        whole = isinstance(self.default, int)
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
        right = right and self.low <= value <= self.high and not (whole and value % 1)
        if not right:
            kind = "whole number" if whole else "number"
            shown = ascii(value)[:60]
            raise ValueError(f"{name} must be a {kind} from {self.low:g} to {self.high:g}, not {shown}")
        return int(value) if whole else float(value)


class Task(Protocol):
    """One bundle's task. Thread-safe: an answer changes nothing."""

    @property
    def kind(self) -> str:
        """Name of the task, as the manifest has it."""

    @property
    def plural(self) -> str:
        """What an answer lists, in a word: ``classes``, ``boxes``."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What a client may ask for, in order."""

    @property
    def usual(self) -> tuple[str, ...]:
        """Names of what a client gets that asks for nothing."""

    @property
    def brief(self) -> tuple[str, ...]:
        """Names of what a device asks for: the answer without the raw output."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Numbers that a request may give, by name."""

    @property
    def names(self) -> int:
        """Number of lines of the bundle's labels."""

    def answer(self, raw: NDArray[np.float32], wanted: Sequence[str] = (), **parameters: Any) -> Named:
        """The wanted tensors of one frame, in that order; ``usual`` where none is named.

        raw: the tail's output without the batch, of any values: a packet may be hostile.
        parameters: numbers of ``parameters`` by name, checked; the others have their defaults.
        """

    def ranking(self, answer: Named) -> list[tuple[int, float]]:
        """Index of a label and a share in [0, 1] of each thing found, best first; for pages and logs."""

    def records(self, answer: Named, labels: tuple[str, ...] | None) -> list[dict[str, Any]]:
        """What was found, for JSON, best first."""

    def lines(self, answer: Named, labels: tuple[str, ...] | None) -> list[str]:
        """What was found, a line each, for people."""


class TaskModule(Protocol):
    """A module that opens tasks of one kind."""

    def open_task(self, numbers: Mapping[str, Any], outputs: tuple[Output, ...], size: int) -> Task:
        """The task with these numbers of the manifest. Raises BundleError where they make no sense."""


def given(kind: str, numbers: Mapping[str, Any], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The numbers of a manifest, each checked, the missing ones by default. Raises BundleError."""
    if strange := sorted(set(numbers) - set(known)):
        raise BundleError(f"manifest: task {kind} has no {ascii(strange[0])[:60]}")
    try:
        return {name: p.take(name, numbers.get(name, p.default)) for name, p in known.items()}
    except ValueError as error:
        raise BundleError(f"manifest: task {kind}: {error}") from error


def label(labels: tuple[str, ...] | None, index: int) -> str | None:
    """The name of a class; None where it is not known."""
    return labels[index] if labels and 0 <= index < len(labels) else None
