"""The worst of all threats for each photograph: bytes and answers apart, beside the unsplit network.

The attacker tries every threat on each photograph and keeps the one that hurts most. Bytes are those of the
dearest packet. An answer counts where no threat takes it away. Threats that aim at the bits, before or after
the fit to a budget, are *rate* threats. Those that aim at the class are kept apart from them: a network that
is not split loses those answers as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.common.bootstrap import interval, ratio_interval
from bench.resilience.cell import Subject
from bench.resilience.outcomes import Outcomes

RATE_THREATS = (
    "pgd_e", "stealth", "ordinary", "through_adapted", "adaptive", "adaptive_guard", "knowing_fill",
    "knowing_coarse",
)  # fmt: skip
CLASS_THREATS = ("pgd_c", "joint", "adaptive_c", "knowing_c")


def worst_keys(outcomes: Outcomes, subject: Subject, guarded: str, unsplit: str) -> dict[str, Any]:
    """The keys of one bundle at each eps; empty where the ``unsplit`` sender was not measured.

    worst_bytes_ratio: mean of each photograph's dearest packet, over the mean of clean, undefended ones.
    worst_bytes_p99, worst_bytes_max: of these packets. worst_top1, unsplit_top1: shares. worst_over_unsplit:
    points between them, in pairs. Those with ``class`` are of the threats that aim at the class.
    """
    keys: dict[str, Any] = {}
    attacks = outcomes.of(subject, "attack")
    for eps in sorted({one.cell.input.level for one in attacks}):
        for aim, threats in (("", RATE_THREATS), ("class_", CLASS_THREATS)):
            found = [
                one for one in attacks
                if one.cell.input.level == eps and one.cell.input.name in threats
                and one.cell.input.setting == "unmasked" and one.cell.input.made_on is None
            ]  # fmt: skip
            behind = [one for one in found if one.cell.sender.name == guarded]
            whole = [one for one in found if one.cell.sender.name == unsplit]
            if not behind or {o.cell.input for o in behind} != {o.cell.input for o in whole}:
                continue
            sizes = np.max([one.bytes for one in behind], axis=0)
            clean = behind[0].clean_bytes
            right = np.min([one.correct for one in behind], axis=0)
            alone = np.min([one.correct for one in whole], axis=0)
            low, high = interval(right - alone)
            keys |= {
                f"worst_{aim}top1_{eps}": float(right.mean()),
                f"worst_{aim}top1_{eps}_ci": list(interval(right)),
                f"unsplit_{aim}top1_{eps}": float(alone.mean()),
                f"unsplit_{aim}top1_{eps}_ci": list(interval(alone)),
                f"worst_{aim}over_unsplit_{eps}": 100 * float((right - alone).mean()),
                f"worst_{aim}over_unsplit_{eps}_ci": [100 * low, 100 * high],
                f"worst_{aim}bytes_ratio_{eps}": float(sizes.sum() / clean.sum()),
                f"worst_{aim}bytes_ratio_{eps}_ci": list(ratio_interval(sizes, clean)),
                f"worst_{aim}bytes_p99_{eps}": float(np.quantile(sizes, 0.99)),
                f"worst_{aim}bytes_max_{eps}": max(one.largest for one in behind),
            }
    return keys
