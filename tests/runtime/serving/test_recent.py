"""Answers that are remembered: what was evicted and fails later takes nothing of its successor with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from runtime.serving.service import Recent

Future = asyncio.Future[Any]


def in_a_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 10))


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
def test_an_evicted_request_that_fails_leaves_its_successor(end: str) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        recent, made = Recent(capacity=1), []

        def ask() -> Future:
            made.append(loop.create_future())
            return made[-1]

        recent.find("a", b"packet", ask)
        recent.find("b", b"packet", ask)  # evicts the first
        again, repeated = recent.find("a", b"packet", ask)  # the same key: another request of its own
        assert not repeated and len(made) == 3
        if end == "fails":
            made[0].set_exception(RuntimeError("lost"))
            assert made[0].exception() is not None
        else:
            made[0].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert recent.find("a", b"packet", ask) == (again, True) and len(made) == 3

    in_a_loop(test)


def test_a_failure_is_forgotten_and_an_answer_is_not() -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        recent, made = Recent(capacity=3), []

        def ask() -> Future:
            made.append(loop.create_future())
            return made[-1]

        for identity in ("a", "b"):
            recent.find(identity, b"packet", ask)
        made[0].set_exception(RuntimeError("lost"))
        assert made[0].exception() is not None
        made[1].set_result("answer")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert recent.find("b", b"packet", ask) == (made[1], True)
        assert recent.find("b", b"other packet", ask)[1] is False
        assert recent.find("a", b"packet", ask)[1] is False
        assert recent.find("", b"packet", ask)[1] is recent.find("", b"packet", ask)[1] is False
        assert len(made) == 6

    in_a_loop(test)


def test_the_least_recently_asked_is_evicted_first() -> None:
    async def test() -> None:
        recent = Recent(capacity=2)
        ask: Callable[[], Future] = asyncio.get_running_loop().create_future
        recent.find("a", b"", ask)
        recent.find("b", b"", ask)
        assert recent.find("a", b"", ask)[1]
        recent.find("c", b"", ask)
        assert recent.find("a", b"", ask)[1] and recent.find("c", b"", ask)[1]
        assert not recent.find("b", b"", ask)[1]

    in_a_loop(test)
