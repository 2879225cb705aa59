"""Command line: ``python -m runtime encode | decode | inspect | bundles``. Results go to stdout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from native_denoise.modes import MODES
from runtime.bundle import DEFAULT, Bundle, installed, load
from runtime.defence import Defence
from runtime.errors import BundleError, RateholdError
from runtime.head import Head, HeadReport
from runtime.packet import Packet
from runtime.preprocess import read_image
from runtime.tail import Tail, max_payload


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 1 with a message on stderr."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except RateholdError as error:
        print(f"ratehold: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"ratehold: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runtime", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    encode = _command(commands, "encode", "an image file -> a packet", _encode)
    encode.add_argument("image", type=Path)
    encode.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="where the packet goes"
    )
    encode.add_argument("--bundle", default=DEFAULT, help="installed name or folder")
    _add_defence(encode)
    decode = _command(commands, "decode", "a packet -> the five likeliest classes", _decode)
    inspect = _command(commands, "inspect", "a packet's header, and its size by stream", _inspect)
    for command in (decode, inspect):
        command.add_argument("packet", type=Path)
        command.add_argument(
            "--bundle", help="installed name or folder (default: the installed one of the packet's id)"
        )
    _command(commands, "bundles", "the installed bundles", _bundles)
    return parser


def _add_defence(encode: argparse.ArgumentParser) -> None:
    encode.add_argument("--defend", action="store_true", help="denoise the image before it is sent")
    encode.add_argument(
        "--mode", choices=MODES, default=argparse.SUPPRESS, help=f"of --defend (default: {Defence().mode})"
    )
    encode.add_argument(
        "--weight", type=float, default=argparse.SUPPRESS, metavar="LAMBDA",
        help="of --defend: larger smooths more "
        f"(default: {', '.join(f'{Defence(mode).solver().weight:g} for {mode}' for mode in MODES)})",
    )  # fmt: skip
    encode.set_defaults(usage_error=encode.error)


def _command(commands, name, text, run) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.set_defaults(run=run)
    return command


def _encode(options: argparse.Namespace) -> None:
    defence = _defence(options)
    image = read_image(options.image)
    head = Head(load(options.bundle), defence=defence)
    data = head.encode(image).to_bytes()
    options.output.write_bytes(data)
    assert head.report is not None
    print(f"{options.output}: {len(data)} bytes of {options.bundle}", file=sys.stderr)
    if head.report.before is not None:
        before, after = (latent.expected_bits / 8 for latent in (head.report.before, head.report.latent))
        print(f"bytes of information: {before:.0f}, defended {after:.0f}", file=sys.stderr)
    _print_times(head.report)


def _defence(options: argparse.Namespace) -> Defence | None:
    """How to defend, or None; a usage error when it is said how, but not that."""
    chosen = {name: value for name, value in vars(options).items() if name in ("mode", "weight")}
    if chosen and not options.defend:
        options.usage_error(f"--{next(iter(chosen))} says how to defend: add --defend")
    return Defence(**chosen) if options.defend else None


def _print_times(report: HeadReport) -> None:
    stages = ", ".join(f"{stage} {1e3 * seconds:.1f}" for stage, seconds in report.seconds.items())
    print(f"milliseconds (first frame, nothing warmed up): {stages}", file=sys.stderr)


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
    print(f"flags    {flags}")
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


if __name__ == "__main__":
    sys.exit(main())
