"""The page over HTTP for a process that has no server: loopback only, standard library only."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from runtime.dashboard.page import HEADERS, JSON, ROOT, STATE, files
from runtime.errors import StreamError

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
"""What a browser may call this machine: a name from elsewhere that was made to point here is refused."""

SECONDS = 5.0
"""Without a byte, after which a connection is closed."""

State = Callable[[str], dict[str, Any]]


class Listener:
    """Serves the page from a thread of its own until it is closed.

    Args:
        port: 0 takes any free one.
        state: what the page is told of the frames since a cursor; called in threads of this.

    Attributes:
        url: of the page.

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
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: State
    files: dict[str, tuple[str, bytes]]
    timeout = SECONDS
    server_version, sys_version = "ratehold", ""

    def do_GET(self) -> None:
        """A file of the page, or the state."""
        asked = urlsplit(self.path)
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in NAMES:
            self._send(403, "text/plain", b"this page is for this machine\n")
        elif asked.path in self.files:
            self._send(200, *self.files[asked.path])
        elif asked.path == STATE:
            cursor = parse_qs(asked.query).get("after", [""])[0]
            self._send(200, JSON, json.dumps(self.state(cursor)).encode())
        else:
            self._send(404, "text/plain", b"not found\n")

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Standard error belongs to the status line."""
