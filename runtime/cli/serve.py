"""``python -m runtime serve``: the arguments. The server itself is imported when it is asked for."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from runtime.bundle import installed
from runtime.errors import ServingError
from runtime.json_log import JsonLog
from runtime.serving.options import Certificates, Options


def add_parser(commands: Any) -> None:
    """Add ``serve`` to the subcommands of ``python -m runtime``."""
    serve = commands.add_parser(
        "serve", help="decode packets for others, over HTTP and gRPC",
        description="A tail server: Open Inference Protocol v2 over HTTP and gRPC, Prometheus at /metrics.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )  # fmt: skip
    serve.set_defaults(run=_serve)
    serve.add_argument(
        "--bundle", action="append", default=argparse.SUPPRESS,
        help="installed name or folder, again for more (default: all that are installed)",
    )  # fmt: skip
    serve.add_argument("--host", default=Options.host, help="where to listen")
    serve.add_argument("--http-port", type=int, default=Options.http_port, help="0: any that is free")
    serve.add_argument("--grpc-port", type=int, default=Options.grpc_port, help="0: any that is free")
    serve.add_argument(
        "--workers", type=int, default=cores(), help="packets decoded at a time, one thread each"
    )
    serve.add_argument("--queue", type=int, default=Options.queue, help="packets that may wait for a worker")
    serve.add_argument(
        "--batch", type=int, default=Options.batch, metavar="N",
        help="most frames in one run of the tail, of those that wait at the same time",
    )  # fmt: skip
    serve.add_argument(
        "--batch-wait", type=float, default=1e3 * Options.batch_wait, metavar="MS",
        help="that a frame waits for others at most (0: only what is there is taken together)",
    )  # fmt: skip
    serve.add_argument(
        "--timeout", type=float, default=Options.timeout, metavar="SECONDS", help="of one request"
    )
    serve.add_argument(
        "--drain", type=float, default=Options.drain, metavar="SECONDS",
        help="that SIGTERM leaves to accepted requests",
    )  # fmt: skip
    for option, text in (
        ("--tls-cert", "certificate chain of the server, PEM"),
        ("--tls-key", "its key, PEM"),
        ("--tls-client-ca", "clients must show a certificate of this authority, PEM"),
        ("--log", "JSON lines are appended to it (default: standard error)"),
    ):
        serve.add_argument(option, type=Path, default=argparse.SUPPRESS, metavar="FILE", help=text)
    serve.add_argument(
        "--dashboard",
        action="store_true",
        help="a page that shows the frames, at /dashboard of the HTTP port",
    )
    serve.add_argument(
        "--otel", action="store_true", help="a span of OpenTelemetry for each frame and each of its stages"
    )
    serve.add_argument(
        "--insecure",
        action="store_true",
        help="listen beyond this machine even without TLS: anybody can send",
    )


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _serve(given: argparse.Namespace) -> None:
    chosen = vars(given)
    options = Options(
        tuple(chosen.get("bundle", installed())), given.host, given.http_port, given.grpc_port,
        given.workers, given.queue, given.batch, given.batch_wait / 1e3, given.timeout, given.drain,
        certificates=_certificates(chosen), insecure=given.insecure, otel=given.otel,
        dashboard=given.dashboard,
    )  # fmt: skip
    try:
        from runtime.serving.server import run
    except ImportError as error:
        raise ServingError(f"serving needs more packages ({error}): pip install 'ratehold[serve]'") from error
    log = JsonLog(chosen.get("log", 2))
    try:
        run(options, log)
    finally:
        log.close()


def _certificates(chosen: dict[str, Any]) -> Certificates | None:
    names = [name for name in ("tls_cert", "tls_key", "tls_client_ca") if name in chosen]
    if not names:
        return None
    if "tls_cert" not in chosen or "tls_key" not in chosen:
        raise ServingError("TLS needs both --tls-cert and --tls-key")
    return Certificates(chosen["tls_cert"], chosen["tls_key"], chosen.get("tls_client_ca"))
