"""The page over HTTP for a process without a server: loopback only, standard library only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from runtime.dashboard.hosts import from_this_machine
from runtime.dashboard.page import HEADERS, JSON, ROOT, STATE, files
from runtime.errors import StreamError

HOST = "127.0.0.1"
IDLE_SECONDS = 5.0
"""A connection without traffic is closed after so long."""

State = Callable[[str], dict[str, Any]]


class Listener:
    """Serves the page from its own thread until ``close``.

    Args:
        port: 0 takes any free port.
        state: returns the JSON for a cursor; the listener's threads call it.

    Attributes:
        url: the page's address.

    Raises StreamError when the port is taken.
    """

    def __init__(self, port: int, state: State):
        handler = type("Handler", (_Handler,), {"state": staticmethod(state), "files": files()})
        try:
            self._server = ThreadingHTTPServer((HOST, port), handler)
        except (OSError, OverflowError) as error:
            raise StreamError(f"cannot listen on {HOST} port {port} for the dashboard: {error}") from error
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}{ROOT}"
        threading.Thread(target=self._server.serve_forever, name="dashboard", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: State
    files: dict[str, tuple[str, bytes]]
    timeout = IDLE_SECONDS
    server_version, sys_version = "ratehold", ""

    def do_GET(self) -> None:
        """Send a file of the page or the state; lead ``/`` to the page."""
        asked = urlsplit(self.path)
        if not from_this_machine(self.headers.get("Host"), self.headers.get("Origin")):
            self._send(403, "text/plain", b"this page is for this machine\n")
        elif asked.path == "/":
            self._send(302, "text/plain", b"", Location=ROOT)
        elif asked.path in self.files:
            self._send(200, *self.files[asked.path])
        elif asked.path == STATE:
            cursor = parse_qs(asked.query).get("after", [""])[0]
            self._send(200, JSON, json.dumps(self.state(cursor)).encode())
        else:
            self._send(404, "text/plain", b"not found\n")

    def _send(self, status: int, kind: str, content: bytes, **more: str) -> None:
        self.send_response(status)
        about = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in {**HEADERS, **about, **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Log nothing: standard error belongs to the status line."""
