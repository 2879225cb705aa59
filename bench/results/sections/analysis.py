"""What the likelihood map knows of objects, and which frequencies an attack and a network spend bits on."""

from __future__ import annotations

from bench.results.markdown import change, fixed, share, signed, table
from bench.results.page import Section
from bench.results.record import Measured, Node, Record

MAPS = {
    "surprise fp-r1": "surprise, FP",
    "surprise mshp-r1": "surprise, MSHP",
    "patches mshp-r1": "patches, MSHP",
    "gradient": "gradient",
    "centre": "centre",
    "grad-cam": "Grad-CAM",
}
EVIDENCE = {
    "cam cut": "Grad-CAM at the cut",
    "cam last": "Grad-CAM at the last feature map",
    "occlusion": "occlusion",
    "on flat": "window, on flat",
    "outline": "its outline",
    "on texture": "window, on texture",
}
FP, MSHP = "efficientnet_lite0-fp-r1", "efficientnet_lite0-mshp-r1"
BANDS = {
    "remove": "band removed", "noise 4": "noise 4", "sign 4": "sign 4",
    "only 4": "only this band of PGD-E", "without 4": "PGD-E without it",
}  # fmt: skip
LONG, SHORT = 3, 6
"""The bands of 16 to 32 and of 2 to 4 pixels."""


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return _masks(measured["masks"]), _frequencies(measured["frequency"])


def _masks(record: Record) -> Section:
    surprise = record.row(evidence="cam last", map="surprise mshp-r1")
    centre = record.row(evidence="cam last", map="centre")
    texture = record.row(evidence="on texture", map="surprise mshp-r1")
    knows = record.row(evidence="on texture", map="grad-cam")
    settings = record["settings"]
    return Section(
        "The likelihood map knows more than edges, and not objects",
        f"Against Grad-CAM it has an AUC of {_auc(surprise)}, a guess at the centre of the frame "
        f"{_auc(centre)}. On texture it has {_auc(texture)}, where the classifier's own Grad-CAM has "
        f"{_auc(knows)}.",
        (
            "![frames, maps, and AUC by evidence](masks.png)",
            "AUC of a map for evidence of where the object is:",
            table(
                ("evidence", *MAPS.values()),
                [
                    (about, *(_cell(record, evidence, name) for name in MAPS))
                    for evidence, about in EVIDENCE.items()
                ],
            ),
        ),
        (record,),
        (
            f"{settings['images']} photographs, for occlusion the first {settings['occluded']}. *Surprise* "
            "is -log2 of the likelihood at the 28 x 28 positions of the map, *patches* the same bits at "
            "the 7 x 7 positions of y.",
            "*On flat*, *outline* and *on texture* are composites with a known window: a photograph on its "
            "mean colour, and on its own spectrum with random phases. The window always covers the centre, "
            "whose figures say nothing there.",
            f"As a mask the map is nearly flat: its mean surprise is a likelihood of "
            f"{fixed(2 ** -surprise['inside'])} on Grad-CAM's largest quarter and of "
            f"{fixed(2 ** -surprise['outside'])} elsewhere (MSHP).",
            "BSDS500's boundaries were not at hand. IoU, rank correlations and paired leads are in the JSON.",
        ),
    )


def _auc(row: Node) -> str:
    low, high = row["auc_ci"]
    return f"{fixed(row['auc'])} ({low:.2f} to {high:.2f})"


def _cell(record: Record, evidence: str, name: str) -> str:
    if evidence.startswith("cam") and name == "grad-cam":
        return ""
    return _auc(record.row(evidence=evidence, map=name))


def _frequencies(record: Record) -> Section:
    periods = record["settings"]["periods"]
    attack = record.row(bundle=FP, kind="attack 4")
    only, noise, without = (
        record.row(bundle=FP, kind=kind, band=SHORT) for kind in ("only 4", "noise 4", "without 4")
    )
    return Section(
        "Chance and an attacker use different frequencies",
        f"PGD-E has most of its effect at periods of {periods[SHORT]} pixels: that part alone costs "
        f"{_bytes(only)}. Noise in the same band costs {_bytes(noise)}: the direction costs bytes, not the "
        "band's energy.",
        (
            "![bytes and the attack's energy by band](frequency.png)",
            "FP, rate 1: change of the bytes, and of top-1 in points, by the period in pixels:",
            table(
                ("", *periods),
                [
                    ("energy of PGD-E at 4/255", *(share(part) for part in attack["energy"])),
                    *(
                        (
                            about,
                            *(
                                _both(record.row(bundle=FP, kind=kind, band=band))
                                for band in range(len(periods))
                            ),
                        )
                        for kind, about in BANDS.items()
                    ),
                ],
            ),
        ),
        (record,),
        (
            f"{record['settings']['images']} photographs, eight octave bands of the orthonormal DCT. *Noise "
            "4* has 4 of 255 RMS in the band alone; *sign 4* is its sign, 4 of 255 in every pixel.",
            f"The whole attack costs {_bytes(attack)}, without the band of {periods[SHORT]} pixels "
            f"{_bytes(without)}.",
            f"Noise at {periods[LONG]} pixels costs "
            f"{_bytes(record.row(bundle=FP, kind='noise 4', band=LONG))} (FP) and "
            f"{_bytes(record.row(bundle=MSHP, kind='noise 4', band=LONG))} (MSHP).",
            "Top-1 has intervals of about 10 points to each side. MSHP has the same shape; all intervals "
            "are in the JSON. A part of an attack may exceed its l_inf budget a little.",
        ),
    )


def _bytes(row: Node) -> str:
    low, high = row["bytes_change_ci"]
    return f"{change(1 + row['bytes_change'])} ({signed(100 * low)} to {signed(100 * high)})"


def _both(row: Node) -> str:
    return f"{change(1 + row['bytes_change'])} / {signed(100 * row['top1_change'], 0)}"
