"""What the tail server sustains, and what it and its client survive.

    python -m bench.serve [--sections efficiency batching latency crowd memory hostile ...] [--json PATH]

``runtime serve`` runs in a process of its own, the load comes from this one, on the same cores.

efficiency  requests a second to closed-loop clients, and what bare tails in as many threads of this process
            decode, in turns. Both decode packets of the bundle and run its tail. The server also pays for
            the clients (``generator_cores``)
batching    restore and tail of 1, 2, 4 and 8 frames at a time, bare; and servers with that ``--batch``
            (``bench.serve.batching``)
latency     open loop at 70 % of what the server sustains just then, evenly spaced as cameras are: p99 since a
            request was due, over the p50 of single requests. The same for Poisson arrivals, where queues are
            longer. The control is bare tails at 70 % of what they sustain, over the p50 of one at a time: it
            shows what this machine leaves of any p99
crowd       open loop at 50 %, without and with 500 idle connections and 50 slow readers, in turns
memory      resident bytes over 100,000 requests, 15 of 20 hostile (``bench.serve.memory``)
hostile     2,000 unfinished bodies and 5 x 1,000 unfinished gRPC streams; four clients with bombs of JSON; of
            protobuf: growth of resident bytes, and the p99 of honest clients over that before and after
            (``bench.serve.hostile``); ``--crowds`` takes some of them
outage      clients at 5 frames a second, server away for a minute (``bench.serve.kills``)
kills       ``kill -9`` of server and client in turns, 1 % loss emulated: frames lost, and answered twice
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from bench.common import bundle_options, report
from bench.common import options as options_of
from bench.common.bars import print_bars
from bench.common.photos import photos
from bench.serve.hostile import CROWDS
from bench.serve.process import serving
from bench.serve.sections import ABOUT, SECTIONS, Row, ServeCase, summarise
from bench.serve.tables import show
from runtime.bundle import load
from runtime.cli.program import program
from runtime.engines import EngineOptions
from runtime.head import Head

PHOTOS = 8
SETTINGS = (
    "bundle",
    "sections",
    "crowds",
    "workers",
    "rounds",
    "seconds",
    "requests",
    "held",
    "down",
    "kills",
)

progress = Console(stderr=True)


@program("bench.serve")
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 with a message."""
    options = _parser().parse_args(arguments)
    rows: list[Row] = []
    for row in _measure(options):
        rows.append(row)
        if options.json != "-":  # what ends a long run costs no row that it had; the summary comes last
            report.write(options.json, "serve", options_of.chosen(options, *SETTINGS), rows, {})
    summary, console = summarise(rows), bundle_options.console(options)
    show(rows, summary, console)
    print_bars("serve", summary, options, console)
    report.write(options.json, "serve", options_of.chosen(options, *SETTINGS), rows, summary)
    return 0


def _measure(options: argparse.Namespace) -> Iterator[Row]:
    bundle = load(options.bundle)
    images = [bundle.manifest.preprocess.square(image) for _, image in photos()[:PHOTOS]]
    head = Head(bundle, EngineOptions(threads=1))
    packets = [head.encode(image).to_bytes() for image in images]
    with serving([bundle], options.workers) as server, tempfile.TemporaryDirectory() as folder:
        case = ServeCase(server, bundle, images, packets, Path(folder), options)
        for name in options.sections:
            progress.print(f"{name} ...", highlight=False)
            yield from SECTIONS[name](case)


def _parser() -> argparse.ArgumentParser:
    parser = options_of.parser("bench.serve", __doc__)
    parser.epilog = "sections:\n" + "\n".join(f"  {name:<12}{ABOUT[name]}" for name in SECTIONS)
    add, positive = parser.add_argument, options_of.positive
    bundle_options.add_bundle(parser)
    add(
        "--sections", nargs="+", metavar="NAME", choices=SECTIONS, default=list(SECTIONS),
        help="what is measured",
    )  # fmt: skip
    add(
        "--workers", type=positive, metavar="N", default=2,
        help="workers of the server, and threads of the bare tails",
    )  # fmt: skip
    add("--rounds", type=positive, metavar="N", default=5, help="rounds of each section")
    add("--seconds", type=float, default=5.0, help="length of each turn of a round")
    add("--requests", type=positive, metavar="N", default=100_000, help="requests of the section memory")
    add("--held", type=float, default=60.0, metavar="SECONDS", help="length of each crowd of hostile")
    add(
        "--crowds", nargs="+", metavar="NAME", choices=CROWDS, default=list(CROWDS),
        help="crowds of hostile: unfinished, json, protobuf",
    )  # fmt: skip
    add("--down", type=float, default=60.0, metavar="SECONDS", help="length of the outage")
    add("--kills", type=positive, metavar="N", default=100, help="kills of each side")
    options_of.add_bars(parser)
    options_of.add_json(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
