"""Bytes against accuracy: the bundles beside pictures, the two priors, one bundle at many rates, tuning."""

from __future__ import annotations

import math
from itertools import pairwise

from bench.results.markdown import change, count, fixed, share, share_within, spread, table
from bench.results.page import Section
from bench.results.record import Measured, Node, Record

RATES = (1, 2, 3, 4)
PRIORS = {"fp": "FP", "mshp": "MSHP"}
UNROUNDED = "unquantised (no coding)"
TUNED_RATE = 3
SHOWN = (
    "rate 1", *(f"coarseness {c}" for c in (4, 8, 16, 24)), *(f"lambda {w}" for w in (0.02, 0.06, 0.2)),
    "rate 2", "rate 3",
)  # fmt: skip
WEIGHTS = ("0.01", "0.02", "0.04", "0.06", "0.1", "0.2")


def sections(measured: Measured) -> tuple[Section, ...]:
    """All sections of the subject."""
    return (
        _bundles(measured["accuracy"]),
        _priors(measured["accuracy"], measured["priors"]),
        _rates(measured["rates"]),
        _tuning(measured["finetune"]),
    )


def _bundles(record: Record) -> Section:
    coded = [row for row in record.rows() if row["bytes_mean"] is not None]
    unrounded = record.row(bundle=UNROUNDED)
    first, last = (record.row(prior="fp", rate=rate) for rate in (RATES[0], RATES[-1]))
    jpeg = max(record.rows(prior="jpeg"), key=lambda row: row["top1"])
    ours = _bytes_at(jpeg["top1"], record.rows(prior="fp"))
    webp, avif = (_bytes_at(jpeg["top1"], record.rows(prior=codec)) for codec in ("webp", "avif"))
    return Section(
        "Fewer bytes than JPEG, WebP and AVIF at the same accuracy",
        f"At {share(jpeg['top1'])} top-1, JPEG needs {fixed(jpeg['bytes_mean'] / ours, 1)} times the bytes "
        f"of FP, WebP {fixed(webp / ours, 1)} times, AVIF {fixed(avif / ours, 1)} times. FP spends "
        f"{count(first['bytes_mean'])} bytes a photograph at rate 1, {count(last['bytes_mean'])} at rate 4.",
        (
            f"{record['summary']['images']} photographs of the NIPS 2017 development set, each through the "
            "real bitstream:",
            "![top-1 against bytes](accuracy.png)",
            table(
                ("sent", "top-1", "bytes, mean", "p50", "p95", "largest", "nats"),
                [_bundle_row(row) for row in coded],
            ),
        ),
        (record,),
        (
            "JPEG, WebP and AVIF files hold the prepared square, and the same network judges them. Pillow "
            "writes them with its default effort, JPEG with optimised Huffman tables.",
            "The figures of FP and MSHP are those of the plain heads, without guard, shield or adapted head.",
            "The graphs of FP rate 1 without rounding or coding answer "
            f"{share_within(unrounded['top1'], unrounded['top1_ci'])} right. That is not the unsplit "
            "network, whose features pass no transform.",
            "The ratios are interpolated in the logarithm of the bytes.",
            f"Top-1 has intervals of {_half_widths(coded)} points to each side.",
        ),
    )


def _bundle_row(row: Node) -> tuple[str, ...]:
    own = row["prior"] in PRIORS
    name = (
        f"{PRIORS[row['prior']]}, rate {row['rate']}"
        if own
        else row["bundle"].replace("-q", ", quality ").replace(row["prior"], row["prior"].upper())
    )
    sizes = (count(row[f"bytes_{key}"]) for key in ("mean", "p50", "p95", "max"))
    return (name, share_within(row["top1"], row["top1_ci"]), *sizes, fixed(row["divergence_nats"], 3))


def _half_widths(rows: list[Node]) -> str:
    return spread(50 * (row["top1_ci"][1] - row["top1_ci"][0]) for row in rows)


def _bytes_at(top1: float, rows: list[Node]) -> float:
    """Bytes at which the curve of ``rows`` reaches ``top1``, interpolated in their logarithm."""
    curve = sorted((row["top1"], math.log(row["bytes_mean"])) for row in rows)
    for (low, small), (high, large) in pairwise(curve):
        if low <= top1 <= high:
            return math.exp(small + (large - small) * (top1 - low) / (high - low))
    return math.nan


