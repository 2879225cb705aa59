"""Packets that shrink to the link."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import Bundle, load
from runtime.codec.packet import MAX_OVERHEAD
from runtime.guard import Guard
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming.buffer import Buffer, Policy
from runtime.streaming.connection import ServerAnswer
from runtime.streaming.link_budget import FLOOR, BudgetRange
from runtime.streaming.pipeline import StreamPipeline
from runtime.streaming.sender import Sender
from runtime.streaming.source import Shot, paced
from runtime.streaming.spool import Encoded
from runtime.streaming.status import Totals
from runtime.tail import max_payload
from tests.runtime.streaming.server_process import ServerProcess
from tests.runtime.streaming.test_stream import stream as run_stream
from tests.tiny_bundle import tiny_images

IMAGES = tiny_images(40)


@pytest.fixture
def bundle(tiny_bundles: dict[str, Path]) -> Bundle:
    return load(tiny_bundles["fp"])


def test_bounds(bundle: Bundle) -> None:
    clean = dict(bundle.manifest.clean_bits)[0.5] / 8 + MAX_OVERHEAD
    head = Head(bundle)
    least = max(head.least, int(FLOOR * clean))
    assert BudgetRange.of(head) == BudgetRange(least, max_payload(bundle) + MAX_OVERHEAD)
    for budget, expected in ((least + 9, (least, least + 9)), (head.least, (head.least, head.least))):
        guarded = Head(bundle, guard=Guard("never", budget=budget))
        assert BudgetRange.of(guarded) == BudgetRange(*expected)


class Thin:
    """A link of so many bytes a second, on which everything is answered."""

    def __init__(self, rate: float):
        self._rate, self.sizes = rate, list[int]()

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        time.sleep(len(packet) / self._rate)
        self.sizes.append(len(packet))
        return ServerAnswer({"top_classes": [1], "top_probabilities": [1.0]})

    def close(self) -> None:
        pass


def camera() -> Iterator[Shot]:
    return (Shot(str(number), partial(np.copy, image)) for number, image in enumerate(IMAGES))


def stream(head: Head, policy: Policy, link: Thin, log: Path) -> Totals:
    lines, buffer = JsonLog(log), Buffer[Encoded](2, policy)
    pipeline = StreamPipeline(paced(camera(), 40.0), head, [Sender(link)], buffer, lines)
    pipeline.run()
    lines.close()
    return pipeline.totals


def test_less_a_frame_instead_of_fewer_frames(bundle: Bundle, tmp_path: Path) -> None:
    head = Head(bundle)
    head.warm_up()
    usual = float(np.median([head.encode(image).size for image in IMAGES]))
    room = 40.0 * 0.6 * usual  # bytes a second that the link takes, of what there is
    thin = Thin(room)
    dropping = stream(head, "drop-oldest", Thin(room), tmp_path / "dropping")
    shrinking = stream(head, "shrink", thin, tmp_path / "shrinking")
    assert dropping.answered <= 32 and shrinking.answered >= dropping.answered + 4
    assert shrinking.answered + shrinking.dropped == 40
    assert max(thin.sizes[10:]) < usual


def test_the_command(bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    server = ServerProcess([bundle.folder], tmp_path / "server.jsonl", 0)
    try:
        log = tmp_path / "log"
        assert (
            run_stream(pictures, server.address, bundle.folder, log, "--policy", "shrink", "--fps", "20") == 0
        )
    finally:
        server.kill()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["answered"] * 6
