"""A disk that fills up and empties in mid-run, at any moment, while clients end and begin again."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from runtime.bundle import load
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming import pipeline as module
from runtime.streaming.buffer import Buffer
from runtime.streaming.connection import ServerAnswer
from runtime.streaming.pipeline import StreamPipeline
from runtime.streaming.sender import Sender
from runtime.streaming.source import Shot
from runtime.streaming.spool import OUTCOMES, Encoded, Spool
from tests.tiny_bundle import tiny_images

FRAMES = 8
DISK = "1m"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(where)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"mount: {error}")
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


@contextmanager
def full_now_and_then(disk: Path, rng: random.Random) -> Iterator[Counter[str]]:
    """Another program fills the disk to the last byte, and gives it back, again and again."""
    over, counts = threading.Event(), Counter[str]()

    def fill() -> None:
        while not over.is_set():
            with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
                for size in (1 << 16, 1 << 8, 1):
                    with suppress(OSError):
                        while ballast.write(bytes(size)) == size:
                            pass
            counts["full"] += 1
            over.wait(rng.uniform(0.0, 0.03))
            (disk / "ballast").unlink(missing_ok=True)
            over.wait(rng.uniform(0.0, 0.01))

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join(10)


class Server:
    """Answers each frame, and counts the frames by their ids; it interrupts the client after so many."""

    def __init__(self, seen: Counter[str], last: int):
        self.seen, self.left = seen, last

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.seen[identity] += 1
        return ServerAnswer({"top_classes": [1], "top_probabilities": [1.0]})

    def close(self) -> None:
        pass


@pytest.mark.parametrize("clients", [6, pytest.param(200, marks=pytest.mark.slow)])
def test_no_frame_is_lost_or_has_two_outcomes(
    disk: Path, tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: int
) -> None:
    monkeypatch.setattr(module, "FULL_SECONDS", 0.005)
    rng, head, (image,) = random.Random(0), Head(load(tiny_bundles["fp"])), tiny_images(1)
    captured, told, trouble, seen = 0, 0, list[str](), Counter[str]()

    def source(client: int) -> Iterator[Shot]:
        for number in range(FRAMES if client < clients else 0):
            yield Shot(f"{client}-{number}", partial(lambda it: it, image))

    def run(client: int, last: int) -> StreamPipeline:
        spool, log = Spool(disk / "spool"), JsonLog(tmp_path / "log")
        buffer: Buffer[Encoded] = Buffer(4, "block")
        senders = [Sender(Server(seen, last))]
        made = StreamPipeline(source(client), head, senders, buffer, log, spool, trouble.append)
        try:
            with suppress(KeyboardInterrupt):
                made.run()
        finally:
            spool.close()
            log.close()
        return made

    Spool(disk / "spool").close()
    with full_now_and_then(disk, rng) as counts:
        for client in range(clients):
            totals = run(client, rng.choice((2, 5, FRAMES * clients))).totals
            captured, told = captured + totals.captured, told + totals.unanswered
    run(clients, FRAMES * clients)
    lines = [json.loads(line) for line in (disk / "spool" / OUTCOMES).read_text().splitlines()]
    names = Counter(line["frame"] for line in lines)
    assert counts["full"] > clients / 2 and any("No space left" in line for line in trouble)
    assert set(names.values()) == {1} and {line["event"] for line in lines} == {"answered"}
    assert captured == len(names) + told
    assert told <= clients  # what a client holds that cannot be written when it ends is told
    assert {line["id"] for line in lines} <= set(seen) and not list((disk / "spool").glob("*.part"))
