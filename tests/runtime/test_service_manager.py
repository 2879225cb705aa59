"""What systemd hears from a server and a client: on a real socket, from real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from runtime.bundle import load
from runtime.service_manager import ALIVE, READY, STOPPING, ServiceManager
from runtime.serving.pool import Job, Pool
from tests.runtime.streaming.server_process import ROOT, ServerProcess
from tests.tiny_bundle import tiny_images


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The manager's end of the socket; whoever is started from here on finds its name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield channel


def test_nobody_is_told_where_there_is_no_manager() -> None:
    manager = ServiceManager({"WATCHDOG_USEC": "1000000"})
    manager.tell(READY)
    assert manager.period is None
    ServiceManager({"NOTIFY_SOCKET": "/nowhere/at/all"}).tell(READY)


def test_a_name_without_a_file_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(f"\0ratehold-test-{os.getpid()}")
        channel.settimeout(10)
        ServiceManager({"NOTIFY_SOCKET": f"@ratehold-test-{os.getpid()}"}).tell(STOPPING)
        assert channel.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize(
    ("told", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_period_is_half_of_what_the_manager_waits_for(told: dict[str, str], period: float | None) -> None:
    assert ServiceManager({"NOTIFY_SOCKET": "/x", **told}).period == period


def test_a_server_is_ready_alive_and_about_to_stop(
    heard: socket.socket, tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    server = ServerProcess([tiny_bundles["fp"]], tmp_path / "log", 0)
    try:
        assert [heard.recv(100).decode() for _ in range(4)] == [READY, ALIVE, ALIVE, ALIVE]
        server.signal(signal.SIGTERM)
        while (state := heard.recv(100).decode()) == ALIVE:
            pass
        assert state == STOPPING and server.wait() == 0
    finally:
        server.kill()


def test_a_client_is_ready_when_it_is_warm(
    heard: socket.socket, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(tiny_images(1)[0]).save(tmp_path / "photos" / "0.png")
    command = [sys.executable, "-m", "runtime", "stream", "--source", str(tmp_path / "photos")]
    command += ["--to", "127.0.0.1:9", "--bundle", str(tiny_bundles["fp"]), "--spool", str(tmp_path / "s")]
    client = subprocess.Popen([*command, "--drain", "0"], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        assert heard.recv(100).decode() == READY
        client.send_signal(signal.SIGTERM)
        assert client.wait(60) in (0, 1)
    finally:
        client.kill()
        client.wait()


def test_a_frame_that_no_worker_answers_counts_as_waiting(tiny_bundles: dict[str, Path]) -> None:
    async def waited() -> tuple[float, float, float]:
        bundle = load(tiny_bundles["fp"])
        pool = Pool([bundle], 1, 0)
        try:
            nobody = pool.longest_wait
            job = Job(bundle, b"", None, submitted=time.perf_counter() - 61.0)
            future = asyncio.wrap_future(job.future)
            pool._jobs[future] = job
            somebody = pool.longest_wait
            job.future.cancel()
            return nobody, somebody, pool.longest_wait
        finally:
            pool.close()

    nobody, somebody, answered = asyncio.run(waited())
    assert somebody > 60 and abs(nobody) < 1 and abs(answered) < 1
