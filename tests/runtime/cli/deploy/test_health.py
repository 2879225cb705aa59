"""``ratehold health``: exit status and the line that says why."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from runtime.bundle import load
from runtime.cli.deploy.health import PATH
from runtime.cli.main import main
from runtime.json_log import JsonLog
from runtime.serving.http_front import HttpFront
from runtime.serving.models import Models
from runtime.serving.options import Options
from runtime.serving.service import Service


@contextmanager
def answering(status: int, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that gives one status to whoever asks for readiness; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == PATH else 418)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listener = HTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield str(listener.server_address[1])
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join(10)


@pytest.mark.parametrize(
    ("status", "says"),
    [(200, ""), (503, "takes no requests"), (404, f"answers {PATH} with 404: not a tail server?")],
)
def test_each_answer_has_its_line(status: int, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(status) as port:
        assert main(["health", "--to", f"127.0.0.1:{port}"]) == (status != 200)
    out, err = capsys.readouterr()
    assert out == (f"http://127.0.0.1:{port} takes requests\n" if status == 200 else "")
    assert says in err and err.count("\n") == (status != 200)


def test_nobody_there_is_no_health(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(200) as port:
        pass
    assert main(["health", "--to", f"127.0.0.1:{port}"]) == 1
    assert "does not answer: [Errno 111] Connection refused" in capsys.readouterr().err


def test_a_time_out_is_above_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--timeout", "0"]) == 1
    assert "--timeout must be above 0" in capsys.readouterr().err


def test_a_server_that_asks_for_certificates_is_shown_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    issued, context = authority.issue_cert("127.0.0.1"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ca, both = tmp_path / "ca.pem", tmp_path / "both.pem"
    authority.cert_pem.write_to_path(str(ca))
    issued.private_key_and_cert_chain_pem.write_to_path(str(both))
    with answering(200, context) as port:
        asked = ["health", "--to", f"https://127.0.0.1:{port}"]
        assert main([*asked, "--tls-ca", str(ca), "--tls-cert", str(both)]) == 0
        assert main(asked) == 1
    assert "certificate verify failed" in capsys.readouterr().err


def test_our_own_server_has_that_path(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "log.jsonl")
    service = Service(Models([load(tiny_bundles["fp"])]), Options((tiny_bundles["fp"],)), log)
    try:
        app = HttpFront(service, None, True).app
        assert PATH in {resource.canonical for resource in app.router.resources()}
    finally:
        service.close()
        log.close()
