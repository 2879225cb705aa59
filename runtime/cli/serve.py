"""``ratehold serve``: the arguments. The server itself is imported when it is about to start."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from runtime.bundle import installed
from runtime.errors import ServingError
from runtime.json_log import JsonLog
from runtime.serving.options import Certificates, Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subcommand's parser."""
    parser.description = (
        "A tail server: Open Inference Protocol v2 over HTTP and gRPC, Prometheus at /metrics."
    )
    parser.set_defaults(run=_serve)
    parser.add_argument(
        "--bundle", nargs="+", action="extend", metavar="NAME",
        help="installed names or folders (default: all installed bundles)",
    )  # fmt: skip
    parser.add_argument(
        "--on", choices=("own", "kserve", "ray"), default="own",
        help="whose server carries the requests: ratehold's, KServe's or Ray's (extras kserve, ray)",
    )  # fmt: skip
    parser.add_argument(
        "--replicas", type=_replicas, default=1, metavar="N", help="with --on ray: replicas, or auto"
    )
    parser.add_argument(
        "--ray-address", metavar="ADDRESS", help="with --on ray: of a cluster's head (default: this machine)"
    )
    parser.add_argument("--host", default=Options.host, help="address to listen on")
    parser.add_argument(
        "--http-port",
        type=int,
        default=Options.http_port,
        metavar="PORT",
        help="port of HTTP (0: any free one)",
    )
    parser.add_argument(
        "--grpc-port",
        type=int,
        default=Options.grpc_port,
        metavar="PORT",
        help="port of gRPC (0: any free one)",
    )
    parser.add_argument(
        "--workers", type=int, default=cores(), metavar="N", help="packets decoded at a time, one thread each"
    )
    parser.add_argument(
        "--queue", type=int, default=Options.queue, metavar="N", help="packets that may wait for a worker"
    )
    parser.add_argument(
        "--batch", type=int, default=Options.batch, metavar="N",
        help="most frames in one run of the tail, of those that wait at the same time",
    )  # fmt: skip
    parser.add_argument(
        "--batch-wait", type=float, default=1e3 * Options.batch_wait, metavar="MS",
        help="longest time that a frame waits for others to share its run (0: it does not wait)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout",
        type=float,
        default=Options.timeout,
        metavar="SECONDS",
        help="longest time of one request",
    )
    parser.add_argument(
        "--drain", type=float, default=Options.drain, metavar="SECONDS",
        help="time that SIGTERM or Ctrl-C leaves to accepted requests",
    )  # fmt: skip
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="append JSON lines to it (default: standard error)"
    )
    parser.add_argument(
        "--dashboard", action="store_true", help="show the frames on a page, at /dashboard of the HTTP port"
    )
    parser.add_argument(
        "--otel", action="store_true", help="an OpenTelemetry span for each frame and each of its stages"
    )
    _add_tls(parser.add_argument_group("TLS", "PEM files; without them the server listens on loopback only."))


def _add_tls(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate chain of the server")
    group.add_argument("--tls-key", type=Path, metavar="FILE", help="its key")
    group.add_argument(
        "--tls-client-ca", type=Path, metavar="FILE",
        help="authority whose certificate every client must show",
    )  # fmt: skip
    group.add_argument(
        "--insecure", action="store_true", help="listen beyond this machine without TLS: anybody can send"
    )


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _serve(given: argparse.Namespace) -> None:
    options = Options(
        tuple(given.bundle or installed()), given.host, given.http_port, given.grpc_port,
        given.workers, given.queue, given.batch, given.batch_wait / 1e3, given.timeout, given.drain,
        certificates=_certificates(given), insecure=given.insecure, otel=given.otel,
        dashboard=given.dashboard,
    )  # fmt: skip
    log = JsonLog(given.log or 2)
    try:
        _run(options, log, given)
    finally:
        log.close()


def _run(options: Options, log: JsonLog, given: argparse.Namespace) -> None:
    if given.on == "kserve":
        from runtime.serving.adapters.kserve import run as on_kserve

        on_kserve(options, log)
    elif given.on == "ray":
        from runtime.serving.adapters.ray_serve import run as on_ray

        on_ray(options, log, given.replicas, given.ray_address)
    else:
        from runtime.serving.server import run

        run(options, log)


def _replicas(text: str) -> int | str:
    if text == "auto":
        return text
    if not (text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError("a number of replicas above 0, or auto")
    return int(text)


def _certificates(given: argparse.Namespace) -> Certificates | None:
    if not (given.tls_cert or given.tls_key or given.tls_client_ca):
        return None
    if not (given.tls_cert and given.tls_key):
        raise ServingError("TLS needs both --tls-cert and --tls-key")
    return Certificates(given.tls_cert, given.tls_key, given.tls_client_ca)
