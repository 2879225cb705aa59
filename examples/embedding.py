"""A task of your own, the runtime's half: an embedding. The output of the tail -> a vector of length 1.

A package offers it in its pyproject.toml, with the half that ``export`` needs (``embedding_objective.py``):

    [project.entry-points."ratehold.tasks"]
    embedding = "my_package.embedding"

    [project.entry-points."ratehold.objectives"]
    embedding = "my_package.embedding_objective"

Every machine that serves or decodes such bundles has the package installed. NumPy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError
from runtime.tasks import Named, Output, Parameter, Tensor, given


@dataclass(frozen=True)
class Embedding:
    """One vector a frame; frames that look alike have a large scalar product.

    size: of the vector.
    """

    size: int

    kind = "embedding"
    plural = "vectors"
    names = 0  # an embedding names nothing
    usual = ("vector",)
    brief = usual
    parameters: ClassVar[Mapping[str, Parameter]] = {}

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The vector."""
        return (Tensor("vector", "FP32", (self.size,)),)

    def answer(self, raw: NDArray[np.float32], wanted: Sequence[str] = (), **parameters: Any) -> Named:
        """raw: float32 (size,), of any values: a packet may be hostile, and its vector may be 0."""
        finite = np.nan_to_num(raw.astype(np.float64))
        length = float(np.linalg.norm(finite))
        return {"vector": (finite / (length or 1.0)).astype("<f4")}

    def ranking(self, answer: Named) -> list[tuple[int, float]]:
        """Nothing to rank."""
        return []

    def records(self, answer: Named, labels: tuple[str, ...] | None) -> list[dict[str, Any]]:
        """The vector."""
        return [{"vector": answer["vector"].tolist()}]

    def lines(self, answer: Named, labels: tuple[str, ...] | None) -> list[str]:
        """Its first numbers."""
        more = " ..." if self.size > 8 else ""
        return [" ".join(f"{value:7.4f}" for value in answer["vector"][:8].tolist()) + more]


def open_task(numbers: Mapping[str, Any], outputs: tuple[Output, ...], size: int) -> Embedding:
    """An embedding of one output (size,). Raises BundleError for anything else."""
    given("embedding", numbers, {})
    if len(outputs) != 1 or len(outputs[0].shape) != 1:
        raise BundleError("manifest: embedding has one output, of one axis")
    return Embedding(outputs[0].shape[0])
