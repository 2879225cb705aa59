"""How many frames are on their way: against the arithmetic of links, and whatever fails."""

from __future__ import annotations

import heapq
import threading
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.streaming.link_budget import SHARE, BudgetRange, LinkBudget
from runtime.streaming.window import PATIENCE, InFlightWindow, RoundTrip, send_all


def simulate(
    most: int, delay: float, size: int, rate: float, interval: float, frames: int = 400, shrink: bool = False
) -> tuple[InFlightWindow, LinkBudget, list[int], list[float]]:
    """Frames at a steady pace over a link that takes one after the other; only the freshest waits outside.

    Window and budget at the end, and bytes and round trip of each answer, in order.
    """
    window, budget = InFlightWindow(most), LinkBudget(BudgetRange(100, 100_000))
    free, now, waiting = 0.0, 0.0, False  # when the link is done with what it has
    coming = [(number * interval, "frame", 0, 0.0) for number in range(frames)]
    heapq.heapify(coming)
    answers, trips, inside = [], [], 0
    while coming:
        now, what, sent_bytes, begin = heapq.heappop(coming)
        if what == "frame":
            budget.captured(now)
            waiting = True
        else:
            inside -= 1
            budget.sent(sent_bytes, (now - begin) / window.size)
            window.enter()
            window.leave(RoundTrip(sent_bytes, now - begin))
            answers.append(sent_bytes)
            trips.append(now - begin)
        while waiting and inside < window.size:
            taken = min(size, budget.bytes) if shrink else size
            free = max(free, now) + taken / rate
            heapq.heappush(coming, (free + delay, "answer", taken, now))
            inside, waiting = inside + 1, False
    return window, budget, answers, trips


def test_a_long_way_is_filled() -> None:
    """Round trips of 0.3 s, frames each 0.1 s: one at a time would be 3 a second."""
    window, _, answers, _ = simulate(4, delay=0.3, size=1000, rate=1e6, interval=0.1)
    assert window.size == 4 and len(answers) >= 390


def test_a_thin_link_is_not_queued_in() -> None:
    """A packet takes the link half a second, and hardly anything else: two at a time would only wait."""
    _, _, _, trips = simulate(4, delay=0.05, size=1000, rate=2000, interval=0.1)
    late = sorted(trips)
    assert late[len(late) // 2] < 0.6 and late[-1] <= 1.1 and sum(trips) / len(trips) < 0.75


@given(delay=st.floats(0.0, 0.5), share=st.floats(0.2, 5.0), most=st.integers(1, 8))
@example(delay=0.0, share=1.0078125, most=4)  # the queue grows by a hundredth of a frame each time
@example(delay=0.1, share=1.0089, most=7)
def test_frames_do_not_pile_up_in_any_link(delay: float, share: float, most: int) -> None:
    """Whatever the delay and the share of the interval that a packet takes: at most two wait, for long."""
    _, _, _, trips = simulate(most, delay, 1000, 1000 / (0.1 * share), 0.1)
    trips.sort()
    assert trips[int(0.9 * len(trips))] <= delay + 3 * 0.1 * share + 1e-9


@pytest.mark.parametrize("delay", [0.02, 0.09, 0.2, 0.3])
def test_shrinking_leaves_packets_alone_where_only_the_way_is_long(delay: float) -> None:
    _, budget, answers, _ = simulate(4, delay, 3000, 125_000, 0.1, shrink=True)
    assert budget.bytes > 3000 and len(answers) >= 390


@pytest.mark.parametrize("delay", [0.02, 0.09, 0.2])
def test_shrinking_finds_the_bytes_that_the_link_takes(delay: float) -> None:
    fits = SHARE * 0.1 * 20_000  # at 20,000 bytes a second
    _, _, answers, trips = simulate(4, delay, 3000, 20_000, 0.1, frames=600, shrink=True)
    assert len(answers) >= 0.9 * 600 and sorted(trips)[540] <= delay + 0.4
    assert 0.6 * fits <= sum(answers[300:]) / len(answers[300:]) <= 1.1 * fits


def test_one_is_one() -> None:
    window = InFlightWindow(1)
    for seconds in (0.1, 0.1, 0.5):
        window.enter()
        window.leave(RoundTrip(100, seconds))
    assert window.size == 1


def test_after_waiting_it_takes_patience() -> None:
    window = InFlightWindow(4)

    def trips(seconds: float, count: int) -> None:
        for _ in range(count):
            window.enter()
            window.leave(RoundTrip(100, seconds))

    trips(0.1, 2)
    assert window.size == 2
    trips(0.2, 4)
    assert window.size == 1
    trips(0.1, PATIENCE - 1)
    assert window.size == 1
    trips(0.1, 1)
    assert window.size == 2
    window.enter()
    window.leave(None)  # it says nothing
    assert window.size == 2


def test_everything_is_sent_once_and_never_more_at_a_time_than_there_may_be() -> None:
    items, window, lock = iter(range(300)), InFlightWindow(3), threading.Lock()
    sent, inside, most = list[int](), 0, 0

    def send(sender: str, item: int) -> RoundTrip:
        nonlocal inside, most
        with lock:
            inside, most = inside + 1, max(most, inside + 1)
        time.sleep(0.0005)
        with lock:
            inside -= 1
            sent.append(item)
        return RoundTrip(100, 0.001)  # no queue: the window opens

    send_all("abcde", window, lambda: next(items, None), send)
    assert sorted(sent) == list(range(300)) and 1 < most <= 3


def test_with_one_sender_the_order_is_kept() -> None:
    items, sent = iter(range(50)), list[int]()
    send_all("a", InFlightWindow(1), lambda: next(items, None), lambda _, item: sent.append(item))
    assert sent == list(range(50))


@pytest.mark.parametrize("failure", [ZeroDivisionError, KeyboardInterrupt])
def test_the_first_failure_is_raised_though_others_are_still_at_it(failure: type[BaseException]) -> None:
    items, release = iter(range(10)), threading.Event()
    window = InFlightWindow(2)
    window.size = 2

    def send(sender: str, item: int) -> None:
        if item == 0:
            release.wait(20)
        else:
            raise failure

    with pytest.raises(failure):
        send_all("ab", window, lambda: next(items, None), send)
    release.set()


def test_a_source_that_fails_is_said() -> None:
    def take() -> int:
        raise OSError("the spool is gone")

    with pytest.raises(OSError, match="gone"):
        send_all("ab", InFlightWindow(2), take, lambda sender, item: None)
