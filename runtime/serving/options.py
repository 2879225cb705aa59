"""The options of a server."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ServingError


@dataclass(frozen=True)
class Certificates:
    """PEM files for TLS: the server's certificate chain and its key.

    client_ca: clients must show a certificate of this authority; None: any client may connect.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True)
class Options:
    """How to serve. Raises ServingError for values that make no sense, or that let any machine in.

    bundles: installed names or folders.
    host: address to listen on. An address beyond loopback needs ``certificates`` or ``insecure``.
    http_port, grpc_port: 0 takes any free port.
    workers: packets that are decoded at a time, one thread each.
    queue: packets that may wait for a worker; a request beyond them is answered "try later".
    batch: most frames in one run of the tail.
    batch_wait: seconds that a frame waits at most for others to share its run.
    timeout: seconds for receiving a request, and again for answering it.
    drain: most seconds after SIGTERM for requests that have been accepted.
    remember: answers in memory, so that a repeated frame is counted once.
    otel: trace frames with OpenTelemetry.
    dashboard: serve a page that shows the frames.
    """

    bundles: tuple[str | Path, ...]
    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    workers: int = 1
    queue: int = 32
    batch: int = 4
    batch_wait: float = 0.0
    timeout: float = 10.0
    drain: float = 30.0
    remember: int = 4096
    certificates: Certificates | None = None
    insecure: bool = False
    otel: bool = False
    dashboard: bool = False

    def __post_init__(self) -> None:
        for name, least in (
            ("workers", 1),
            ("queue", 0),
            ("batch", 1),
            ("remember", self.workers + self.queue),
        ):
            if getattr(self, name) < least:
                raise ServingError(f"{name} must be {least} or more, not {getattr(self, name)}")
        if not (0 <= self.http_port < 1 << 16 and 0 <= self.grpc_port < 1 << 16):
            raise ServingError("a port is a number from 0 to 65535")
        if not (self.timeout > 0 and self.drain >= 0):
            raise ServingError("timeout and drain are seconds, and timeout is above 0")
        if not 0 <= self.batch_wait < self.timeout:
            raise ServingError(f"batch_wait must be from 0 to {self.timeout:g} s, the time-out of a request")
        if not self.bundles:
            raise ServingError("no bundle to serve: name one with --bundle")
        if self.certificates is None and not self.insecure and not is_loopback(self.host):
            raise ServingError(
                f"{self.host} can be reached from other machines: give --tls-cert and --tls-key "
                "(and --tls-client-ca to know the clients), or say --insecure"
            )


def is_loopback(host: str) -> bool:
    """Whether every address that a host name resolves to is reachable from this machine only."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        raise ServingError(f"{host}: not an address of this machine ({error})") from error
    return all(ipaddress.ip_address(str(address).split("%")[0]).is_loopback for address in found)
