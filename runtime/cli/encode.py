"""``ratehold encode``: an image -> a packet, and what the guard did on the way."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any

from runtime.bundle import DEFAULT, load
from runtime.cli.files import STANDARD, StandardInput, add_json, completes_files, report, write_bytes
from runtime.cli.guard_options import add_guard, guard_of
from runtime.head import Head, HeadReport
from runtime.pictures import read_image

UNABLE = "this bundle knows no corruptions"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subcommand's parser."""
    image = parser.add_argument("image", metavar="IMAGE", help="a file that Pillow reads (-: standard input)")
    packet = parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="where the packet goes (-: standard output)"
    )
    completes_files(image)
    completes_files(packet)
    parser.add_argument("--bundle", default=DEFAULT, metavar="NAME", help="installed name or folder")
    parser.add_argument("--explain", action="store_true", help="print what the guard did, and why")
    add_json(parser)
    add_guard(parser)
    parser.set_defaults(run=_encode)


def _encode(options: argparse.Namespace) -> None:
    if options.output == options.json == STANDARD:
        options.usage_error("--output and --json cannot both be standard output")
    guard = guard_of(options)
    image = read_image(StandardInput() if options.image == STANDARD else options.image)
    head = Head(load(options.bundle), guard=guard)
    data = head.encode(image).to_bytes()
    write_bytes(options.output, data)
    assert head.report is not None
    done = f", {head.report.decision.rung}" if head.report.decision.rung != "plain" else ""
    where = "standard output" if options.output == STANDARD else options.output
    print(f"{where}: {len(data)} bytes of {options.bundle}{done}", file=sys.stderr)
    report(
        _explanation(head.report, "guard" in head.bundle.manifest.files) if options.explain else [],
        {"image": options.image, "packet": options.output, "bundle": head.bundle.manifest.name}
        | {"bundle_id": head.bundle.id.hex()}
        | _figures(head.report),
        options.json,
        taken=options.output == STANDARD,
    )


def _figures(told: HeadReport) -> dict[str, Any]:
    decision = told.decision
    expected = decision.expected_bits_before
    return {
        "bytes": decision.bytes,
        "budget": decision.budget,
        "guard": decision.mode,
        "rung": decision.rung,
        "attack_score": decision.score,
        "corruption_score": decision.corruption if _asked(decision.corruption) else None,
        "expected_bytes": None if expected is None else expected / 8,
        "sent_expected_bytes": decision.expected_bits / 8,
        "coarseness": decision.coarseness,
        "rate_weight": decision.rate_weight,
        "seconds": told.seconds,
    }


def _explanation(told: HeadReport, knows_corruptions: bool) -> list[str]:
    """The decision and the stages' times, a line each.

    knows_corruptions: the bundle has a discriminant. Without one it sees no corruption.
    """
    decision = told.decision
    expected = decision.expected_bits_before
    assert expected is not None  # only a mask of earlier frames saves the first pass
    budget = "none" if decision.budget is None else f"{decision.budget} bytes"
    lines = {
        "guard": decision.mode,
        "attack": _score(decision.score),
        "corruption": _score(decision.corruption, "the frame is cheap" if knows_corruptions else UNABLE),
        "expected": f"{expected / 8:.0f} bytes, sent {decision.expected_bits / 8:.0f}",
        "rung": decision.rung,
        "rate": f"coarseness {decision.coarseness}, lambda {decision.rate_weight:.3g}",
        "packet": f"{decision.bytes} bytes, budget {budget}",
    }
    lines |= {f"ms {stage}": f"{1e3 * seconds:.2f}" for stage, seconds in told.seconds.items()}
    lines["ms together"] = told.milliseconds
    return [f"{name:<18} {text}" for name, text in lines.items()]


def _score(score: float | None, why_not: str = "") -> str:
    if score is None:
        return "not asked for"
    return f"{score:+.3f}, above 0 is suspicious" if _asked(score) else f"not asked: {why_not}"


def _asked(score: float | None) -> bool:
    """Whether the alarm gave a score: -inf stands for none (``runtime.guard.alarm.Suspicion``)."""
    return score is not None and math.isfinite(score)
