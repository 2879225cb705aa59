"""The report's summary: the figures that ratehold's own bars are about, and the bars.

Ratios are of bytes to those of clean, undefended frames. Drops are points of top-1 below those frames. An
increase is in percent. Each key is computed for each bundle, with a 95 % interval over images unless it is a
choice among cells. At the top of the summary stands the worst of the bundles. ``certified_overhead``: by this
share the largest packet that the budget allows is larger than the mean clean, undefended one.
``corruption_top1_over`` has each corruption that costs more answers than ``MOST_LOST``: points lost, and the
interval over images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.common.bootstrap import interval
from bench.resilience.catalogue.trivial_defences import TRIVIAL, TWO_WAY
from bench.resilience.cell import UNDEFENDED, Subject
from bench.resilience.outcomes import Outcome, Outcomes
from bench.resilience.review.worst import worst_keys

GUARDED = "auto"
"""The sender that the bars are about: the guard with its default defence."""
UNSPLIT = "unsplit"
"""The sender that sends nothing: one machine runs the whole network."""
RATE, ADAPTIVE, ADAPTIVE_GUARD = "pgd_e", "adaptive", "adaptive_guard"
SUFFIXES = {RATE: "", ADAPTIVE: "_adaptive", ADAPTIVE_GUARD: "_adaptive_guard"}
EQUAL_TOP1 = 0.005
"""A baseline whose top-1 is lower by no more counts as equally accurate."""
MOST_LOST = 1.0
"""Points of top-1 that a corruption may cost behind the guard, below the same frames undefended."""

Keys = dict[str, Any]


@dataclass(frozen=True)
class ResilienceBar:
    """A limit of one key of the summary."""

    key: str
    text: str
    cleared: Callable[[Any], bool]


BARS = (
    ResilienceBar("pgde_increase_4", ">= +65 %", lambda value: value >= 65),
    ResilienceBar("guard_clean_bytes_ratio", "<= 1.003", lambda value: value <= 1.003),
    ResilienceBar("clean_top1_drop", "<= 0.5 points", lambda value: value <= 0.5),
    ResilienceBar("certified_overhead", "<= 0.1", lambda value: value <= 0.1),
    ResilienceBar("defended_bytes_ratio_4", "<= 0.91", lambda value: value <= 0.91),
    ResilienceBar("defended_top1_drop_4", "<= 10 points", lambda value: value <= 10),
    ResilienceBar("defended_top1_drop_2", "<= 5 points", lambda value: value <= 5),
    *(ResilienceBar(f"beats_baselines_{eps}", "true", bool) for eps in (2, 4, 8)),
    ResilienceBar("corruption_bytes_worst", "<= 1.05", lambda value: value <= 1.05),
    ResilienceBar("corruption_top1_worst_drop", "<= 1 point", lambda value: value <= MOST_LOST),
)


def summarise(outcomes: Outcomes) -> Keys:
    """The keys of every bundle under ``bundles``, and the worst of each key over the bundles."""
    bundles = {subject.name: _keys(outcomes, subject) for subject in outcomes.subjects}
    values: dict[str, list[Any]] = {}
    for keys in bundles.values():
        for key, value in keys.items():
            if isinstance(value, bool | int | float):
                values.setdefault(key, []).append(value)
    summary = {key: _worst(key, found) for key, found in values.items()}
    return {"images": len(outcomes.all[0].bytes), **summary, "bundles": bundles}


def _worst(key: str, values: list[Any]) -> Any:
    if key.startswith(("beats", "pgde_increase", "unsplit")) or ("top1_" in key and key.startswith("worst")):
        return min(values)
    if key.startswith("worst") and "over_unsplit" in key:
        return min(values)
    return max(values)


def _keys(outcomes: Outcomes, subject: Subject) -> Keys:
    keys: Keys = {}
    for outcome in outcomes.of(subject, "clean"):
        if outcome.cell.sender.name == GUARDED:
            keys |= _ratio("guard_clean_bytes_ratio", outcome) | _drop("clean_top1_drop", outcome)
            keys |= _certified(outcome)
    for outcome in outcomes.of(subject, "attack"):
        keys |= _under_attack(outcome)
    for eps in sorted({o.cell.input.level for o in outcomes.of(subject, "attack")}):
        keys |= _against_baselines(outcomes, subject, eps)
    return keys | worst_keys(outcomes, subject, GUARDED, UNSPLIT) | _corruptions(outcomes, subject)


def _certified(outcome: Outcome) -> Keys:
    budget = outcome.cell.budget
    return {} if budget is None else {"certified_overhead": budget / float(outcome.clean_bytes.mean()) - 1}


def _under_attack(outcome: Outcome) -> Keys:
    given, sender = outcome.cell.input, outcome.cell.sender.name
    eps = given.level
    if given.name == RATE and sender == UNDEFENDED:
        suffix = "_released" if given.setting == "released" else ""
        low, high = outcome.ratio_ci
        return {
            f"pgde_increase_{eps}{suffix}": 100 * (outcome.ratio - 1),
            f"pgde_increase_{eps}{suffix}_ci": [100 * (low - 1), 100 * (high - 1)],
        }
    if sender == GUARDED and given.setting == "unmasked" and given.name in SUFFIXES:
        suffix = SUFFIXES[given.name]
        keys = _ratio(f"defended_bytes_ratio_{eps}{suffix}", outcome)
        return keys | _drop(f"defended_top1_drop_{eps}{suffix}", outcome)
    return {}


def _against_baselines(outcomes: Outcomes, subject: Subject, eps: int) -> Keys:
    """Whether ours takes fewer bytes than every filter of equal accuracy, and than no filter."""
    ours = outcomes.find(subject, GUARDED, RATE, eps, "unmasked")
    found = [outcomes.find(subject, name, RATE, eps, "unmasked") for name in (UNDEFENDED, *TRIVIAL, TWO_WAY)]
    peers = [outcome for outcome in found if outcome is not None and outcome.cell.sender.before]
    if ours is None or not peers:
        return {}
    rivals = [peer for peer in found if peer is not None and peer.top1 >= ours.top1 - EQUAL_TOP1]
    best = min(rivals, key=lambda peer: peer.ratio, default=None)
    most_accurate = max(peers, key=lambda peer: (peer.top1, -peer.ratio))
    return {
        f"beats_baselines_{eps}": best is None or ours.ratio < best.ratio,
        f"beats_baselines_{eps}_detail": {
            "ours": _point(ours),
            "best_at_our_top1": None if best is None else _point(best),
            "most_accurate_baseline": _point(most_accurate),
        },
    }


def _corruptions(outcomes: Outcomes, subject: Subject) -> Keys:
    pairs = [
        (outcome, outcomes.find(subject, UNDEFENDED, outcome.cell.input.name, outcome.cell.input.level))
        for outcome in outcomes.of(subject, "corruption")
        if outcome.cell.sender.name == GUARDED
    ]
    pairs_known = [(guarded, plain) for guarded, plain in pairs if plain is not None]
    if not pairs_known:
        return {}
    largest = max((guarded for guarded, _ in pairs_known), key=lambda guarded: guarded.ratio)
    lost = {guarded.cell.input.label: plain.correct - guarded.correct for guarded, plain in pairs_known}
    drops = {label: 100 * float(each.mean()) for label, each in lost.items()}
    hurt = max(drops, key=lambda label: drops[label])
    return {
        "corruption_bytes_worst": largest.ratio,
        "corruption_bytes_worst_at": largest.cell.input.label,
        "corruption_top1_mean_drop": sum(drops.values()) / len(drops),
        "corruption_top1_worst_drop": drops[hurt],
        "corruption_top1_worst_drop_at": hurt,
        "corruption_top1_over": {
            label: [drop, *(100 * end for end in interval(lost[label]))]
            for label, drop in drops.items()
            if drop > MOST_LOST
        },
    }


def _ratio(key: str, outcome: Outcome) -> Keys:
    return {key: outcome.ratio, f"{key}_ci": list(outcome.ratio_ci)}


def _drop(key: str, outcome: Outcome) -> Keys:
    return {key: outcome.drop, f"{key}_ci": list(outcome.drop_ci)}


def _point(outcome: Outcome) -> Keys:
    return {"sender": outcome.cell.sender.name, "bytes_ratio": outcome.ratio, "top1": outcome.top1}
