"""The buffer between encoder and link."""

from __future__ import annotations

import threading
import time

import pytest

from runtime.streaming.buffer import Buffer, Policy


def test_drop_oldest_keeps_what_is_fresh() -> None:
    buffer: Buffer[int] = Buffer(3, "drop-oldest")
    assert [buffer.put(item) for item in range(5)] == [None, None, None, 0, 1]
    assert len(buffer) == 3
    buffer.close()
    assert [buffer.get() for _ in range(4)] == [2, 3, 4, None]


def test_block_makes_the_source_wait() -> None:
    buffer: Buffer[int] = Buffer(1, "block")
    assert buffer.put(0) is None
    source = threading.Thread(target=buffer.put, args=(1,), daemon=True)
    source.start()
    time.sleep(0.05)
    assert source.is_alive() and len(buffer) == 1
    assert buffer.get() == 0
    source.join(5)
    assert not source.is_alive() and buffer.get() == 1


@pytest.mark.parametrize("policy", ["block", "drop-oldest"])
def test_every_item_is_got_or_given_back(policy: Policy) -> None:
    buffer: Buffer[int] = Buffer(2, policy)
    given_back: list[int | None] = []

    def produce() -> None:
        given_back.extend(buffer.put(item) for item in range(500))
        buffer.close()

    source = threading.Thread(target=produce, daemon=True)
    source.start()
    got = []
    while (item := buffer.get()) is not None:
        got.append(item)
    source.join(5)
    lost = [item for item in given_back if item is not None]
    assert sorted(got + lost) == list(range(500)) and got == sorted(got)
    assert policy == "drop-oldest" or not lost


def test_closing_wakes_both_sides() -> None:
    buffer: Buffer[int] = Buffer(1, "block")
    buffer.put(0)
    given_back: list[int | None] = []
    source = threading.Thread(target=lambda: given_back.append(buffer.put(1)), daemon=True)
    source.start()
    buffer.close()
    source.join(5)
    assert given_back == [1] and buffer.get() == 0 and buffer.get() is None
