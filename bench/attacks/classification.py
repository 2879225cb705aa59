"""PGD-C: the frame that the server takes for something else (arXiv 2403.00942).

The loss is the margin of Carlini and Wagner (2017), which unlike cross-entropy does not vanish where the
network is sure of itself. Quantisation passes the gradient straight through in both settings; ``released``
changes the schedule. It does not know of a defence; ``bench.attacks.adaptive`` does.
"""

from __future__ import annotations

import torch

from bench.attacks.ascent import Objective, Setting
from bench.attacks.differentiable.target import Target
from bench.attacks.threat import Ascent


def missed_label(target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting) -> Objective:
    """Margin of the answer to the frame sent as it is."""
    undefended = target.undefended
    return lambda x: margin(undefended.logits(x), labels)


def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Best wrong logit less that of the label, (N,): above 0 the label is missed."""
    column = labels[:, None]
    wrong = logits.scatter(1, column, -torch.inf).amax(1)
    return wrong - logits.gather(1, column)[:, 0]


pgd_c = Ascent(missed_label)


CONFIDENCE = 1.0
"""Logits: enough to survive the rounding to 8 bits."""

WEIGHT = 0.1
"""Relative bits a logit."""


def rate_and_margin(
    target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting
) -> Objective:
    """Relative bits and capped margin of the frame sent as it is."""
    undefended = target.undefended
    with torch.no_grad():
        clean = undefended.bits(images, setting)

    def objective(x: torch.Tensor) -> torch.Tensor:
        bits, logits = undefended.bits_and_logits(x, setting)
        return bits / clean + WEIGHT * margin(logits, labels).clamp(max=CONFIDENCE)

    return objective


joint = Ascent(rate_and_margin)
