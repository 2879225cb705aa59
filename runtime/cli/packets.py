"""``ratehold decode`` and ``ratehold inspect``: what a packet says, and what is in it."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from runtime.bundle import Bundle, installed, load
from runtime.cli.files import add_json, completes_files, read_bytes, report
from runtime.codec.packet import Packet
from runtime.errors import BundleError
from runtime.tail import Tail, max_payload


def add_decode(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of ``decode``."""
    _add_packet(parser)
    parser.set_defaults(run=_decode)


def add_inspect(parser: argparse.ArgumentParser) -> None:
    """Fill the parser of ``inspect``."""
    _add_packet(parser)
    parser.set_defaults(run=_inspect)


def _add_packet(parser: argparse.ArgumentParser) -> None:
    packet = parser.add_argument(
        "packet",
        metavar="PACKET",
        nargs="?",
        default="-",
        help="a packet (-, or left out: standard input)",
    )
    completes_files(packet)
    parser.add_argument(
        "--bundle",
        metavar="NAME",
        help="installed name or folder (default: the installed one of the packet's id)",
    )
    add_json(parser)


def _decode(options: argparse.Namespace) -> None:
    data = read_bytes(options.packet)
    bundle = _bundle_of(data, options.bundle)
    task, labels = bundle.task, bundle.labels()
    answer = task.answer(Tail(bundle).decode(data), task.brief)
    about = {"packet": options.packet, "bundle": bundle.manifest.name, "bytes": len(data)}
    report(task.lines(answer, labels), about | {task.plural: task.records(answer, labels)}, options.json)


def _inspect(options: argparse.Namespace) -> None:
    data = read_bytes(options.packet)
    bundle = _bundle_of(data, options.bundle)
    streams = Tail(bundle).read(data)
    packet = Packet.from_bytes(data, max_payload(bundle))
    payload = len(packet.payload)
    found: list[dict[str, Any]] = [
        {
            "name": stream.name,
            "shape": list(bundle.manifest.latent if stream.name == "y" else bundle.manifest.hyper or ()),
            "information_bits": float(stream.information_bits().sum(dtype=np.float64)),
            "zeros": float((stream.symbols == 0).mean()),
        }
        for stream in streams
    ]
    flags = packet.flags.name or "NONE"
    total = sum(stream["information_bits"] for stream in found)
    lines = [
        f"bundle   {bundle.manifest.name} ({packet.bundle_id.hex()})",
        f"flags    {flags}, coarseness {packet.coarseness}",
        f"packet   {len(data)} bytes: header and CRC {len(data) - payload}, payload {payload}",
        *(
            f"{s['name']}        {s['information_bits'] / 8:.1f} bytes of information, "
            f"shape {tuple(s['shape'])}, {100 * s['zeros']:.1f} % zeros"
            for s in found
        ),
        f"payload  {payload} bytes for {total / 8:.1f} bytes of information",
    ]
    result = {
        "packet": options.packet,
        "bundle": bundle.manifest.name,
        "bundle_id": packet.bundle_id.hex(),
        "flags": [] if flags == "NONE" else flags.split("|"),
        "coarseness": packet.coarseness,
        "bytes": len(data),
        "payload_bytes": payload,
        "streams": found,
    }
    report(lines, result, options.json)


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
