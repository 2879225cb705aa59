"""Attacks, one file a threat. Each stays inside its budget and in [0, 1].

    attacked = THREATS["pgd_e"](Target.open(bundle), images, labels, 4 / 255)
    frames = to_uint8(attacked, originals, 4 / 255, norm_of("pgd_e"))

The loop is ours (``pgd.ascend``): those of torchattacks and foolbox maximise a loss of logits and labels and
take no rate loss (torchattacks #86, foolbox #154), and neither judges its iterates as the 8 bits in which
they will arrive. ``universal`` and ``black_box`` have signatures of their own.
"""

from bench.attacks.adaptive import adaptive, adaptive_c
from bench.attacks.budget import Norm, to_uint8
from bench.attacks.classification import joint, pgd_c
from bench.attacks.differentiable.target import Target
from bench.attacks.low_frequency import low_frequency
from bench.attacks.noise import noise
from bench.attacks.on_guard import adaptive_guard, provoke, stealth
from bench.attacks.rate import pgd_e, pgd_e_l2
from bench.attacks.regional import background, object_
from bench.attacks.threat import Threat

THREATS: dict[str, Threat] = {
    "pgd_e": pgd_e,
    "pgd_e_l2": pgd_e_l2,
    "pgd_c": pgd_c,
    "joint": joint,
    "noise": noise,
    "low_frequency": low_frequency,
    "background": background,
    "object": object_,
    "adaptive": adaptive,
    "adaptive_c": adaptive_c,
    "adaptive_guard": adaptive_guard,
    "stealth": stealth,
    "provoke": provoke,
}
"""By name, as ``bench.resilience`` calls them."""


def norm_of(threat: str) -> Norm:
    """The norm in which a threat keeps its budget, for ``to_uint8``: the name of one of l_2 says so."""
    return "l2" if threat.endswith("_l2") else "linf"


__all__ = ["THREATS", "Target", "Threat", "norm_of", "to_uint8"]
