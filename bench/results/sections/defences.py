"""What the defence is made of: filters in its place, denoisers alone, steps against rate control."""

from __future__ import annotations

from bench.results.markdown import change, share, table
from bench.results.page import Section
from bench.results.record import Measured, Record
from bench.results.sections.attacks import GUARD, PRIORS, UNDEFENDED, cells, pair

LEVELS = (2, 4, 8)
SHOWN = {"name": "pgd_e", "setting": "unmasked", "level": 4}
EQUAL = 0.005
DENOISERS = [
    *(
        (f"{mode} {weight}", f"always mode={mode},weight={weight},rate_control=0")
        for mode in ("rof", "descent")
        for weight in (0.02, 0.05, 0.1)
    ),
    ("Gaussian blur 0.7", "blur-0.7"),
    ("Gaussian blur 1.4", "blur-1.4"),
]
DEFAULT = "always weight=0.02,coarseness=4,rate_control=0.02"


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return (
        _filters(measured["resilience_bars"], measured["resilience_attack"]),
        _denoisers(measured["resilience_denoisers"]),
        _steps(measured["resilience_coarseness"]),
    )


def _filters(record: Record, ours: Record) -> Section:
    names = list(
        dict.fromkeys(
            row["sender"] for row in record.rows(kind="attack") if row["sender"] not in (UNDEFENDED, GUARD)
        )
    )
    rivals = sum(_rivals(record, ours, prior, level, names) for prior in PRIORS for level in LEVELS)
    return Section(
        "No simple filter in the guard's place",
        f"Of {len(names)} filters before the plain head, {rivals or 'none'} has as few bytes as the guard "
        "at its top-1, for either prior at 2, 4 or 8 of 255.",
        (
            table(
                ("PGD-E 4/255", "FP: bytes", "top-1", "MSHP: bytes", "top-1"),
                [
                    ("**the guard**", *cells(ours, sender=GUARD, **SHOWN)),
                    ("undefended", *cells(ours, sender=UNDEFENDED, **SHOWN)),
                    *((f"`{name}`", *cells(record, sender=name, **SHOWN)) for name in names),
                ],
            ),
        ),
        (record, ours),
        (
            f"{record['settings']['images']} photographs. A filter within half a point of the guard's top-1 "
            "counts as equally accurate. 2/255 and 8/255 are in the JSON.",
            "Filters act on every frame, the guard's defence on those that it suspects. The filters' file "
            "also holds rows of an earlier defence, which are not shown.",
        ),
    )


def _rivals(record: Record, ours: Record, prior: str, level: int, names: list[str]) -> int:
    guard = ours.row(prior=prior, level=level, kind="attack", sender=GUARD)
    rows = [record.row(prior=prior, sender=name, **SHOWN | {"level": level}) for name in names]
    return sum(
        row["top1"] >= guard["top1"] - EQUAL and row["bytes_ratio"] <= guard["bytes_ratio"] for row in rows
    )


def _denoisers(record: Record) -> Section:
    inputs = ("clean", "pgd_e 4/255")
    rof, descent = (
        record.row(input=inputs[1], sender=f"always mode={mode},weight=0.05,rate_control=0")
        for mode in ("rof", "descent")
    )
    return Section(
        "Which denoiser, without a shield",
        f"At 4/255 and equal weights (0.05) `descent` keeps {share(descent['top1'])} right at "
        f"{change(descent['bytes_ratio'])}, `rof` {share(rof['top1'])} at {change(rof['bytes_ratio'])}. "
        "Neither clearly beats a blur of 0.7 pixels.",
        (
            table(
                (
                    "before the plain head",
                    *(f"{name}: {what}" for name in ("clean", "PGD-E 4/255") for what in ("bytes", "top-1")),
                ),
                [
                    (
                        about,
                        *(cell for name in inputs for cell in pair(record.row(input=name, sender=sender))),
                    )
                    for about, sender in [("nothing", UNDEFENDED), *DENOISERS]
                ],
            ),
        ),
        (record,),
        (
            f"FP rate 1, {record['settings']['images']} photographs, every frame denoised, no shield, no "
            "coarser steps, no rate control. The attack does not know the denoiser.",
            "There is no paired interval of two denoisers. 2/255 is in the JSON.",
        ),
    )


def _steps(record: Record) -> Section:
    settings = list(dict.fromkeys(row["sender"] for row in record.rows() if row["sender"] != UNDEFENDED))
    control = record.row(
        prior="fp", input="pgd_e 4/255", sender="always weight=0.02,coarseness=0,rate_control=0.06"
    )
    default = record.row(prior="fp", input="pgd_e 4/255", sender=DEFAULT)
    return Section(
        "Coarser steps against rate control",
        "A defended frame is sent at coarseness 4 with a rate control of 0.02. At 4/255 that leaves FP "
        f"{change(default['bytes_ratio'])}, rate control of 0.06 alone {change(control['bytes_ratio'])}.",
        (
            "PGD-E at 4/255:",
            table(
                ("coarseness, rate control", "FP: bytes", "top-1", "MSHP: bytes", "top-1"),
                [(_setting(name), *cells(record, sender=name, **SHOWN)) for name in (UNDEFENDED, *settings)],
            ),
        ),
        (record,),
        (
            f"{record['settings']['images']} photographs, every frame defended, through the shield. Top-1 "
            "does not tell neighbours apart. Clean frames, 2/255 and 8/255 are in the JSON.",
        ),
    )


def _setting(sender: str) -> str:
    if sender == UNDEFENDED:
        return sender
    _, coarseness, control = (part.split("=")[1] for part in sender.split(","))
    text = f"{coarseness}, {float(control):g}"
    return f"**{text}**" if sender == DEFAULT else text
