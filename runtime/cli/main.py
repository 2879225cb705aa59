"""The command ``ratehold``. It imports what a subcommand needs when that subcommand was typed."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass

from runtime import __version__
from runtime.cli import programs
from runtime.cli.parser import Parser
from runtime.cli.program import run

ABOUT = "Encode images as packets that keep their size under attack, decode packets, serve and stream them."
EXPORT = programs.Program("export.__main__", "build, calibrate and fit bundles; needs torch")
SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True)
class Command:
    """A subcommand.

    module: imported when the subcommand was typed.
    summary: its line in ``ratehold --help``.
    filled_by: the module's function that fills the subcommand's parser.
    """

    module: str
    summary: str
    filled_by: str = "add_arguments"

    def fill(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments; this imports what the subcommand needs."""
        getattr(importlib.import_module(self.module), self.filled_by)(parser)


COMMANDS = {
    "encode": Command("runtime.cli.encode", "an image -> a packet"),
    "decode": Command("runtime.cli.packets", "a packet -> the likeliest classes, or boxes", "add_decode"),
    "inspect": Command("runtime.cli.packets", "a packet's header, and its bytes by stream", "add_inspect"),
    "bundles": Command("runtime.cli.bundles", "the installed bundles, and the bytes of their clean frames"),
    "serve": Command("runtime.cli.serve", "decode packets for others, over HTTP and gRPC"),
    "health": Command("runtime.cli.deploy.health", "whether a tail server takes requests"),
    "stream": Command("runtime.cli.stream", "frames of a folder, a video or a camera -> a tail server"),
    "warm-up": Command("runtime.cli.ahead", "compile all kernels ahead, as for an image", "add_warm_up"),
    "tensorrt": Command("runtime.cli.ahead", "build a bundle's TensorRT plans ahead, on the board"),
    "wheelhouse": Command("runtime.cli.deploy.wheelhouse", "wheels of a board that has no network"),
    "check": Command("runtime.cli.check", "what a Jetson has and lacks for ratehold"),
}


def main(arguments: list[str] | None = None, prog: str = "ratehold") -> int:
    """Run one command; returns the exit status (``runtime.cli.program`` lists them).

    prog: what the user typed to get here, for usage and messages.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["export"]:
        return run(lambda: EXPORT.start(words[1:]), f"{prog} export")
    if words[:1] == ["bench"] and len(words) > 1 and words[1] in (benches := programs.found()):
        return run(lambda: benches[words[1]].start(words[2:]), f"{prog} bench {words[1]}")
    return run(
        lambda: _run(words, prog), f"{prog} {words[0]}" if words[:1] and words[0] in COMMANDS else prog
    )


def _run(words: list[str], prog: str) -> int:
    options = _parser(prog, [word for word in words if word in COMMANDS][:1]).parse_args(words)
    return int(options.run(options) or 0)


def _parser(prog: str, filled: list[str]) -> Parser:
    """The parser, with the arguments of those subcommands that are named in ``filled``."""
    parser = Parser(prog=prog, description=ABOUT)
    parser.add_argument("--version", action="version", version=f"ratehold {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        described = f"{command.summary[0].upper()}{command.summary[1:]}."
        added = commands.add_parser(name, help=command.summary, description=described)
        if name in filled:
            command.fill(added)
    bench = commands.add_parser(
        "bench", help="measure latency, accuracy, resilience, ...",
        description="Run a benchmark; `NAME --help` explains its options.",
    )  # fmt: skip
    names = bench.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, program in programs.found().items():
        names.add_parser(name, help=program.summary.replace("%", "%%"), add_help=False)
    commands.add_parser("export", help=EXPORT.summary, add_help=False)
    completion = commands.add_parser(
        "completion", help="print a completion script for a shell",
        description="Print a completion script. bash: `source <(ratehold completion bash)`; "
        "zsh: write it to a file `_ratehold` on $fpath; fish: `ratehold completion fish | source`.",
    )  # fmt: skip
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(run=_complete)
    return parser


def _complete(options: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(_parser("ratehold", list(COMMANDS)), options.shell))
