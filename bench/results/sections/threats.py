"""Other threats: other aims, other norms, stealth, and attackers without gradients."""

from __future__ import annotations

from bench.results.markdown import change, share, share_within, table
from bench.results.page import Section
from bench.results.record import Measured, Record
from bench.results.sections.attacks import GUARD, UNDEFENDED, pair

THREATS = {
    "pgd_c": "accuracy (PGD-C)",
    "joint": "rate and accuracy jointly",
    "background": "rate, background only",
    "object": "rate, object only",
    "low_frequency": "rate, low frequencies",
    "noise": "random signs",
    "pgd_e_l2": "rate, l_2 (rms 4/255)",
}
BELOW = {
    "provoke": "provoke: force the defence",
    "stealth": "stealth: rate, below both alarms and the ceiling",
}
BLIND = {
    "universal": "one perturbation for all, found on other photographs",
    "black_box": "queries for the length of the packet",
}


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return (
        _threats(measured["resilience_threats"], measured["resilience_stealth"]),
        _blind(measured["blind"]),
    )


def _threats(record: Record, stealth: Record) -> Section:
    clean = record.row(kind="clean", sender=UNDEFENDED)
    joint = record.row(name="joint", sender=GUARD)
    passed = stealth.row(name="stealth", sender=GUARD)
    return Section(
        "Other aims, other norms, and stealth",
        f"Attacks on the rate that the guard suspects shrink, the joint one to "
        f"{change(joint['bytes_ratio'])}. Stealth passes the guard whole: {change(passed['bytes_ratio'])} "
        f"with {share(passed['defended_share'], 0)} of its frames defended.",
        (
            table(
                ("threat, 4/255", "undefended", "top-1", "guard", "top-1", "defended"),
                [
                    *(_row(record, name, about) for name, about in THREATS.items()),
                    *(_row(stealth, name, about) for name, about in BELOW.items()),
                ],
            ),
        ),
        (record, stealth),
        (
            f"FP, {record['settings']['images']} photographs, "
            f"{share_within(clean['top1'], clean['top1_ci'])} right when clean. No threat but stealth and "
            "provoke knows the guard; none knows the shield.",
            "PGD-C hardly raises the bytes, so it is not suspected: the guard protects the link and not the "
            "answer.",
            "What holds stealth is the ceiling on a frame's bits, and a budget.",
        ),
    )


def _row(record: Record, name: str, about: str) -> tuple[str, ...]:
    plain, guarded = (record.row(name=name, sender=sender) for sender in (UNDEFENDED, GUARD))
    return (about, *pair(plain), *pair(guarded), share(guarded["defended_share"], 0))


def _blind(record: Record) -> Section:
    asked = record.row(threat="black_box", sender="guard")
    settings = record["settings"]
    clean = record.row(threat="clean", sender=UNDEFENDED)
    return Section(
        "Attackers without gradients",
        f"{settings['queries']} queries for the length of the packet add {change(asked['bytes_ratio'])} "
        "behind the guard: who queries a guarded sender learns to stay below its alarms.",
        (
            table(
                (f"threat, {settings['eps']}/255", "undefended", "top-1", "guard", "top-1"),
                [
                    (
                        about,
                        *(
                            cell
                            for sender in (UNDEFENDED, "guard")
                            for cell in pair(record.row(threat=name, sender=sender))
                        ),
                    )
                    for name, about in BLIND.items()
                ],
            ),
        ),
        (record,),
        (
            f"Default bundle, {settings['limit']} photographs, "
            f"{share_within(clean['top1'], clean['top1_ci'])} right when clean.",
        ),
    )
