"""Certificates of both listeners. A reload concerns new connections; those that exist go on."""

from __future__ import annotations

import ssl
from asyncio import sslproto
from typing import Any

import grpc

from runtime.errors import ServingError
from runtime.serving.options import Certificates


class Tls:
    """What both listeners show and ask for. Raises ServingError when a file is missing or damaged.

    Attributes:
        context: for new HTTP connections.
        credentials: of the gRPC listener.
    """

    def __init__(self, certificates: Certificates):
        self._certificates = certificates
        self.context = http_context(certificates)
        self._fresh = False
        self._configuration = _grpc_configuration(certificates)
        self.credentials = grpc.dynamic_ssl_server_credentials(
            self._configuration, self._if_fresh, certificates.client_ca is not None
        )

    def reload(self) -> None:
        """Read the files again. Raises ServingError, and keeps what it had, when one cannot be used."""
        context = http_context(self._certificates)
        self._configuration = _grpc_configuration(self._certificates)
        self.context, self._fresh = context, True

    def _if_fresh(self) -> grpc.ServerCertificateConfiguration | None:
        """Asked by gRPC before each handshake; None: nothing has changed."""
        fresh, self._fresh = self._fresh, False
        return self._configuration if fresh else None


def read_in_pieces(size: int) -> None:
    """Let connections with TLS decrypt, and pass on, at most so many bytes at a time.

    asyncio reads 256 KiB, and keeps a buffer of that size for each connection. 3.10 has another class for it.
    """
    for name in ("SSLProtocol", "_SSLPipe"):
        reader: Any = getattr(sslproto, name, None)
        if hasattr(reader, "max_size"):
            reader.max_size = size


def http_context(certificates: Certificates) -> ssl.SSLContext:
    """A context for asyncio, TLS 1.2 or newer. Raises ServingError when a file is missing or damaged."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An encrypted key gets an empty password and is refused: nobody is there to type one.
        context.load_cert_chain(certificates.certificate, certificates.key, password="")
        if certificates.client_ca is not None:
            context.load_verify_locations(certificates.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise _unusable(certificates, error) from error
    return context


def _grpc_configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    """The same for gRPC. Call ``http_context`` first: gRPC does not say which file is wrong."""
    try:
        pair = (certificates.key.read_bytes(), certificates.certificate.read_bytes())
        authority = certificates.client_ca.read_bytes() if certificates.client_ca else None
    except OSError as error:
        raise _unusable(certificates, error) from error
    return grpc.ssl_server_certificate_configuration([pair], authority)


def _unusable(certificates: Certificates, error: Exception) -> ServingError:
    files = ", ".join(str(path) for path in vars(certificates).values() if path is not None)
    return ServingError(f"TLS: {error}; PEM files of certificate, key and CA were expected: {files}")
