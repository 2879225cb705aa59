"""``python -m runtime stream``: the arguments. What sends is imported when it is asked for."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from runtime.bundle import DEFAULT, load
from runtime.cli.guard_options import add_guard, guard_of
from runtime.errors import StreamError
from runtime.guard import Guard
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming.buffer import POLICIES, Buffer
from runtime.streaming.spool import Encoded
from runtime.streaming.status import Status
from runtime.streaming.window import MOST


def add_parser(commands: Any) -> None:
    """Add ``stream``, with the guard's options of ``encode``."""
    stream = commands.add_parser(
        "stream", help="frames of a folder, a video or a camera -> a tail server",
        description="Encode frames and send them to a tail server; a JSON line for each goes to stdout.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    stream.set_defaults(run=lambda given: _stream(given, guard_of(given)))
    stream.add_argument("--source", required=True, help="folder, image, video, camera, or gst:PIPELINE")
    stream.add_argument("--to", required=True, metavar="[http[s]://]HOST[:PORT]", help="the server")
    stream.add_argument(
        "--model", default="ratehold", help="that takes the packets there; of a Triton repository: split"
    )
    stream.add_argument("--bundle", default=DEFAULT, help="installed name or folder")
    stream.add_argument(
        "--fps", type=float, default=argparse.SUPPRESS,
        help="most frames a second (default: as many as the source and the link take)",
    )  # fmt: skip
    stream.add_argument(
        "--policy", choices=POLICIES, default="block",
        help="when the link is slower than the source: wait for it, send what is fresh, or less a frame",
    )  # fmt: skip
    stream.add_argument("--buffer", type=int, default=4, metavar="FRAMES", help="that wait to be sent")
    stream.add_argument(
        "--in-flight", type=int, default=MOST, metavar="FRAMES",
        help="that are sent and not yet answered, at most; as many of them as the link takes",
    )  # fmt: skip
    stream.add_argument(
        "--spool", type=Path, default=argparse.SUPPRESS, metavar="DIR",
        help="keep frames there until they are answered: they outlive this process (default: they do not)",
    )  # fmt: skip
    stream.add_argument(
        "--hold", type=int, default=0, metavar="FRAMES",
        help="defend so many calm frames after a suspicious one; needs --guard auto",
    )  # fmt: skip
    stream.add_argument(
        "--dashboard", type=int, default=argparse.SUPPRESS, metavar="PORT",
        help="a page that shows the frames, at http://127.0.0.1:PORT/dashboard (0: any port that is free)",
    )  # fmt: skip
    stream.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="without an answer: connect anew"
    )
    for option, text in (
        ("--tls-ca", "authority of the server's certificate, PEM (default: the system's)"),
        ("--tls-cert", "certificate of this client, PEM"),
        ("--tls-key", "its key, PEM"),
        ("--log", "JSON lines are appended to it (default: standard output)"),
    ):
        stream.add_argument(option, type=Path, default=argparse.SUPPRESS, metavar="FILE", help=text)
    add_guard(stream)


def _stream(given: argparse.Namespace, guard: Guard) -> None:
    from runtime.dashboard.listener import Listener
    from runtime.streaming.connection import Address, Connection
    from runtime.streaming.dashboard import DeviceView
    from runtime.streaming.pipeline import StreamPipeline
    from runtime.streaming.sender import Sender
    from runtime.streaming.source import paced, shots
    from runtime.streaming.spool import Spool

    chosen = vars(given)
    fps = chosen.get("fps")
    positive = (given.buffer, given.in_flight, given.timeout, 1.0 if fps is None else fps)
    if not all(value > 0 for value in positive):
        raise StreamError("--buffer, --in-flight, --timeout and --fps must be above 0")
    address = Address.of(
        given.to, given.timeout, chosen.get("tls_ca"), chosen.get("tls_cert"), chosen.get("tls_key")
    )
    frames = paced(shots(given.source), fps)
    head = Head(load(given.bundle), guard=guard)
    head.warm_up()
    spool = Spool(chosen["spool"]) if "spool" in chosen else None
    status = Status()
    senders = [Sender(Connection(address, given.model), status.trouble) for _ in range(given.in_flight)]
    buffer: Buffer[Encoded] = Buffer(given.buffer, given.policy)
    view = DeviceView(head.bundle, guard) if "dashboard" in chosen else None
    page = Listener(chosen["dashboard"], view.state) if view else None
    if page is not None:
        print(f"ratehold: {page.url}", file=sys.stderr, flush=True)
    log = JsonLog(chosen.get("log", 1))
    pipeline = StreamPipeline(frames, head, senders, buffer, log, spool, status.trouble, view)
    try:
        pipeline.run(status.progress)
    except KeyboardInterrupt:
        pass
    finally:
        log.close()
        if page is not None:
            page.close()
        if spool is not None:
            spool.close()
        status.end(pipeline.totals, log.lost)
    if pipeline.totals.refused:
        raise StreamError(f"the server refused {pipeline.totals.refused} frames; the log says why")
