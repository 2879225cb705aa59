"""Repetition, back-off, and what is not worth repeating."""

from __future__ import annotations

import threading

import pytest

from runtime.errors import StreamError
from runtime.streaming.remote.answers import Ended, Refused, ServerAnswer, TryAgain
from runtime.streaming.sender import FIRST_SECONDS, MOST_SECONDS, ODD_SECONDS, Delivery, Sender

ANSWER = ServerAnswer({"top_classes": [1], "top_probabilities": [1.0]})


class Script:
    """A link that fails as it is told, and then answers."""

    def __init__(self, *failures: Exception):
        self.failures, self.sent, self.closed = list(failures), [], 0  # type: ignore[var-annotated]

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        self.sent.append((identity, packet))
        if self.failures:
            raise self.failures.pop(0)
        return ANSWER

    def close(self) -> None:
        self.closed += 1


def test_a_frame_is_sent_under_one_id_until_it_is_answered() -> None:
    link = Script(ConnectionRefusedError(), TimeoutError(), TryAgain("503", None))
    pauses: list[float] = []
    told: list[str] = []
    assert Sender(link, told.append, pauses.append).send("a-1", b"x") == Delivery(ANSWER, 4)
    assert link.sent == [("a-1", b"x")] * 4 and link.closed == 2 and len(pauses) == len(told) == 3


def test_pauses_double_up_to_the_longest() -> None:
    pauses: list[float] = []
    Sender(Script(*[OSError()] * 12), pause=pauses.append).send("a", b"")
    for number, pause in enumerate(pauses):
        longest = min(FIRST_SECONDS * 2**number, MOST_SECONDS)
        assert longest / 2 <= pause <= longest


def test_the_servers_own_pause_is_kept() -> None:
    pauses: list[float] = []
    Sender(Script(TryAgain("503 try later", 7.0)), pause=pauses.append).send("a", b"")
    assert 7.0 <= pauses[0] <= 8.4


def test_a_server_may_ask_for_a_minute_and_no_more() -> None:
    pauses: list[float] = []
    years = [TryAgain("503", seconds) for seconds in (55.0, 999_999_999.0, float("inf"))]
    Sender(Script(*years), pause=pauses.append).send("a", b"")
    assert all(50.0 <= pause <= 60.0 for pause in pauses) and len(pauses) == 3


def test_odd_answers_are_asked_for_less_and_less_often() -> None:
    pauses: list[float] = []
    odd = [TryAgain("302", odd=True) for _ in range(14)]
    told: list[str] = []
    link = Script(*odd, ConnectionRefusedError())
    assert Sender(link, told.append, pauses.append).send("a", b"").attempts == 16
    for number, pause in enumerate(pauses[:14]):
        longest = min(FIRST_SECONDS * 2 ** (number + 1), ODD_SECONDS)
        assert longest / 2 <= pause <= longest
    assert pauses[14] <= FIRST_SECONDS  # a server that is away is still found soon after its return
    assert told[0] == "302" and len(told) == 15


def test_the_end_of_the_client_ends_the_pause() -> None:
    ended = threading.Event()
    link = Script(*[TryAgain("503", 1e9)] * 2)
    timer = threading.Timer(0.05, ended.set)
    timer.daemon = True
    timer.start()
    with pytest.raises(Ended):
        Sender(link, ended=ended).send("a", b"")
    assert len(link.sent) == 1


def test_servers_that_are_not_trusted_are_not_asked_again() -> None:
    link = Script(StreamError("do not trust each other"))
    with pytest.raises(StreamError):
        Sender(link).send("a", b"")
    assert len(link.sent) == 1


def test_a_refused_frame_is_not_repeated() -> None:
    link = Script(Refused("400 no packet"))
    with pytest.raises(Refused):
        Sender(link).send("a", b"")
    assert len(link.sent) == 1
