"""TLS and mutual TLS, with certificates made on the spot."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPConnection, HTTPSConnection
from pathlib import Path

import grpc
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from runtime.cli.main import main
from runtime.errors import ServingError
from runtime.serving.intake.grpc_messages import SERVICE
from runtime.serving.intake.tls import http_context
from runtime.serving.options import Certificates, Options
from tests.runtime.serving.running import Running, Start


@dataclass(frozen=True)
class Authority:
    """A CA in PEM files, and a certificate of it for 127.0.0.1."""

    ca: Path
    certificate: Path
    key: Path


def make(folder: Path) -> Authority:
    folder.mkdir()
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    files = Authority(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(str(files.ca))
    issued.private_key_pem.write_to_path(str(files.key))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(files.certificate), append=True)
    return files


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Authority]:
    folder = tmp_path_factory.mktemp("tls")
    return {name: make(folder / name) for name in ("ours", "theirs")}


def https_status(server: Running, trusted: Authority, shown: Authority | None = None) -> int:
    context = ssl.create_default_context(cafile=str(trusted.ca))
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    connection = HTTPSConnection(server.http, timeout=5, context=context)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status
    finally:
        connection.close()


def grpc_answers(server: Running, trusted: Authority, shown: Authority | None = None) -> bool:
    pair = (shown.key.read_bytes(), shown.certificate.read_bytes()) if shown else (None, None)
    credentials = grpc.ssl_channel_credentials(trusted.ca.read_bytes(), *pair)
    with grpc.secure_channel(server.grpc, credentials) as channel:
        try:
            return bool(channel.unary_unary(f"/{SERVICE}/ServerReady")(b"", timeout=5))
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            return False


def test_tls_on_both_ports(start: Start, authorities: dict[str, Authority]) -> None:
    ours, theirs = authorities["ours"], authorities["theirs"]
    server = start(certificates=Certificates(ours.certificate, ours.key))
    assert https_status(server, ours) == 200 and grpc_answers(server, ours)
    with pytest.raises(ssl.SSLCertVerificationError):
        https_status(server, theirs)
    assert not grpc_answers(server, theirs)


def test_mutual_tls_refuses_strangers(start: Start, authorities: dict[str, Authority]) -> None:
    ours, theirs = authorities["ours"], authorities["theirs"]
    server = start(certificates=Certificates(ours.certificate, ours.key, ours.ca))
    assert https_status(server, ours, ours) == 200 and grpc_answers(server, ours, ours)
    for shown in (None, theirs):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            https_status(server, ours, shown)
        assert not grpc_answers(server, ours, shown)
    assert https_status(server, ours, ours) == 200


def test_plain_text_is_not_served_where_tls_is(start: Start, authorities: dict[str, Authority]) -> None:
    ours = authorities["ours"]
    server = start(certificates=Certificates(ours.certificate, ours.key))
    connection = HTTPConnection(server.http, timeout=5)
    with pytest.raises((ConnectionError, BadStatusLine)):
        connection.request("GET", "/v2/health/ready")
        connection.getresponse()
    connection.close()


def test_old_tls_is_refused(authorities: dict[str, Authority]) -> None:
    ours = authorities["ours"]
    context = http_context(Certificates(ours.certificate, ours.key))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_with_certificates_any_address_will_do(authorities: dict[str, Authority]) -> None:
    ours = authorities["ours"]
    assert Options(("x",), "0.0.0.0", certificates=Certificates(ours.certificate, ours.key)).host == "0.0.0.0"


def test_files_that_are_not_certificates_are_said(authorities: dict[str, Authority], tmp_path: Path) -> None:
    ours, theirs = authorities["ours"], authorities["theirs"]
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    for wrong in (
        Certificates(garbage, ours.key),
        Certificates(ours.certificate, theirs.key),
        Certificates(tmp_path / "none.pem", ours.key),
        Certificates(ours.certificate, ours.key, garbage),
    ):
        with pytest.raises(ServingError, match="PEM files"):
            http_context(wrong)


def test_an_encrypted_key_is_refused_without_asking(
    authorities: dict[str, Authority], tmp_path: Path
) -> None:
    ours = authorities["ours"]
    key = serialization.load_pem_private_key(ours.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ServingError, match="TLS"):
        http_context(Certificates(ours.certificate, locked))


def test_the_command_refuses_to_listen_to_everybody(
    tiny_bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    serve = ["serve", "--bundle", str(tiny_bundles["fp"])]
    for arguments, message in (
        (["--host", "0.0.0.0"], "say --insecure"),
        (["--tls-cert", "x.pem"], "needs both --tls-cert and --tls-key"),
        (["--tls-client-ca", "x.pem"], "needs both --tls-cert and --tls-key"),
        (["--tls-cert", "no.pem", "--tls-key", "no.pem"], "PEM files"),
        (["--bundle", "no-such-bundle"], "no-such-bundle: no manifest.json"),
    ):
        assert main([*serve, *arguments]) == 1
        assert message in capsys.readouterr().err
