"""Calibrate, train and write bundles. Results go to stdout, progress to stderr."""

from __future__ import annotations

import argparse
import sys

from export.cli import calibrate, deploy, finetune, paper, robust, weights
from runtime.cli import ahead
from runtime.cli.parser import Parser
from runtime.cli.program import keep, prog, program

RESUMED = ("calibrate", "build", "finetune", "adapt")
"""Subcommands that find in their output folder what an earlier run has finished."""


@program("export")
def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status (``runtime.cli.program`` lists them)."""
    typed = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(typed, argparse.Namespace(typed=typed))
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    if options.command in RESUMED:
        keep(f"finished steps are kept in {options.output}")
    options.run(options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=prog("export"), description=__doc__)
    commands = parser.add_subparsers(title="subcommands", dest="command", required=True, metavar="SUBCOMMAND")
    calibrate.add_parsers(commands)
    finetune.add_parser(commands)
    robust.add_parsers(commands)
    paper.add_parser(commands)
    weights.add_parser(commands)
    deploy.add_parsers(commands)
    ahead.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
