"""The result of a campaign in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from bench.resilience.bars import ADAPTIVE, GUARDED, RATE
from bench.resilience.cell import UNDEFENDED, Subject
from bench.resilience.outcomes import Outcome, Outcomes

USUAL_EPS = 4
"""Of 255: the attack that the sentences are about, where it was measured."""

FEW = 50
"""Fewer images than these are said to be few."""


def headline(outcomes: Outcomes) -> str:
    """The result in a sentence or two: the worst of the bundles, undefended and behind the guard."""
    found = [(s, eps) for s in outcomes.subjects if (eps := _telling_eps(outcomes, s)) is not None]
    plain = [outcomes.find(subject, UNDEFENDED, RATE, eps, "unmasked") for subject, eps in found]
    guarded = [outcomes.find(subject, GUARDED, RATE, eps, "unmasked") for subject, eps in found]
    levels = " or ".join(f"{eps}/255" for eps in sorted({eps for _, eps in found}))
    said = []
    attacked = f"Un-masked PGD-E at eps {levels}: an undefended frame"
    for who, some in ((attacked, plain), ("Behind the guard it", guarded)):
        known = [outcome for outcome in some if outcome is not None]
        if known:
            ratio, drop = max(o.ratio for o in known), max(o.drop for o in known)
            most = "up to" if ratio >= 1 else "at least"
            lost = f"loses up to {drop:.1f} points of top-1"
            said.append(f"{who} takes {most} {_bytes(ratio)} than clean and {lost}.")
    return " ".join(said) or "No attack on the bytes was measured."


def sentences(outcomes: Outcomes, subject: Subject) -> Iterator[str]:
    """What a campaign found for one bundle, one sentence each: attack, guard, clean frames, corruptions.

    Intervals are 95 %, over images; bytes are relative to clean, undefended frames.
    """
    eps = _telling_eps(outcomes, subject)
    if eps is not None:
        yield from _about_attack(outcomes, subject, eps)
    clean = outcomes.find(subject, GUARDED, "clean")
    if clean is not None:
        yield f"Clean frames: behind the guard they take {_change(clean)} and lose {_lost(clean)}."
    corrupted = [o for o in outcomes.of(subject, "corruption") if o.cell.sender.name == GUARDED]
    if corrupted:
        worst = max(corrupted, key=lambda outcome: outcome.ratio)
        yield (
            f"Corruptions: behind the guard the dearest one, {worst.cell.input.label}, takes "
            f"{_change(worst)} than clean frames."
        )
    if eps is None and clean is None and not corrupted:
        yield "Neither the guard nor un-masked PGD-E was measured; every row is below."
    if len(outcomes.all[0].bytes) < FEW:
        yield f"Only {len(outcomes.all[0].bytes)} images: the intervals are wide."


def _telling_eps(outcomes: Outcomes, subject: Subject) -> int | None:
    """The eps of the result: ``USUAL_EPS``, else the nearest one; None without un-masked PGD-E."""
    levels = {
        outcome.cell.input.level
        for outcome in outcomes.of(subject, "attack")
        if (outcome.cell.input.name, outcome.cell.input.setting) == (RATE, "unmasked")
        and outcome.cell.sender.name in (UNDEFENDED, GUARDED)
    }
    return min(levels, key=lambda eps: (abs(eps - USUAL_EPS), eps), default=None)


def _about_attack(outcomes: Outcomes, subject: Subject, eps: int) -> Iterator[str]:
    plain = outcomes.find(subject, UNDEFENDED, RATE, eps, "unmasked")
    guarded = outcomes.find(subject, GUARDED, RATE, eps, "unmasked")
    adaptive = outcomes.find(subject, GUARDED, ADAPTIVE, eps, "unmasked")
    if plain is not None:
        yield (
            f"Un-masked PGD-E at eps {eps}/255: an undefended frame takes {_change(plain)} than clean "
            f"and loses {_lost(plain)}."
        )
    if guarded is not None:
        yield f"Behind the guard it takes {_change(guarded)} than clean and loses {_lost(guarded)}."
    if adaptive is not None:
        yield (
            f"Where the attacker knows the defence, the guarded frame takes {_change(adaptive)} than clean "
            f"and loses {_lost(adaptive)}."
        )


def _change(outcome: Outcome) -> str:
    """The change of bytes in words, with its interval."""
    low, high = (100 * (end - 1) for end in outcome.ratio_ci)
    return f"{_bytes(outcome.ratio)} ({low:+.1f} to {high:+.1f} %)"


def _bytes(ratio: float) -> str:
    return f"{100 * abs(ratio - 1):.1f} % {'more' if ratio >= 1 else 'fewer'} bytes"


def _lost(outcome: Outcome) -> str:
    low, high = outcome.drop_ci
    return f"{outcome.drop:.1f} points of top-1 ({low:.1f} to {high:.1f})"
