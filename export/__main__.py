"""Calibrate, train and write bundles. Results go to stdout, progress to stderr."""

from __future__ import annotations

import argparse
import sys

from export.cli import calibrate, deploy, finetune, paper, robust
from runtime.cli import tensorrt
from runtime.errors import RateholdError


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status: 0, or 1 with a message on stderr."""
    typed = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(typed, argparse.Namespace(typed=typed))
    try:
        if options.threads:
            import torch

            torch.set_num_threads(options.threads)
        options.run(options)
    except (RateholdError, OSError) as error:
        print(f"ratehold: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(title="subcommands", dest="command", required=True, metavar="SUBCOMMAND")
    calibrate.add_parsers(commands)
    finetune.add_parser(commands)
    robust.add_parsers(commands)
    paper.add_parser(commands)
    deploy.add_parsers(commands)
    tensorrt.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
