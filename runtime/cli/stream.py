"""``ratehold stream``: the arguments, signals and the exit status. The client is imported when it starts."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from runtime.bundle import DEFAULT, load
from runtime.cli.guard_options import add_guard, guard_of
from runtime.cli.program import keep
from runtime.errors import StreamError
from runtime.guard.decision import HOLD
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.service_manager import READY, ServiceManager
from runtime.streaming.buffer import POLICIES, Buffer
from runtime.streaming.spool import Encoded
from runtime.streaming.status import Status, Totals
from runtime.streaming.window import MOST

LIMITS = {
    "buffer": (1, 10_000), "in_flight": (1, 64), "timeout": (0.01, 3600.0), "fps": (1e-4, 1e4),
    "drain": (0.0, 3600.0), "dashboard": (0, 65_535),
}  # fmt: skip
"""The least and the most of options that are numbers."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subcommand's parser; the guard's options are those of ``encode``."""
    parser.description = (
        "Encode frames and send them to a tail server; a JSON line for each goes to stdout. Ctrl-C and "
        "SIGTERM end it in order; exit status 0: every frame that can be read is answered, or kept in the "
        "spool, and not all of them are unreadable."
    )
    parser.set_defaults(run=_stream)
    parser.add_argument("--source", required=True, help="folder, image, video, camera, or gst:PIPELINE")
    parser.add_argument(
        "--to", required=True, metavar="[http[s]://]HOST[:PORT],...",
        help="the server; of several, or of a name with several records, the next is asked where one fails",
    )  # fmt: skip
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
        help="longest wait for a connection, and for an answer; then it is tried again",
    )  # fmt: skip
    parser.add_argument(
        "--drain", type=float, default=5.0, metavar="SECONDS",
        help="after Ctrl-C or SIGTERM, still send captured frames for so long; a second one ends at once",
    )  # fmt: skip
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="append JSON lines to it (default: standard output)"
    )
    parser.add_argument(
        "--dashboard", type=int, metavar="PORT",
        help="show the frames on a page, at http://127.0.0.1:PORT/dashboard (0: any free port)",
    )  # fmt: skip
    add_guard(parser).add_argument(
        "--hold", type=int, metavar="FRAMES",
        help="frames to defend after a suspicious one without looking at them; needs --guard auto "
        f"(default: {HOLD})",
    )  # fmt: skip
    tls = parser.add_argument_group("TLS", "PEM files.")
    tls.add_argument(
        "--tls-ca", type=Path, metavar="FILE",
        help="authority of the server's certificate (default: the system's)",
    )  # fmt: skip
    tls.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate of this client")
    tls.add_argument("--tls-key", type=Path, metavar="FILE", help="its key")


def _stream(given: argparse.Namespace) -> None:
    with _on_signals(_interrupt):
        _check(given)
        _open_and_run(given)


def _open_and_run(given: argparse.Namespace) -> None:
    from runtime.dashboard.listener import Listener
    from runtime.streaming.connection import Connection
    from runtime.streaming.dashboard import DeviceView
    from runtime.streaming.pipeline import StreamPipeline
    from runtime.streaming.remote.fleet import Fleet
    from runtime.streaming.sender import Ending, Sender
    from runtime.streaming.source import paced, shots
    from runtime.streaming.spool import Spool

    guard, ending, status = guard_of(given), Ending(), Status()
    fleet = Fleet.of(given.to, given.timeout, given.tls_ca, given.tls_cert, given.tls_key)
    frames = paced(shots(given.source, wait=ending.soon.wait), given.fps, ending.soon.wait)
    for address in fleet.addresses:
        _say_unless_resolved(address.resolve, status.say)
    head = Head(load(given.bundle), guard=guard)
    head.warm_up()

    def trouble(text: str) -> None:
        status.trouble(f"{fleet.url}: {text}")

    senders = [
        Sender(Connection(fleet, given.model, ending.now, head.bundle.task), trouble, ended=ending.now)
        for _ in range(given.in_flight)
    ]
    buffer: Buffer[Encoded] = Buffer(given.buffer, given.policy)
    with contextlib.ExitStack() as closing:
        spool = Spool(given.spool, status.say) if given.spool else None
        if spool is not None:
            keep(f"unanswered frames are kept in {given.spool}")
            closing.callback(spool.close)
        view = DeviceView(head.bundle, guard) if given.dashboard is not None else None
        if view is not None:
            page = Listener(given.dashboard, view.state)
            closing.callback(page.close)
            status.say(page.url)
        log = JsonLog(given.log or 1)
        closing.callback(log.close)
        pipeline = StreamPipeline(
            frames, head, senders, buffer, log, spool, status.trouble, view, ending, given.drain
        )
        fleet.moved = pipeline.moved
        failed = True
        try:
            with _on_signals(lambda *_: pipeline.stop()):
                ServiceManager().tell(READY)
                pipeline.run(status.progress)
            failed = _lost(pipeline.totals) > 0 or _blind(pipeline.totals)
        finally:
            log.close()
            status.end(pipeline.totals, log.lost)
            if pipeline.totals.kept:
                kept = f"unanswered frames are kept in {given.spool}"
                status.say(f"stopped; {kept}: the same command goes on from there")
            if pipeline.stuck:
                status.say("the source does not return: it is left alone")
                atexit.register(_leave, int(failed))
    totals = pipeline.totals
    if totals.refused:
        raise StreamError(f"the server refused {totals.refused} frames; the log says why")
    if _blind(totals):
        raise StreamError(f"none of {totals.captured} captured frames can be read; the log says why")
    if failed:
        cure = "; --spool DIR keeps frames that wait" if totals.unanswered and not given.spool else ""
        told = f"{totals.dropped} were dropped, {totals.unanswered} waited"
        raise StreamError(f"{_lost(totals)} captured frames have no answer: {told}{cure}")


def _check(given: argparse.Namespace) -> None:
    for name, (least, most) in LIMITS.items():
        value = getattr(given, name)
        if value is not None and not least <= value <= most:
            option = name.replace("_", "-")
            raise StreamError(f"--{option} must be from {least:g} to {most:g}, not {value:g}")
    if given.log is None and sys.stdout is None:  # another file would have its number
        raise StreamError("standard output is closed: --log FILE takes the lines")


def _lost(totals: Totals) -> int:
    return totals.refused + totals.dropped + totals.unanswered


def _blind(totals: Totals) -> bool:
    """Whether frames were captured, and none could be read: a source of another format, or a broken one."""
    return totals.unreadable == totals.captured > 0


def _say_unless_resolved(resolve: Callable[[], object], say: Callable[[str], None]) -> None:
    """Look the server's name up beside all else: a name server that is away takes its time."""

    def look() -> None:
        try:
            resolve()
        except OSError as error:
            say(f"{error}; trying again until it does")

    threading.Thread(target=look, name="resolve", daemon=True).start()


@contextlib.contextmanager
def _on_signals(handler: Callable[..., None]) -> Iterator[None]:
    """Handle SIGINT, unless a shell ignores it for us, and SIGTERM; as process 1 we would get neither."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    chosen = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in chosen}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _leave(status: int) -> None:
    """End though a thread is inside a library: it would abort when the interpreter has ended."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    os._exit(status)
