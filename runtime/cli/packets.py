"""``encode``, ``decode``, ``inspect`` and ``bundles``: images and packets in files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundle import DEFAULT, Bundle, installed, load
from runtime.cli.guard_options import add_guard, guard_of
from runtime.codec.packet import Packet
from runtime.errors import BundleError
from runtime.head import Head, HeadReport
from runtime.preprocess import read_image
from runtime.tail import Tail, max_payload


def add_parsers(commands: Any) -> None:
    """Add the four subcommands."""
    encode = _command(commands, "encode", "an image file -> a packet", _encode)
    encode.add_argument("image", type=Path)
    encode.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="where the packet goes"
    )
    encode.add_argument("--bundle", default=DEFAULT, help="installed name or folder")
    add_guard(encode)
    encode.add_argument("--explain", action="store_true", help="what the guard did, and why")
    decode = _command(commands, "decode", "a packet -> the five likeliest classes", _decode)
    inspect = _command(commands, "inspect", "a packet's header, and its size by stream", _inspect)
    for command in (decode, inspect):
        command.add_argument("packet", type=Path)
        command.add_argument(
            "--bundle", help="installed name or folder (default: the installed one of the packet's id)"
        )
    _command(commands, "bundles", "the installed bundles", _bundles)


def _command(commands, name, text, run) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.set_defaults(run=run)
    return command


def _encode(options: argparse.Namespace) -> None:
    guard = guard_of(options)
    image = read_image(options.image)
    head = Head(load(options.bundle), guard=guard)
    data = head.encode(image).to_bytes()
    options.output.write_bytes(data)
    assert head.report is not None
    done = f", {head.report.decision.rung}" if head.report.decision.rung != "plain" else ""
    print(f"{options.output}: {len(data)} bytes of {options.bundle}{done}", file=sys.stderr)
    if options.explain:
        _explain(head.report)


def _explain(report: HeadReport) -> None:
    """The decision, one plain line each, on stdout."""
    decision = report.decision
    expected = decision.expected_bits_before
    assert expected is not None  # only a mask of earlier frames saves the first look
    budget = "none" if decision.budget is None else f"{decision.budget} bytes"
    lines = {
        "guard": decision.mode,
        "attack": _score(decision.score),
        "corruption": _score(decision.corruption),
        "expected": f"{expected / 8:.0f} bytes, sent {decision.expected_bits / 8:.0f}",
        "rung": decision.rung,
        "rate": f"coarseness {decision.coarseness}, lambda {decision.rate_weight:.3g}",
        "packet": f"{decision.bytes} bytes, budget {budget}",
    }
    for name, text in lines.items():
        print(f"{name:<18} {text}")
    for stage, seconds in report.seconds.items():
        print(f"ms {stage:<15} {1e3 * seconds:.2f}")
    print(f"ms {'together':<15} {1e3 * sum(report.seconds.values()):.2f} (first frame, nothing warmed up)")


def _score(score: float | None) -> str:
    return "not asked for" if score is None else f"{score:+.3f}, above 0 is suspicious"


def _decode(options: argparse.Namespace) -> None:
    data = options.packet.read_bytes()
    bundle = _bundle_of(data, options.bundle)
    logits = Tail(bundle).decode(data)
    labels = bundle.labels()
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    for index in np.argsort(-logits)[:5]:
        name = labels[index] if labels else ""
        print(f"{100 * probabilities[index]:5.1f} %  {index:4d}  {name}")


def _inspect(options: argparse.Namespace) -> None:
    data = options.packet.read_bytes()
    bundle = _bundle_of(data, options.bundle)
    streams = Tail(bundle).read(data)
    packet = Packet.from_bytes(data, max_payload(bundle))
    flags = packet.flags.name or "NONE"
    print(f"bundle   {bundle.manifest.name} ({packet.bundle_id.hex()})")
    print(f"flags    {flags}, coarseness {packet.coarseness}")
    payload = len(packet.payload)
    print(f"packet   {len(data)} bytes: header and CRC {len(data) - payload}, payload {payload}")
    total = 0.0
    for stream in streams:
        bits = float(stream.information_bits().sum(dtype=np.float64))
        total += bits
        shape = bundle.manifest.latent if stream.name == "y" else bundle.manifest.hyper
        zeros = 100 * float((stream.symbols == 0).mean())
        print(f"{stream.name}        {bits / 8:.1f} bytes of information, shape {shape}, {zeros:.1f} % zeros")
    print(f"payload  {8 * payload} bits for {total:.1f} bits of information")


def _bundles(options: argparse.Namespace) -> None:
    for name in installed():
        bundle = load(name)
        clean = dict(bundle.manifest.clean_bits)
        size = sum(entry.bytes for entry in bundle.manifest.files.values())
        print(
            f"{name}  id {bundle.id.hex()}  clean frames: median {clean[0.5] / 8:.0f} bytes, "
            f"99 % below {clean[0.99] / 8:.0f}  ({size / 1e6:.1f} MB)"
        )


def _bundle_of(data: bytes, name: str | None) -> Bundle:
    """The bundle that was named, or the installed one whose id the packet carries."""
    if name is not None:
        return load(name)
    bundles = [load(installed_name) for installed_name in installed()]
    largest = max((max_payload(bundle) for bundle in bundles), default=0)
    wanted = Packet.from_bytes(data, largest).bundle_id
    for bundle in bundles:
        if bundle.id == wanted:
            return bundle
    raise BundleError(f"no installed bundle has the id {wanted.hex()}: name its folder with --bundle")
