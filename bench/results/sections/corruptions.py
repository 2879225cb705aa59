"""The 19 corruptions of ImageNet-C at five severities, undefended and behind the guard."""

from __future__ import annotations

from statistics import fmean

from bench.results.markdown import change, share, table
from bench.results.page import Section
from bench.results.record import Measured, Node, Record
from bench.results.sections.attacks import GUARD, PRIORS, SENDERS, UNDEFENDED, cells, clean_about

MOST_BYTES = 1.05
POINT = 1 + 1e-9  # a whole point is not more than one
WHAT = ("bytes", "guard", "top-1", "guard")
EXAMPLES = (("snow", 4), ("spatter", 5), ("jpeg_compression", 1), ("gaussian_noise", 5), ("saturate", 4))


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return (_corruptions(measured["resilience_corruptions"]),)


def _corruptions(record: Record) -> Section:
    kinds = list(dict.fromkeys(row["name"] for row in record.rows(kind="corruption")))
    found = _pairs(record)
    gained = [100 * (guarded["top1"] - plain["top1"]) for plain, guarded in found]
    dear, guarded_dear = (sum(pair[i]["bytes_ratio"] > MOST_BYTES for pair in found) for i in (0, 1))
    worst = max((guarded for _, guarded in found), key=lambda row: row["bytes_ratio"])
    return Section(
        "Weather, noise, blur and codecs",
        f"Undefended, {dear} of {len(found)} corrupted cells are over {change(MOST_BYTES, 0)} in bytes, "
        f"behind the guard {guarded_dear}. Top-1 changes by {fmean(gained):+.1f} points in the mean of the "
        f"cells, by {min(gained):+.1f} in the worst.",
        (
            "Means over the five severities:",
            table(
                ("corruption", *(f"{name}: {what}" for name in PRIORS.values() for what in WHAT)),
                [
                    (name.replace("_", " "), *(c for prior in PRIORS for c in _kind(found, prior, name)))
                    for name in kinds
                ],
            ),
            "Single cells with their intervals:",
            table(
                ("corruption", "sender", "FP: bytes", "top-1", "MSHP: bytes", "top-1"),
                [
                    (
                        f"{name.replace('_', ' ')} {level}",
                        SENDERS[sender],
                        *cells(record, name=name, level=level, sender=sender),
                    )
                    for name, level in EXAMPLES
                    for sender in (UNDEFENDED, GUARD)
                ],
            ),
        ),
        (record,),
        (
            clean_about(record) + " All cells with their intervals are in the JSON.",
            f"The dearest cell behind the guard is {worst['input'].replace('_', ' ')}, "
            f"{PRIORS[worst['prior']]}, with {change(worst['bytes_ratio'])}.",
            f"{sum(gain < -POINT for gain in gained)} cells lose more than a point of top-1, "
            f"{sum(gain > POINT for gain in gained)} gain more than one. These are counts of point "
            "estimates: the JSON has no paired interval of guarded against undefended.",
            "The alarms were fitted to these kinds of corruption, on training photographs with other "
            "seeds. This says what the guard does about known weather, not about weather.",
            "Three choices were made on these photographs: the price of a bit of the adapted head, no "
            "alarm for saturation, and which frames count as cheap.",
        ),
    )


def _pairs(record: Record) -> list[tuple[Node, Node]]:
    """Each cell undefended and behind the guard."""
    plain = record.rows(kind="corruption", sender=UNDEFENDED)
    guarded = {(r["prior"], r["input"]): r for r in record.rows(kind="corruption", sender=GUARD)}
    return [(row, guarded[row["prior"], row["input"]]) for row in plain]


def _kind(found: list[tuple[Node, Node]], prior: str, name: str) -> tuple[str, ...]:
    cells_of = [pair for pair in found if pair[0]["prior"] == prior and pair[0]["name"] == name]
    sizes = [change(fmean(pair[i]["bytes_ratio"] for pair in cells_of)) for i in (0, 1)]
    right = [share(fmean(pair[i]["top1"] for pair in cells_of)) for i in (0, 1)]
    return (*sizes, *right)
