"""Attacks on the whole guarded sender: its decision, all of its answers, and the budget that it keeps.

The attacker has the sender itself (``differentiable.sender``). It may fill the budget, force coarse steps on
a frame so that the answer is lost, or go for the answer through all that the sender does to a frame. The
bytes that it counts are those of real packets.
"""

from __future__ import annotations

import torch

from bench.attacks.ascent import Objective, Setting
from bench.attacks.classification import margin, pgd_c
from bench.attacks.differentiable.sender import DifferentiableSender
from bench.attacks.differentiable.straight_through import straight_through
from bench.attacks.differentiable.target import Target
from bench.attacks.threat import Ascent


def most_bytes(target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting) -> Objective:
    """Bits of the packets."""
    sender = DifferentiableSender(target)
    return lambda x: sender(x).bits


def most_lost(target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting) -> Objective:
    """What the sender gives up of y; on the way there bits before anything is given up."""
    sender = DifferentiableSender(target)

    def objective(x: torch.Tensor) -> torch.Tensor:
        sent = sender(x)
        return straight_through(sent.lost, sent.before)

    return objective


def missed_label_sent(
    target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting
) -> Objective:
    """Margin of the server's answer to the packet."""
    sender = DifferentiableSender(target)
    return lambda x: margin(sender.logits(sender(x)), labels)


knowing_fill = Ascent(most_bytes)
"""Most bytes of the packet; knows the whole guard, budget included."""

knowing_coarse = Ascent(most_lost)
"""Most bits before the guard takes them away, so that the answer is lost; knows the whole guard."""

knowing_c = Ascent(missed_label_sent, weaker=pgd_c)
"""A wrong answer to what is sent; knows the whole guard, budget included. At least as strong as ``pgd_c``."""
