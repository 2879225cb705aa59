"""Attacks: this listing is the threat model. It imports torch only when a threat is asked for.

    target = Target.open(bundle)                                     # bench.attacks.differentiable.target
    attacked = threat_named("pgd_e")(target, images, labels, 4 / 255)
    frames = to_uint8(attacked, originals, 4 / 255, norm_of("pgd_e"))       # bench.attacks.budget

    what the attacker knows                   file                threats
    nothing: no model, no answer              noise               noise
    the length of each packet                 black_box           black_box
    the bundle, on other frames               universal           universal
    the bundle, not its defence               rate                pgd_e, pgd_e_l2
                                              classification      pgd_c, joint
                                              low_frequency       low_frequency
                                              regional            background, object
    the bundle and its defence                knowing/adaptive    adaptive, adaptive_c
    the bundle, its defence and its alarms    knowing/on_guard    adaptive_guard, stealth, ordinary,
                                                                  through_adapted, provoke
    everything, the budget included           knowing/on_budget   knowing_fill, knowing_coarse, knowing_c

Each threat stays inside its eps ball and in [0, 1]. The loop is ours (``ascent.ascend``): those of
torchattacks and foolbox maximise a loss of logits and labels and take no rate loss (torchattacks #86, foolbox
#154), and neither judges its iterates as the 8 bits in which they will arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.common.errors import CampaignError
from export.references import installed, is_reference, resolve

if TYPE_CHECKING:
    from bench.attacks.budget import Norm
    from bench.attacks.threat import Threat

THREATS = {
    "pgd_e": "bench.attacks.rate:pgd_e",
    "pgd_e_l2": "bench.attacks.rate:pgd_e_l2",
    "pgd_c": "bench.attacks.classification:pgd_c",
    "joint": "bench.attacks.classification:joint",
    "noise": "bench.attacks.noise:noise",
    "low_frequency": "bench.attacks.low_frequency:low_frequency",
    "background": "bench.attacks.regional:background",
    "object": "bench.attacks.regional:object_",
    "adaptive": "bench.attacks.knowing.adaptive:adaptive",
    "adaptive_c": "bench.attacks.knowing.adaptive:adaptive_c",
    "adaptive_guard": "bench.attacks.knowing.on_guard:adaptive_guard",
    "stealth": "bench.attacks.knowing.on_guard:stealth",
    "ordinary": "bench.attacks.knowing.on_guard:ordinary",
    "through_adapted": "bench.attacks.knowing.on_guard:through_adapted_head",
    "provoke": "bench.attacks.knowing.on_guard:provoke",
    "knowing_fill": "bench.attacks.knowing.on_budget:knowing_fill",
    "knowing_coarse": "bench.attacks.knowing.on_budget:knowing_coarse",
    "knowing_c": "bench.attacks.knowing.on_budget:knowing_c",
    "black_box": "bench.attacks.black_box:queried",
    "universal": "bench.attacks.universal:for_all",
}
"""Where each threat is, by the name that ``bench.resilience --threat`` takes."""

QUERIES = "black_box"
"""The threat whose steps are queries of the sender."""

LEARNS = "universal"
"""The threat that learns from other frames than it attacks."""

GROUP = "ratehold.threats"
"""Entry points of this group add threats by name."""


def known() -> dict[str, str]:
    """All threats by name -> ``module:name``: ours, then those of installed packages. Ours win a name."""
    return {**THREATS, **{name: where for name, where in installed(GROUP).items() if name not in THREATS}}


def located(name: str) -> str:
    """``module:name`` of a threat, which is what the name is already where it is a caller's own.

    Raises CampaignError for a name that is neither.
    """
    if is_reference(name):
        return name
    try:
        return known()[name]
    except KeyError:
        raise CampaignError(f"no threat {name!r}: there are {', '.join(known())}, and module:name") from None


def threat_named(name: str) -> Threat:
    """A threat by its name or as ``module:name``; one that is not ours is checked each time it is called.

    Raises CampaignError for an unknown name, ExtensionError for a reference to nothing that can be a threat.
    """
    threat: Threat = resolve(located(name))
    if name in THREATS:
        return threat
    from bench.attacks.threat import CheckedThreat

    return CheckedThreat(name, threat, norm_of(name))


def norm_of(threat: str) -> Norm:
    """The norm of a threat's eps ball: l_2 where its name ends in ``_l2``, l_inf elsewhere."""
    return "l2" if threat.endswith("_l2") else "linf"


def knows_defence(threat: str) -> bool:
    """Whether a threat is told the defence: its name, after any ``module:``, begins with ``adaptive``."""
    return threat.rpartition(":")[2].startswith("adaptive")


def knows_guard(threat: str) -> bool:
    """Whether a threat is given the whole sender: its name begins with ``knowing``, or it queries one."""
    return threat == QUERIES or threat.rpartition(":")[2].startswith("knowing")
