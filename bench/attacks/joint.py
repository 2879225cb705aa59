"""Both at once: a frame that costs more bytes and is taken for something else.

The two losses are in different units: bits count relative to the clean frame's, the margin in logits and only
until the label is missed by ``CONFIDENCE``, after which all of the budget goes to the rate.
"""

from __future__ import annotations

import torch

from bench.attacks.accuracy import margin
from bench.attacks.pgd import Objective
from bench.attacks.settings import Setting
from bench.attacks.target import Target
from bench.attacks.threat import Ascent

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
