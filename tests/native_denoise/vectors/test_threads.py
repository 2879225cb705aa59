"""The threads that share a call: everything is done, failures come back, nothing is kept."""

import gc
import multiprocessing
import threading
import weakref

import pytest

from native_denoise.vectors.threads import share


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_job_is_done_once_and_the_first_one_here(count):
    done = {}
    share(lambda i: done.setdefault(i, threading.current_thread()), count)
    assert sorted(done) == list(range(count))
    assert done[0] is threading.current_thread()


def test_jobs_run_at_the_same_time():
    meeting, met = threading.Barrier(2, timeout=10), []
    share(lambda i: met.append(meeting.wait()), 2)
    assert sorted(met) == [0, 1]


def test_a_job_may_wait_for_an_earlier_one():
    begun = [threading.Event() for _ in range(5)]

    def job(i):
        assert i == 0 or begun[i - 1].wait(10)
        begun[i].set()

    share(job, 5)
    assert all(event.is_set() for event in begun)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_failure_is_raised_when_all_have_ended(failing):
    done = set()

    def job(i):
        done.add(i)
        if i == failing:
            raise LookupError(i)

    with pytest.raises(LookupError):
        share(job, 3)
    assert done == {0, 1, 2}
    share(done.add, 3)  # and the helpers are still there


def test_nothing_that_a_job_refers_to_is_kept():
    class Large:
        pass

    large, seen = Large(), []
    kept = weakref.ref(large)
    share(lambda i, large=large: seen.append(type(large)), 2)
    assert seen == [Large, Large]
    del large
    share(lambda i: None, 2)  # the one helper that there is has come back for more
    gc.collect()
    assert kept() is None


def test_callers_do_not_disturb_one_another():
    sums = [0] * 8

    def caller(n):
        for _ in range(50):
            parts = [0, 0, 0]

            def job(i, parts=parts):
                parts[i] = n + i

            share(job, 3)
            sums[n] += sum(parts)

    callers = [threading.Thread(target=caller, args=(n,), daemon=True) for n in range(8)]
    for one in callers:
        one.start()
    for one in callers:
        one.join(60)
    assert sums == [50 * (3 * n + 3) for n in range(8)]


def _share_in_child(queue):
    done = set()
    share(done.add, 3)
    queue.put(len(done))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_helpers_of_its_own():
    share(lambda i: None, 2)
    assert any(thread.name == "native_denoise" for thread in threading.enumerate())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_share_in_child, args=(queue,), daemon=True)
    child.start()
    try:
        assert queue.get(timeout=30) == 3
        child.join(10)
        assert child.exitcode == 0
    finally:  # a child that hangs would be waited for at the end of the run
        child.kill()
