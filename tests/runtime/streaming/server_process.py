"""A server in a process of its own, which can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


class ServerProcess:
    """``python -m runtime serve`` on loopback."""

    def __init__(self, bundles: list[Path], log: Path, http_port: int, *arguments: str):
        named = [word for bundle in bundles for word in ("--bundle", str(bundle))]
        command = [sys.executable, "-m", "runtime", "serve", *named, "--http-port", str(http_port)]
        command += ["--grpc-port", "0", "--workers", "1", "--log", str(log), *arguments]
        begin = log.stat().st_size if log.exists() else 0
        self._process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
        self.port = self._listening(log, begin)["http_port"]
        self.log = log

    def _listening(self, log: Path, begin: int) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            for line in log.read_bytes()[begin:].splitlines() if log.exists() else []:
                event: dict[str, Any] = json.loads(line)
                if event["event"] == "listening":
                    return event
            time.sleep(0.02)
        raise AssertionError("the server did not start")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def metrics(self) -> dict[str, float]:
        connection = HTTPConnection(self.address, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(20)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
