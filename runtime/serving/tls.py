"""TLS, for both transports from the same files."""

from __future__ import annotations

import ssl

import grpc

from runtime.errors import ServingError
from runtime.serving.options import Certificates


def http_context(certificates: Certificates) -> ssl.SSLContext:
    """For asyncio: TLS 1.2 or newer. Raises ServingError when a file is missing or not what it should be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An encrypted key gets an empty password, and is refused: there is nobody to ask.
        context.load_cert_chain(certificates.certificate, certificates.key, password="")
        if certificates.client_ca is not None:
            context.load_verify_locations(certificates.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        files = ", ".join(str(path) for path in vars(certificates).values() if path is not None)
        raise ServingError(
            f"TLS: {error}; PEM files of certificate, key and CA were expected: {files}"
        ) from error
    return context


def grpc_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """The same for gRPC. Call ``http_context`` first: gRPC does not say what is wrong with a file."""
    pair = (certificates.key.read_bytes(), certificates.certificate.read_bytes())
    authority = certificates.client_ca.read_bytes() if certificates.client_ca else None
    return grpc.ssl_server_credentials([pair], authority, require_client_auth=authority is not None)
