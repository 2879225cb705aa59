"""``ratehold health``: whether a tail server takes requests, as a container's health check asks."""

from __future__ import annotations

import argparse
import http.client
import threading
from pathlib import Path

from runtime.errors import ServingError
from runtime.streaming.remote.address import FORM, Address
from runtime.streaming.remote.attempts import first_connected

PATH = "/v2/health/ready"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subcommand's parser."""
    parser.description = (
        "Ask a server of the Open Inference Protocol whether it takes requests. Exit status 0: it does; "
        "1: it does not, and the line says why."
    )
    parser.add_argument("--to", default="127.0.0.1", metavar=FORM, help="the server")
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="longest wait for each step"
    )
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="authority of the server's certificate")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate to show the server")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key")
    parser.set_defaults(run=_health)


def ask(address: Address) -> None:
    """Return where a server takes requests. Raises ServingError, which says why it does not."""
    never = threading.Event()
    try:
        plain, _ = first_connected(address.resolve(), address.timeout, never)
        with address.secure(plain, never) as secured:
            connection = http.client.HTTPConnection(address.name, address.port)
            connection.sock = secured
            connection.request("GET", PATH)
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        told = str(error) or type(error).__name__
        raise ServingError(f"{address.url} does not answer: {told}; is `ratehold serve` running?") from error
    if status == 503:
        raise ServingError(f"{address.url} takes no requests: it is about to stop, or has no worker")
    if status != 200:
        raise ServingError(f"{address.url} answers {PATH} with {status}: not a tail server?")


def _health(options: argparse.Namespace) -> None:
    if not options.timeout > 0:
        raise ServingError(f"--timeout must be above 0, not {options.timeout:g}")
    address = Address.of(options.to, options.timeout, options.tls_ca, options.tls_cert, options.tls_key)
    ask(address)
    print(f"{address.url} takes requests")
