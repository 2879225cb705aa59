"""What an attack on the rate costs, undefended and behind the guard; what the guard costs clean frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.results.markdown import change, change_within, count, listed, share, share_within, table
from bench.results.page import Section
from bench.results.record import Measured, Node, Record

PRIORS = {"fp": "FP", "mshp": "MSHP"}
UNDEFENDED, GUARD = "undefended", "auto"
BUDGET = 3400
RULE_OF_THREE = 3
BUDGETED = f"{GUARD} budget={BUDGET}"
SENDERS = {
    UNDEFENDED: "undefended",
    GUARD: "guard, no budget",
    BUDGETED: f"guard, budget of {BUDGET:,} bytes",
}
HEADER = ("attack", "sender", "FP: bytes", "top-1", "MSHP: bytes", "top-1")
DEFENDED_HEADER = ("FP: bytes", "top-1", "defended", "MSHP: bytes", "top-1", "defended")


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return (
        _clean(measured["resilience_clean"]),
        _rate(measured["resilience_attack"], measured["resilience_released"]),
        _adaptive(measured["resilience_adaptive"]),
        _whole_guard(measured["resilience_adaptive_guard"], measured["resilience_clean"]),
    )


def pair(row: Node, digits: int = 1) -> tuple[str, str]:
    """Bytes against clean and undefended, with so many digits, and top-1, with their intervals."""
    size = change_within(row["bytes_ratio"], row["bytes_ratio_ci"], digits)
    return size, share_within(row["top1"], row["top1_ci"])


def cells(record: Record, **match: object) -> tuple[str, ...]:
    """Bytes and top-1 of both priors, with their intervals."""
    return tuple(cell for prior in PRIORS for cell in pair(record.row(prior=prior, **match)))


def cells_defended(record: Record, digits: int, **match: object) -> tuple[str, ...]:
    """The same, and after each prior the share of frames that were defended."""
    rows = [record.row(prior=prior, **match) for prior in PRIORS]
    return tuple(cell for row in rows for cell in (*pair(row, digits), share(row["defended_share"])))


def changes(record: Record, digits: int = 1, **match: object) -> str:
    """Changes of the bytes: '+77.1 % (FP) and +68.7 % (MSHP)'."""
    return named(change(record.row(prior=prior, **match)["bytes_ratio"], digits) for prior in PRIORS)


def named(texts: Iterable[str]) -> str:
    """A text for each prior, FP first, with the prior behind it."""
    return listed([f"{text} ({name})" for text, name in zip(texts, PRIORS.values(), strict=True)])


def clean_about(record: Record) -> str:
    """How many photographs, and what they are when clean and undefended."""
    rows = [record.row(prior=prior, kind="clean", sender=UNDEFENDED) for prior in PRIORS]
    sizes = named(count(row["bytes_mean"]) for row in rows)
    right = [share_within(row["top1"], row["top1_ci"]) for row in rows]
    told = listed([f"{name} {text}" for name, text in zip(PRIORS.values(), right, strict=True)])
    images = rows[0]["images"]
    return f"{images} photographs of nips17-dev. Clean and undefended: {sizes} bytes; top-1 of {told}."


def _clean(record: Record) -> Section:
    drops = [
        record.row(prior=prior, sender=sender)["top1_drop_ci"]
        for prior in PRIORS
        for sender in (GUARD, BUDGETED)
    ]
    lost = max(max(interval) for interval in drops)
    images = record.row(prior="fp", sender=GUARD)["images"]
    answers = f"lose up to {lost:.1f} points of top-1" if lost else "keep every right answer"
    return Section(
        "What the guard costs clean frames",
        f"Clean photographs {answers}. Their bytes change by {changes(record, 2, sender=GUARD)}, with a "
        f"budget of {BUDGET:,} bytes by {changes(record, 2, sender=BUDGETED)}.",
        (
            table(
                ("sender", *DEFENDED_HEADER),
                [(about, *cells_defended(record, 2, sender=sender)) for sender, about in SENDERS.items()],
            ),
        ),
        (record,),
        (
            clean_about(record),
            "The alarm's threshold was chosen with these photographs in view. None lost of "
            f"{images} still allows {share(RULE_OF_THREE / images)} (95 %, the rule of three).",
            "The budget is near the dearest clean frames and below some: those are defended or sent in "
            "coarser steps.",
        ),
    )


def _rate(record: Record, released: Record) -> Section:
    known: dict[str, Any] = {"name": "pgd_e", "level": 4}
    levels = sorted({row["level"] for row in record.rows(kind="attack")})
    attacks = [(f"PGD-E {level}/255", record, level) for level in levels]
    attacks += [("as released, 4/255", released, known["level"])]
    return Section(
        "The attack on the rate, and what the guard leaves of it",
        f"PGD-E at 4/255 changes the bytes of undefended packets by "
        f"{changes(record, sender=UNDEFENDED, **known)}. Behind the guard it is "
        f"{changes(record, sender=GUARD, **known)}.",
        (
            table(
                HEADER,
                [
                    (about, SENDERS[sender], *cells(of, kind="attack", level=level, sender=sender))
                    for about, of, level in attacks
                    for sender in (UNDEFENDED, GUARD)
                ],
            ),
        ),
        (record, released),
        (
            clean_about(record),
            f"Attacks of {record['settings']['steps']} steps, one seed. The undefended rows are a lower "
            "bound of what such an attacker can add: an audit found more ([history.md](history.md)).",
            "*As released* is the paper's attack, whose gradient stops at the rounding. The others have "
            "un-masked gradients.",
        ),
    )


def _adaptive(record: Record) -> Section:
    return Section(
        "The attacker who knows the defence",
        "It differentiates through mask, denoiser, shield and coarser steps, but not through the guard's "
        f"decision. Bytes change by {changes(record, name='adaptive', level=2)} at 2/255 and by "
        f"{changes(record, name='adaptive', level=4)} at 4/255.",
        (
            table(
                ("attack", *DEFENDED_HEADER),
                [
                    (f"adaptive {level}/255", *cells_defended(record, 1, name="adaptive", level=level))
                    for level in (2, 4)
                ],
            ),
        ),
        (record,),
        (
            clean_about(record),
            "A frame within 2/255 is within 4/255 as well. Who may use 4/255 therefore has the larger of the "
            "two changes.",
            "At 2/255 most frames are not suspected, and an unsuspected frame is sent as it is.",
        ),
    )


def _whole_guard(record: Record, clean: Record) -> Section:
    knows: dict[str, Any] = {"name": "adaptive_guard", "level": 4}
    means = (clean.row(prior=prior, sender=UNDEFENDED)["bytes_mean"] for prior in PRIORS)
    return Section(
        "The attacker who knows the guard",
        f"It stays below both alarms, and at 4/255 bytes change by {changes(record, sender=GUARD, **knows)}. "
        f"The guard alone does not hold it; a budget of {BUDGET:,} bytes that it does not know does.",
        (
            table(
                HEADER,
                [
                    (
                        f"{level}/255",
                        SENDERS[sender],
                        *cells(record, sender=sender, **knows | {"level": level}),
                    )
                    for level in (2, 4)
                    for sender in (GUARD, BUDGETED)
                ],
            ),
        ),
        (record, clean),
        (
            clean_about(record),
            "**An attacker who knows the budget is not measured here.** It can fill the budget, which is "
            f"{named(change(BUDGET / mean) for mean in means)} over the mean clean frame of all photographs. "
            "No packet is ever over it.",
        ),
    )
