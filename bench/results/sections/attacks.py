"""What an attack on the rate costs, undefended and behind the guard, and what the guard costs clean frames."""

from __future__ import annotations

from collections.abc import Iterable

from bench.results.markdown import change, change_within, count, listed, share, share_within, table
from bench.results.page import Section
from bench.results.record import Measured, Node, Record

PRIORS = {"fp": "FP", "mshp": "MSHP"}
UNDEFENDED, GUARD = "undefended", "auto"
BUDGET = 3400
BUDGETED = f"{GUARD} budget={BUDGET}"
SENDERS = {UNDEFENDED: "undefended", GUARD: "guard", BUDGETED: f"guard, budget of {BUDGET:,} bytes"}
HEADER = ("attack", "sender", "FP: bytes", "top-1", "MSHP: bytes", "top-1")


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return (
        _clean(measured["resilience_clean"]),
        _rate(measured["resilience_attack"], measured["resilience_released"]),
        _adaptive(measured["resilience_adaptive"]),
        _whole_guard(measured["resilience_adaptive_guard"], measured["resilience_clean"]),
    )


def cells(record: Record, **match: object) -> tuple[str, ...]:
    """Bytes and top-1 of both priors, with their intervals."""
    return tuple(cell for prior in PRIORS for cell in pair(record.row(prior=prior, **match)))


def pair(row: Node) -> tuple[str, str]:
    """Bytes against clean and undefended, and top-1, with their intervals."""
    return change_within(row["bytes_ratio"], row["bytes_ratio_ci"]), share_within(row["top1"], row["top1_ci"])


def of_priors(record: Record, key: str, **match: object) -> list[float]:
    """The value of a key for each prior, FP first."""
    return [record.row(prior=prior, **match)[key] for prior in PRIORS]


def changes(ratios: Iterable[float]) -> str:
    """'+77.1 % (FP) and +68.7 % (MSHP)'."""
    return listed([f"{change(ratio)} ({name})" for name, ratio in zip(PRIORS.values(), ratios, strict=True)])


def clean_about(record: Record) -> str:
    """How many photographs, and what they are when clean and undefended."""
    rows = [record.row(prior=prior, kind="clean", sender=UNDEFENDED) for prior in PRIORS]
    told = [
        f"{name} {count(row['bytes_mean'])} bytes and {share_within(row['top1'], row['top1_ci'])} top-1"
        for name, row in zip(PRIORS.values(), rows, strict=True)
    ]
    return f"{rows[0]['images']} photographs of nips17-dev; clean and undefended {listed(told)}."


def _clean(record: Record) -> Section:
    drops = {drop for sender in (GUARD, BUDGETED) for drop in of_priors(record, "top1_drop", sender=sender)}
    kept = (
        "no answer changes its correctness in sum"
        if drops == {0.0}
        else f"top-1 falls by {max(drops):.1f} points"
    )
    return Section(
        "What the guard costs clean frames",
        f"Behind the guard clean photographs have {changes(of_priors(record, 'bytes_ratio', sender=GUARD))} "
        f"of the bytes. With a budget of {BUDGET:,} bytes it is "
        f"{changes(of_priors(record, 'bytes_ratio', sender=BUDGETED))}; {kept}.",
        (
            table(
                ("sender", "FP: bytes", "top-1", "defended", "MSHP: bytes", "top-1", "defended"),
                [
                    (
                        about,
                        *(
                            cell
                            for prior in PRIORS
                            for row in [record.row(prior=prior, sender=sender)]
                            for cell in (*pair(row), share(row["defended_share"]))
                        ),
                    )
                    for sender, about in SENDERS.items()
                ],
            ),
        ),
        (record,),
        (
            clean_about(record),
            "The alarm's threshold of 5.5 deviations was chosen with these photographs in view.",
            "The budget is near the dearest clean FP frames, and below some of them: "
            f"{_over_budget(record)} are defended or sent in coarser steps.",
        ),
    )  # fmt: skip


