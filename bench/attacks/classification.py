"""PGD-C: the frame that the server takes for something else (arXiv 2403.00942), alone or at many bytes.

The attacker knows the bundle and the label, and takes its frames to be sent as they come: it knows no
defence. The loss is the margin of Carlini and Wagner (2017). Unlike cross-entropy it does not vanish where
the network is sure of itself. Quantisation passes the gradient straight through in both settings;
``released`` changes only the schedule.
"""

from __future__ import annotations

import torch

from bench.attacks.ascent import Objective, Setting
from bench.attacks.differentiable.target import Target
from bench.attacks.threat import Ascent

CONFIDENCE = 1.0
"""Cap of the margin in ``joint``, in logits: enough to survive the rounding to 8 bits."""

WEIGHT = 0.1
"""Of the margin in ``joint``: relative bits a logit."""


def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Best wrong logit less that of the label, (N,): above 0 the label is missed."""
    column = labels[:, None]
    wrong = logits.scatter(1, column, -torch.inf).amax(1)
    return wrong - logits.gather(1, column)[:, 0]


def missed_label(target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting) -> Objective:
    """Margin of the answer to the frame sent as it is."""
    undefended = target.undefended
    return lambda x: margin(undefended.logits(x), labels)


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


pgd_c = Ascent(missed_label)
"""A wrong answer; knows no defence."""

joint = Ascent(rate_and_margin)
"""Most bytes and a wrong answer; knows no defence."""
