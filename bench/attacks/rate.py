"""PGD-E: the frame that costs most bytes (arXiv 2403.00942), in l_inf and in l_2.

The attacker knows the bundle, and takes its frames to be sent as they come: it knows no defence.
"""

from __future__ import annotations

import torch

from bench.attacks.ascent import Objective, Setting
from bench.attacks.differentiable.target import Target
from bench.attacks.threat import Ascent, l2


def most_bits(target: Target, images: torch.Tensor, labels: torch.Tensor, setting: Setting) -> Objective:
    """Bits of the frame sent as it is."""
    undefended = target.undefended
    return lambda x: undefended.bits(x, setting)


pgd_e = Ascent(most_bits)
"""Most bytes; knows no defence."""

pgd_e_l2 = Ascent(most_bits, l2)
"""Most bytes; knows no defence; eps bounds the root mean square."""
