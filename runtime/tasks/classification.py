"""Classification: logits -> the likeliest classes and their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError
from runtime.tasks.base import ROUNDING, Named, Output, Parameter, Tensor, given, label

TOP_K = 5


@dataclass(frozen=True)
class Classification:
    """One class a frame.

    names: number of classes.
    """

    names: int

    kind = "classification"
    plural = "classes"
    usual = ("logits", "top_classes", "top_probabilities")
    brief = ("top_classes", "top_probabilities")
    parameters: ClassVar[Mapping[str, Parameter]] = {"top_k": Parameter(TOP_K, 1, 1 << 20)}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Logits, and the likeliest classes with their probabilities, likeliest first."""
        return (
            Tensor("logits", "FP32", (self.names,)),
            Tensor("top_classes", "INT32", (-1,), 0, self.names - 1, least=1),
            Tensor("top_probabilities", "FP32", (-1,), 0, 1 + ROUNDING, least=1),
        )

    def answer(self, raw: NDArray[np.float32], wanted: Sequence[str] = (), **parameters: Any) -> Named:
        """raw: logits, float32 (classes,). ``top_k``: number of likeliest classes."""
        names = tuple(wanted) or self.usual
        found: Named = {"logits": raw.astype("<f4")}
        if names != ("logits",):
            classes = likeliest(raw, parameters.get("top_k", TOP_K))
            shares = np.exp(raw - raw.max())
            found["top_classes"] = classes.astype("<i4")
            found["top_probabilities"] = (shares[classes] / shares.sum()).astype("<f4")
        return {name: found[name] for name in names}

    def ranking(self, answer: Named) -> list[tuple[int, float]]:
        """Classes and probabilities."""
        return list(zip(answer["top_classes"].tolist(), answer["top_probabilities"].tolist(), strict=True))

    def records(self, answer: Named, labels: tuple[str, ...] | None) -> list[dict[str, Any]]:
        """``class``, ``label`` (None where unknown) and ``probability``."""
        return [
            {"class": index, "label": label(labels, index), "probability": share}
            for index, share in self.ranking(answer)
        ]

    def lines(self, answer: Named, labels: tuple[str, ...] | None) -> list[str]:
        """Probability in percent, class, label."""
        return [
            f"{100 * share:5.1f} %  {index:4d}  {label(labels, index) or ''}"
            for index, share in self.ranking(answer)
        ]


def likeliest(logits: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The likeliest ``count`` classes, or all, likeliest first; equal logits stay in order of their class."""
    behind = -logits
    chosen = np.arange(len(logits))
    if count < len(logits):
        chosen = np.flatnonzero(~(behind > np.partition(behind, count - 1)[count - 1]))
    return chosen[np.argsort(behind[chosen], kind="stable")][:count]


def open_task(numbers: Mapping[str, Any], outputs: tuple[Output, ...], size: int) -> Classification:
    """A classification of one output, ``logits`` (classes,). Raises BundleError for anything else."""
    given("classification", numbers, {})
    if len(outputs) != 1 or len(outputs[0].shape) != 1:
        raise BundleError("manifest: classification has one output, of one axis: its logits")
    return Classification(outputs[0].shape[0])
