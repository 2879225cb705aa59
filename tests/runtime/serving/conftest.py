"""Servers and packets for the tests."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.bundle import load
from runtime.guard import Guard
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.serving.options import Options
from runtime.serving.pool import Pool
from tests.runtime.serving.running import Running, Start
from tests.tiny_bundle import tiny_images


@pytest.fixture(autouse=True)
def no_pool_stays_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close each pool, also where an assertion fails first: Python would wait for its threads at the end."""
    opened: list[weakref.ref[Pool]] = []
    begin = Pool.__init__

    def watched(self: Pool, *arguments: Any, **more: Any) -> None:
        begin(self, *arguments, **more)
        opened.append(weakref.ref(self))

    monkeypatch.setattr(Pool, "__init__", watched)
    yield
    for kept in opened:
        if (pool := kept()) is not None:
            pool.close()


@pytest.fixture
def start(tiny_bundles: dict[str, Path], tmp_path: Path) -> Iterator[Start]:
    """Starts servers of both tiny bundles on free ports; keyword arguments go to ``Options``."""
    running = []

    def begin(log_file: Path = tmp_path / "log.jsonl", **options: Any) -> Running:
        chosen = {"bundles": tuple(tiny_bundles.values()), "http_port": 0, "grpc_port": 0, "drain": 5.0}
        running.append(Running(Options(**(chosen | options)), log_file))
        return running[-1]

    yield begin
    for server in running:
        server.stop()


@pytest.fixture
def server(start: Start) -> Running:
    return start()


@pytest.fixture(scope="session")
def packets(tiny_bundles: dict[str, Path]) -> dict[str, bytes]:
    """One packet of each prior, and one that is defended."""
    image = tiny_images(1)[0]
    found = {prior: Head(load(path)).encode(image).to_bytes() for prior, path in tiny_bundles.items()}
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    guard = Guard("always", Defence(rate_control=0.0))
    found["defended"] = Head(load(tiny_bundles["fp"]), guard=guard).encode(noise).to_bytes()
    return found
