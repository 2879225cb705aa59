"""Encode images as packets, decode packets, serve them and send them."""

from __future__ import annotations

import argparse
import sys

from runtime.cli import packets, serve, stream, tensorrt
from runtime.errors import RateholdError


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
    packets.add_parsers(commands)
    serve.add_parser(commands)
    stream.add_parser(commands)
    tensorrt.add_parser(commands)
    return parser
