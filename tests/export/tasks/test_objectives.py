"""The objectives against mathematics: their draws have the metric of their divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.errors import ExtensionError
from export.tasks import Objective, open_objective
from runtime.tasks import Output, Task, open_task

CLASSES, BINS, SIZE = 3, 4, 16
DETECTION = open_task(
    {"kind": "detection", "bins": BINS, "strides": [8]}, (Output("p", (4, CLASSES + 4 * BINS)),), SIZE
)
CLASSIFICATION = open_task({"kind": "classification"}, (Output("logits", (6,)),), SIZE)


def outputs_of(task: Task, frames: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if task is CLASSIFICATION:
        return 2 * torch.randn(frames, 6, generator=generator)
    scores = torch.rand(frames, 4, CLASSES, generator=generator) * 0.8 + 0.1
    return torch.cat([scores, torch.randn(frames, 4, 4 * BINS, generator=generator)], 2)


def moved(task: Task, logits: torch.Tensor) -> torch.Tensor:
    """Outputs from numbers without bounds: scores are sigmoids."""
    if task is CLASSIFICATION:
        return logits
    return torch.cat([logits[..., :CLASSES].sigmoid(), logits[..., CLASSES:]], 2)


def unbounded(task: Task, outputs: torch.Tensor) -> torch.Tensor:
    if task is CLASSIFICATION:
        return outputs
    return torch.cat([outputs[..., :CLASSES].logit(), outputs[..., CLASSES:]], 2)


@pytest.mark.parametrize("task", [CLASSIFICATION, DETECTION], ids=["classification", "detection"])
def test_the_draws_have_the_metric_of_the_divergence(task: Task) -> None:
    """Half the second moment of a draw's gradient along a small step is the divergence of that step."""
    objective, generator = open_objective(task), torch.Generator().manual_seed(1)
    outputs = outputs_of(task, 1, 2)
    logits = unbounded(task, outputs)
    step = 1e-2 * torch.randn(logits.shape, generator=generator)
    moments = []
    for _ in range(1500):
        leaf = logits.clone().requires_grad_()
        for draw in objective.draws(moved(task, leaf), generator):
            (gradient,) = torch.autograd.grad(draw, leaf, retain_graph=True)
            moments.append(float((gradient * step).sum()) ** 2)
    exact = float(objective.divergence(moved(task, logits + step), outputs).double())
    assert np.mean(moments) / 2 == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize("task", [CLASSIFICATION, DETECTION], ids=["classification", "detection"])
def test_an_answer_agrees_with_itself_and_diverges_from_others(task: Task) -> None:
    objective = open_objective(task)
    outputs, others = outputs_of(task, 8, 3), outputs_of(task, 8, 4)
    assert objective.agreement(outputs, outputs) == 1
    assert objective.agreement(others, outputs) < 1
    assert float(objective.divergence(outputs, outputs)) == pytest.approx(0, abs=1e-5)
    assert float(objective.divergence(others, outputs)) > 0.1
    assert sorted(objective.ladder.values()) == list(objective.ladder.values())


@pytest.mark.parametrize("task", [CLASSIFICATION, DETECTION], ids=["classification", "detection"])
def test_one_answer_for_all_is_better_than_any_of_them(task: Task) -> None:
    objective: Objective = open_objective(task)
    outputs = outputs_of(task, 12, 5)
    best = objective.divergence(objective.one_for_all(outputs).expand_as(outputs), outputs)
    assert all(objective.divergence(one[None].expand_as(outputs), outputs) > best for one in outputs)


def test_divergence_stays_finite_where_scores_are_0_or_1() -> None:
    objective = open_objective(DETECTION)
    given = outputs_of(DETECTION, 2, 6)
    given[..., :CLASSES] = torch.tensor([0.0, 1.0, 0.5])
    given.requires_grad_()
    divergence = objective.divergence(given, outputs_of(DETECTION, 2, 7))
    divergence.backward()
    assert torch.isfinite(divergence) and given.grad is not None and torch.isfinite(given.grad).all()


def test_a_task_without_an_objective_is_named() -> None:
    class Foreign:
        kind = "poetry"

    with pytest.raises(ExtensionError, match=r"poetry.*ratehold\.objectives"):
        open_objective(Foreign())  # type: ignore[arg-type]
