"""Ranges on threads: each filled once, nothing of it left in the process, whoever calls, forks or fails."""

from __future__ import annotations

import multiprocessing
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from manifold.backends import threads as _threads
from manifold.backends.threads import in_threads, thread_count


def blas_limits():
    """Limits of the libraries that were there at the first call; a package loaded since may have brought its own."""
    known = {library.filepath for library in _threads._blas().lib_controllers}
    return [library["num_threads"] for library in threadpool_info() if library["filepath"] in known]


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    """More threads than processors, so that they do overtake each other."""
    monkeypatch.setattr(_threads, "thread_count", lambda at_most=None: at_most or 3)


@settings(max_examples=50, deadline=None)
@given(n=st.integers(0, 60), step=st.integers(1, 70), blas=st.booleans())
def test_every_range_is_filled_once(n, step, blas):
    count, ranges = np.zeros(n, int), []

    def work(start, stop):
        ranges.append((start, stop))
        count[start:stop] += 1

    in_threads(work, n, step=step, blas=blas)
    assert (count == 1).all()
    assert sorted(ranges) == [(start, min(start + step, n)) for start in range(0, n, step)]


def test_the_threads_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=20)
    in_threads(lambda start, stop: meeting.wait(), 3, step=1)
    in_threads(lambda start, stop: meeting.wait(), 3, step=1)  # the same threads again


def test_products_run_on_one_thread_each_and_limits_come_back():
    before, seen = blas_limits(), []
    in_threads(lambda start, stop: seen.append(blas_limits()), 4, step=1, blas=True)
    assert seen == [[1] * len(before)] * 4
    assert blas_limits() == before


def test_callers_with_products_take_turns():
    before, inside, most = blas_limits(), [], []

    def work(start, stop):
        inside.append(1)
        most.append(len(inside))
        assert set(blas_limits()) == {1}
        time.sleep(0.02)
        inside.pop()

    threads = [threading.Thread(target=in_threads, args=(work, 1), kwargs={"step": 1, "blas": True}) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5
    assert blas_limits() == before


@pytest.mark.parametrize("failing", [0, 3, 7])
def test_an_exception_stops_the_work_and_passes_through(failing):
    before, begun = blas_limits(), []

    def work(start, stop):
        begun.append(start)
        if start == failing:
            raise KeyboardInterrupt(start)

    with pytest.raises(KeyboardInterrupt, match=str(failing)):
        in_threads(work, 1000, step=1, blas=True)
    assert len(begun) < 1000
    assert blas_limits() == before
    in_threads(work, failing, step=1)  # and nothing is left behind


@pytest.mark.parametrize("blas", [False, True])
def test_a_call_from_inside_the_work_stays_on_its_thread(blas, monkeypatch):
    monkeypatch.undo()  # the real count
    counts, names = [], []

    def outer(start, stop):
        me = threading.get_ident()
        counts.append(thread_count())
        in_threads(lambda start, stop: names.append(threading.get_ident() == me), 6, step=1, blas=True)
        counts.append(thread_count())

    in_threads(outer, 2, step=1, blas=blas)
    assert counts == [1] * 4
    assert names == [True] * 12


@pytest.mark.parametrize("limit", [1, 2])
def test_the_limits_of_others_are_kept(limit, monkeypatch):
    monkeypatch.undo()
    with threadpool_limits(limit):
        assert thread_count() <= limit
        in_threads(lambda start, stop: None, 2, step=1, blas=True)
        assert max(blas_limits()) <= limit
    monkeypatch.setenv("OMP_NUM_THREADS", str(limit))
    assert thread_count() <= limit
    assert thread_count(1) == 1


def test_who_asks_while_another_works_is_told_the_limit_not_the_hold(monkeypatch):
    monkeypatch.undo()
    alone, answers = thread_count(), []

    def work(start, stop):
        other = threading.Thread(target=lambda: answers.append(thread_count()))
        other.start()
        other.join()

    in_threads(work, 1, step=1, blas=True)
    assert answers == [alone]


def _count_in_child(queue):
    count = np.zeros(40, int)

    def work(start, stop):
        count[start:stop] += 1

    in_threads(work, 40, step=3, blas=True)
    queue.put(count.tolist())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_starts_over():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def work(start, stop):  # forked in the middle of work, while BLAS is held
        if start == 0:
            child = context.Process(target=_count_in_child, args=(queue,))
            child.start()
            assert queue.get(timeout=20) == [1] * 40
            child.join()

    in_threads(work, 4, step=1, blas=True)
