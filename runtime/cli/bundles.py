"""``ratehold bundles``: the installed bundles, with their bytes for ordinary frames."""

from __future__ import annotations

import argparse
from typing import Any

from runtime.bundle import installed, load
from runtime.cli.files import add_json, report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subcommand's parser."""
    add_json(parser)
    parser.set_defaults(run=_bundles)


def _bundles(options: argparse.Namespace) -> None:
    rows = [_row(name) for name in installed()]
    lines = [
        f"{row['name']}  id {row['id']}  clean frames: median {row['clean_bytes_p50']:.0f} bytes, "
        f"99 % below {row['clean_bytes_p99']:.0f}  ({row['bundle_bytes'] / 1e6:.1f} MB)"
        for row in rows
    ]
    report(lines, {"bundles": rows}, options.json)


def _row(name: str) -> dict[str, Any]:
    bundle = load(name)
    clean = dict(bundle.manifest.clean_bits)
    return {
        "name": name,
        "id": bundle.id.hex(),
        "clean_bytes_p50": clean[0.5] / 8,
        "clean_bytes_p99": clean[0.99] / 8,
        "bundle_bytes": sum(entry.bytes for entry in bundle.manifest.files.values()),
    }
