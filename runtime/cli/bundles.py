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
    report(_table(rows), {"bundles": rows}, options.json)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    """A header and a line a bundle, in columns within 80 characters; bytes are those of clean frames, and
    the budget is the one that a guard keeps."""
    cells = [("bundle", "id", "bytes: p50", "budget", "disk MB")]
    cells += [
        (
            row["name"],
            row["id"],
            f"{row['clean_bytes_p50']:.0f}",
            "none" if row["budget"] is None else f"{row['budget']}",
            f"{row['bundle_bytes'] / 1e6:.1f}",
        )
        for row in rows
    ]
    name, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    right = [[text.rjust(wide) for text, wide in zip(line[1:], others, strict=True)] for line in cells]
    return ["  ".join([line[0].ljust(name), *texts]) for line, texts in zip(cells, right, strict=True)]


def _row(name: str) -> dict[str, Any]:
    bundle = load(name)
    clean = dict(bundle.manifest.clean_bits)
    return {
        "name": name,
        "id": bundle.id.hex(),
        "clean_bytes_p50": clean[0.5] / 8,
        "clean_bytes_p99": clean[0.99] / 8,
        "budget": bundle.manifest.budget,
        "bundle_bytes": sum(entry.bytes for entry in bundle.manifest.files.values()),
    }
