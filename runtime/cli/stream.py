"""``ratehold stream``: the arguments. The client is imported when it is about to start."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from runtime.bundle import DEFAULT, load
from runtime.cli.guard_options import add_guard, guard_of
from runtime.cli.program import keep
from runtime.errors import StreamError
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming.buffer import POLICIES, Buffer
from runtime.streaming.spool import Encoded
from runtime.streaming.status import Status
from runtime.streaming.window import MOST


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subcommand's parser; the guard's options are those of ``encode``."""
    parser.description = "Encode frames and send them to a tail server; a JSON line for each goes to stdout."
    parser.set_defaults(run=_stream)
    parser.add_argument("--source", required=True, help="folder, image, video, camera, or gst:PIPELINE")
    parser.add_argument("--to", required=True, metavar="[http[s]://]HOST[:PORT]", help="the server")
    parser.add_argument(
        "--model", default="ratehold",
        help="name of the server's model that takes packets; `split` in a Triton repository",
    )  # fmt: skip
    parser.add_argument("--bundle", default=DEFAULT, metavar="NAME", help="installed name or folder")
    parser.add_argument(
        "--fps", type=float, metavar="N",
        help="most frames a second (default: as many as the source and the link take)",
    )  # fmt: skip
    parser.add_argument(
        "--policy", choices=POLICIES, default="block",
        help="where the link is slower than the source: wait for it, drop the oldest frame, or shrink frames",
    )  # fmt: skip
    parser.add_argument(
        "--buffer", type=int, default=4, metavar="FRAMES", help="encoded frames that may wait for the link"
    )
    parser.add_argument(
        "--in-flight", type=int, default=MOST, metavar="FRAMES",
        help="most frames that are sent and not yet answered; the link decides how many of them",
    )  # fmt: skip
    parser.add_argument(
        "--spool", type=Path, metavar="DIR",
        help="keep frames there until they are answered, so that they outlive this process "
        "(default: in memory only)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS",
        help="connect again where an answer takes longer",
    )  # fmt: skip
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="append JSON lines to it (default: standard output)"
    )
    parser.add_argument(
        "--dashboard", type=int, metavar="PORT",
        help="show the frames on a page, at http://127.0.0.1:PORT/dashboard (0: any free port)",
    )  # fmt: skip
    add_guard(parser).add_argument(
        "--hold", type=int, default=0, metavar="FRAMES",
        help="ordinary frames to defend after a suspicious one; needs --guard auto",
    )  # fmt: skip
    tls = parser.add_argument_group("TLS", "PEM files.")
    tls.add_argument(
        "--tls-ca", type=Path, metavar="FILE",
        help="authority of the server's certificate (default: the system's)",
    )  # fmt: skip
    tls.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate of this client")
    tls.add_argument("--tls-key", type=Path, metavar="FILE", help="its key")


def _stream(given: argparse.Namespace) -> None:
    from runtime.dashboard.listener import Listener
    from runtime.streaming.connection import Address, Connection
    from runtime.streaming.dashboard import DeviceView
    from runtime.streaming.pipeline import StreamPipeline
    from runtime.streaming.sender import Sender
    from runtime.streaming.source import paced, shots
    from runtime.streaming.spool import Spool

    guard = guard_of(given)
    positive = (given.buffer, given.in_flight, given.timeout, 1.0 if given.fps is None else given.fps)
    if not all(value > 0 for value in positive):
        raise StreamError("--buffer, --in-flight, --timeout and --fps must be above 0")
    address = Address.of(given.to, given.timeout, given.tls_ca, given.tls_cert, given.tls_key)
    frames = paced(shots(given.source), given.fps)
    head = Head(load(given.bundle), guard=guard)
    head.warm_up()
    spool = Spool(given.spool) if given.spool else None
    if spool is not None:
        keep(f"unanswered frames are kept in {given.spool}")
    status = Status()
    senders = [Sender(Connection(address, given.model), status.trouble) for _ in range(given.in_flight)]
    buffer: Buffer[Encoded] = Buffer(given.buffer, given.policy)
    view = DeviceView(head.bundle, guard) if given.dashboard is not None else None
    page = Listener(given.dashboard, view.state) if view else None
    if page is not None:
        print(f"ratehold: {page.url}", file=sys.stderr, flush=True)
    log = JsonLog(given.log or 1)
    pipeline = StreamPipeline(frames, head, senders, buffer, log, spool, status.trouble, view)
    try:
        pipeline.run(status.progress)
    finally:
        log.close()
        if page is not None:
            page.close()
        if spool is not None:
            spool.close()
        status.end(pipeline.totals, log.lost)
    if pipeline.totals.refused:
        raise StreamError(f"the server refused {pipeline.totals.refused} frames; the log says why")
