"""A server that is killed again and again, behind a link that loses requests and answers."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from bench.serve.emulated_link import Conditions, EmulatedLink
from runtime.bundle import load
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming.buffer import Buffer
from runtime.streaming.connection import Address, Connection
from runtime.streaming.pipeline import Encoded, StreamPipeline
from runtime.streaming.sender import Sender
from runtime.streaming.source import Shot
from tests.runtime.streaming.server_process import ServerProcess
from tests.tiny_bundle import tiny_images

LOSS = Conditions(10_000, 1.0, 0.01)


def kill_and_stream(bundle: Path, folder: Path, kills: int) -> tuple[list[str], list[str]]:
    """Frames that were captured, and the answers as the client's log has them."""
    server = ServerProcess([bundle], folder / "server.jsonl", 0)
    link = EmulatedLink(Connection(Address("127.0.0.1", server.port, 2.0)), LOSS, 0.1)
    stop, captured, images = threading.Event(), [], tiny_images(10)

    def frames() -> Iterator[Shot]:
        for number in itertools.count():
            if stop.is_set():
                return
            captured.append(str(number))
            yield Shot(str(number), partial(images.__getitem__, number % len(images)))

    log = JsonLog(folder / "client.jsonl")
    buffer: Buffer[Encoded] = Buffer(4, "block")
    pipeline = StreamPipeline(frames(), Head(load(bundle)), [Sender(link)], buffer, log)
    client = threading.Thread(target=pipeline.run, daemon=True)
    client.start()
    for number in range(kills):
        time.sleep(0.1 + 0.013 * (number % 11))
        server.kill()
        server = ServerProcess([bundle], folder / "server.jsonl", server.port)
    stop.set()
    client.join(30)
    server.kill()
    log.close()
    lines = [json.loads(line) for line in (folder / "client.jsonl").read_text().splitlines()]
    assert not log.lost and {line["event"] for line in lines} == {"answered"}
    return captured, [line["frame"] for line in lines]


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_no_frame_is_lost_or_answered_twice(
    tiny_bundles: dict[str, Path], tmp_path: Path, kills: int
) -> None:
    captured, answered = kill_and_stream(tiny_bundles["fp"], tmp_path, kills)
    assert len(captured) > kills and answered == captured