def _priors(record: Record, many: Record) -> Section:
    summary = record["summary"]
    same = [summary[f"mshp_saving_same_rate_r{rate}"] for rate in RATES]
    equal = [summary[f"mshp_saving_equal_divergence_r{rate}"] for rate in RATES]
    drops = [
        100 * (record.row(prior="mshp", rate=rate)["top1"] - record.row(prior="fp", rate=rate)["top1"])
        for rate in RATES
    ]
    return Section(
        "The hyperprior saves bytes at equal divergence",
        f"At the same step MSHP sends {spread(same)} % fewer bytes than FP, at equal divergence "
        f"{spread(equal)} % fewer. Top-1 does not tell the two priors apart.",
        (
            table(
                ("rate", "same step", "equal divergence", "top-1, MSHP less FP"),
                [
                    (str(rate), f"-{a:.1f} %", f"-{b:.1f} %", f"{drop:+.1f} points")
                    for rate, a, b, drop in zip(RATES, same, equal, drops, strict=True)
                ],
            ),
            f"On {count(many['settings']['images'])} photographs of ImageNet's training set:",
            table(
                ("rate", "FP", "MSHP", "bytes", "nats, FP", "nats, MSHP"),
                [_compared(many, rate) for rate in RATES[:2]],
            ),
        ),
        (record, many),
        (
            "The differences of top-1 have no paired interval in the JSON. Those of each prior alone are "
            f"{_half_widths([record.row(prior=p, rate=rate) for p in PRIORS for rate in RATES])} points to "
            "each side.",
            "Calibration has seen the training photographs, without labels; they only compare the priors.",
        ),
        (
            "mkdir photos; ln -s $PWD/../shared/data/train/imagenet1000 photos/images",
            "(echo image,label; ls photos/images/ | awk '{print $1 \",\" substr($1, 1, 4) + 0}') "
            "> photos/labels.csv",
        ),
    )


def _compared(record: Record, rate: int) -> tuple[str, ...]:
    fp, mshp = (record.row(prior=prior, rate=rate) for prior in PRIORS)
    sizes = (
        f"{count(row['bytes_mean'])} bytes, {share_within(row['top1'], row['top1_ci'])}" for row in (fp, mshp)
    )
    nats = (fixed(row["divergence_nats"], 3) for row in (fp, mshp))
    return (str(rate), *sizes, change(mshp["bytes_mean"] / fp["bytes_mean"]), *nats)


def _rates(record: Record) -> Section:
    summary = record["summary"]
    return Section(
        "One bundle has many rates",
        "A packet says how coarse its steps are. With MSHP, rate 1 in coarser steps takes "
        f"{fixed(1 / summary['mshp_rate_2'], 2)} times the bytes of the bundle made for rate 2 at the same "
        f"divergence; with FP it takes {fixed(1 / summary['fp_rate_2'], 2)} times.",
        (
            table(
                ("how", "FP: bytes", "nats", "top-1", "MSHP: bytes", "nats", "top-1"),
                [
                    (_setting(name), *(cell for prior in PRIORS for cell in _rate_cells(record, prior, name)))
                    for name in SHOWN
                ],
            ),
            "Bytes of rate control over those of coarser steps at the same divergence, by its weight:",
            table(
                ("", *WEIGHTS),
                [(name, *(_control(record, prior, w) for w in WEIGHTS)) for prior, name in PRIORS.items()],
            ),
        ),
        (record,),
        (f"{record['settings']['images']} photographs, plain bundles.",),
    )


def _setting(name: str) -> str:
    if name.startswith("lambda"):
        return f"rate control {name.split()[1]}"
    return f"the bundle of {name}" if name.startswith("rate") else name


def _rate_cells(record: Record, prior: str, setting: str) -> tuple[str, ...]:
    row = record.row(prior=prior, setting=setting)
    return (
        count(row["bytes_mean"]),
        fixed(row["divergence_nats"], 3),
        share_within(row["top1"], row["top1_ci"]),
    )


def _control(record: Record, prior: str, weight: str) -> str:
    ratio = record["summary"][f"{prior}_lambda_{weight}"]
    return "" if ratio is None else fixed(ratio)


def _tuning(record: Record) -> Section:
    plain, tuned = record.rows(prior="fp", rate=TUNED_RATE)
    first = tuned["divergence_nats"] / plain["divergence_nats"]
    return Section(
        "Distillation fine-tuning lowers the divergence at equal bytes",
        f"One run of 250 steps at rate {TUNED_RATE} takes {share(1 - first, 0)} of the divergence away, for "
        f"{change(tuned['bytes_mean'] / plain['bytes_mean'])} of the bytes. The bundles that ship are not "
        "tuned.",
        (
            table(
                ("rate 3, FP", "bytes", "top-1", "nats"),
                [
                    (
                        name,
                        count(row["bytes_mean"]),
                        share_within(row["top1"], row["top1_ci"]),
                        fixed(row["divergence_nats"], 3),
                    )
                    for name, row in (("calibrated, ships", plain), ("and tuned", tuned))
                ],
            ),
        ),
        (record,),
        (f"One run, one rate, {record['settings']['images']} photographs; top-1 does not tell them apart.",),
        (
            "python -m export finetune --data ../shared/data/train -o out --rate 3 --steps 250 --threads 1",
            "python -m export build --data ../shared/data/train -o out/tuned --rate 3 --prior fp "
            "--transform out/transform-r3.pt",
        ),
    )
