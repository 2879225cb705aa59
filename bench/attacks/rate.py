"""PGD-E: the frame that costs most bytes (arXiv 2403.00942), in l_inf and in l_2.

It does not know of a defence; ``bench.attacks.adaptive`` does.
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
pgd_e_l2 = Ascent(most_bits, l2)