def _over_budget(record: Record) -> str:
    return listed(
        [
            f"{share(value)} ({name})"
            for name, value in zip(
                PRIORS.values(), of_priors(record, "defended_share", sender=BUDGETED), strict=True
            )
        ]
    )


def _rate(record: Record, released: Record) -> Section:
    strongest = {"name": "pgd_e", "level": 4}
    levels = sorted({row["level"] for row in record.rows(kind="attack")})
    return Section(
        "The attack on the rate, and what the guard leaves of it",
        "PGD-E at 4/255 makes undefended packets "
        f"{changes(of_priors(record, 'bytes_ratio', sender=UNDEFENDED, **strongest))} larger. Behind the "
        f"guard they are {changes(of_priors(record, 'bytes_ratio', sender=GUARD, **strongest))} against "
        "clean.",
        (
            table(
                HEADER,
                [
                    *(
                        (f"PGD-E {level}/255", SENDERS[sender], *cells(record, level=level, sender=sender, kind="attack"))
                        for level in levels
                        for sender in (UNDEFENDED, GUARD)
                    ),
                    *(
                        ("as released, 4/255", SENDERS[sender], *cells(released, level=4, sender=sender, kind="attack"))
                        for sender in (UNDEFENDED, GUARD)
                    ),
                ],
            ),
        ),
        (record, released),
        (
            clean_about(record) + f" Attacks of {record['settings']['steps']} steps, one seed.",
            "The undefended rows are a lower bound of what such an attacker can add: an audit with more "
            "steps, momentum and restarts found more ([history.md](history.md)).",
            "*As released* is the paper's attack, whose gradient stops at the rounding; the rest have "
            "un-masked gradients.",
        ),
    )  # fmt: skip


def _adaptive(record: Record) -> Section:
    levels = (2, 4)
    return Section(
        "The attacker who knows the defence",
        "It differentiates through mask, denoiser, shield and coarser steps, but not through the guard's "
        f"decision. At 2/255 it adds {changes(of_priors(record, 'bytes_ratio', name='adaptive', level=2))}, "
        f"at 4/255 {changes(of_priors(record, 'bytes_ratio', name='adaptive', level=4))}.",
        (
            table(
                ("attack", "FP: bytes", "top-1", "defended", "MSHP: bytes", "top-1", "defended"),
                [
                    (
                        f"adaptive {level}/255",
                        *(
                            cell
                            for prior in PRIORS
                            for row in [record.row(prior=prior, name="adaptive", level=level)]
                            for cell in (*pair(row), share(row["defended_share"], 0))
                        ),
                    )
                    for level in levels
                ],
            ),
        ),
        (record,),
        (
            clean_about(record),
            "The attack of 2/255 lies inside the ball of 4/255, so an attacker with 4/255 has at least its "
            "figure.",
            "At 2/255 most frames are not suspected, and an unsuspected frame is sent as it is.",
        ),
    )  # fmt: skip


def _whole_guard(record: Record, clean: Record) -> Section:
    knows = {"name": "adaptive_guard", "level": 4}
    most = [
        f"{change(BUDGET / size)} ({name})"
        for name, size in zip(PRIORS.values(), of_priors(clean, "bytes_mean", sender=UNDEFENDED), strict=True)
    ]
    return Section(
        "The attacker who knows the guard",
        "It stays below both alarms and adds "
        f"{changes(of_priors(record, 'bytes_ratio', sender=GUARD, **knows))} at 4/255: the guard alone does "
        f"not hold it. A budget of {BUDGET:,} bytes does, as long as the attacker does not know the budget.",
        (
            table(
                HEADER,
                [
                    (f"adaptive_guard {level}/255", SENDERS[sender], *cells(record, name="adaptive_guard", level=level, sender=sender))
                    for level in (2, 4)
                    for sender in (GUARD, BUDGETED)
                ],
            ),
        ),
        (record,),
        (
            clean_about(record),
            "**An attacker who knows the budget is not measured here.** It can fill the budget: at most "
            f"{listed(most)} over the mean clean frame, since no packet is over the budget.",
            f"That bound is {BUDGET:,} bytes over the clean means under *What the guard costs clean frames*.",
        ),
    )  # fmt: skip
