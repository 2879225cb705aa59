"""A server in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runtime.json_log import JsonLog
from runtime.serving.options import Options
from runtime.serving.server import Server


class Running:
    """A server whose event loop has a thread of its own."""

    def __init__(self, options: Options, log_file: Path):
        self.log = JsonLog(log_file)
        self.server = Server(options, self.log)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self.server.start())
        self.http, self.grpc = f"127.0.0.1:{self.server.http_port}", f"127.0.0.1:{self.server.grpc_port}"

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def metric(self, name: str, **labels: str) -> float:
        registry = self.server.service.metrics.registry
        return registry.get_sample_value(name, labels) or 0.0

    def stop(self) -> None:
        self.call(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.log.close()


Start = Callable[..., Running]
