"""What becomes of frames when the server is away, and when either side is killed."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common.errors import BenchError
from bench.serve.process import ServerProcess
from runtime.bundle import Bundle
from runtime.cli.program import python_module
from runtime.streaming.buffer import Policy
from runtime.streaming.connection import Address
from runtime.streaming.spool import OUTCOMES

LINK = "10000kbit,1ms,1%loss"
FPS = 5.0
PROGRESS = 3
"""Frames that are answered before the next kill, so that every process has done something."""

PROGRESS_SECONDS = 60.0
UNTIL_KILL = 0.2
"""Longest wait in seconds from there to the kill, drawn at random: it may hit capture, coding or sending."""


class Client:
    """``bench.serve.client`` in a process of its own, which can be killed and started again."""

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        address: Address,
        images: list[NDArray[np.uint8]],
        *arguments: str,
    ):
        self.folder, self._runs = folder, 0
        folder.mkdir()
        np.savez(folder / "images.npz", images=np.stack(images))
        where = f"{address.host}:{address.port}"
        self._command = [*python_module("bench.serve.client"), str(folder), "RUN", where]
        self._command += ["--bundle", str(bundle.folder), *arguments]
        self.start()

    def start(self) -> None:
        """Start the next run."""
        self._runs += 1
        self._process = subprocess.Popen(
            [f"run{self._runs}" if word == "RUN" else word for word in self._command]
        )

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()
        self._process.wait()

    def finish(self) -> None:
        """Stop the camera and wait for every answer. Raises BenchError when that takes too long."""
        (self.folder / "stop").touch()
        try:
            status = self._process.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BenchError("the client did not come to an end") from None
        if status:
            raise BenchError(f"the client ended with status {status}")

    def outcomes(self) -> list[dict[str, Any]]:
        """Records of the spool; a line that is not whole yet is left out."""
        path = self.folder / OUTCOMES
        text = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    def answered(self) -> int:
        """Number of frames with an outcome so far."""
        path = self.folder / OUTCOMES
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def captured(self) -> set[str]:
        """Names of the frames that the client had taken charge of, according to its camera."""
        return set((self.folder / "witness").read_text().split())


def account(client: Client) -> dict[str, Any]:
    """Counts of frames by outcome; a frame without an outcome is lost."""
    told = client.outcomes()
    events = Counter(line["event"] for line in told)
    lines = Counter(line["frame"] for line in told)
    return {
        "captured": len(client.captured() | set(lines)), "answered": events["answered"],
        "dropped": events["dropped"], "others": sum(events.values()) - events["answered"] - events["dropped"],
        "lost": len(client.captured() - set(lines)),
        "answered_twice": sum(count > 1 for count in lines.values()),
    }  # fmt: skip


def killed(
    server: ServerProcess, bundle: Bundle, images: list[NDArray[np.uint8]], kills: int, folder: Path
) -> dict[str, Any]:
    """The row of ``kills``: server and client are killed in turns, ``kills`` times each."""
    client, dice = Client(folder, bundle, server.address, images, "--emulate", LINK), random.Random(0)
    for _ in range(kills):
        for side in (server, client):
            _progress(client)
            time.sleep(dice.uniform(0.0, UNTIL_KILL))
            side.kill()
            side.start()
    client.finish()
    answers = [json.loads(line) for line in server.log.read_bytes().splitlines() if line.endswith(b"}")]
    decoded = Counter(line["id"] for line in answers if line["event"] == "answered" and not line["repeated"])
    row = {"section": "kills", "link": LINK, "server_kills": kills, "client_kills": kills} | account(client)
    resent = sum(line.get("attempts", 1) > 1 for line in client.outcomes())
    return row | {
        "sent_again": resent,
        "decoded_by_two_servers": sum(count > 1 for count in decoded.values()),
    }


def away(
    server: ServerProcess, bundle: Bundle, images: list[NDArray[np.uint8]], seconds: float, folder: Path
) -> list[dict[str, Any]]:
    """The rows of ``outage``: one client a policy; recovery: from the server's return to the next answer."""
    policies: tuple[Policy, ...] = ("block", "drop-oldest", "shrink")
    arguments = ["--fps", str(FPS), "--policy"]
    clients = {
        policy: Client(folder / policy, bundle, server.address, images, *arguments, policy)
        for policy in policies
    }
    for client in clients.values():
        _progress(client)
    server.kill()
    time.sleep(seconds)
    server.start()
    lines = server.log.read_bytes().splitlines()
    back = max(json.loads(line)["time"] for line in lines if b'"listening"' in line)
    rows = []
    for policy, client in clients.items():
        _progress(client)
        client.finish()
        answers = [line["time"] for line in client.outcomes() if line["event"] == "answered"]
        row = {"section": "outage", "policy": policy, "down_s": seconds}
        rows.append(
            row | {"recovery_s": min(time for time in answers if time >= back) - back} | account(client)
        )
    return rows


def _progress(client: Client) -> None:
    """Wait until some more frames have an outcome."""
    wanted, deadline = client.answered() + PROGRESS, time.monotonic() + PROGRESS_SECONDS
    while client.answered() < wanted:
        if time.monotonic() > deadline:
            raise BenchError("no frame was answered for a minute")
        time.sleep(0.01)
