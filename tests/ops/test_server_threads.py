"""The threads that run calls: order, cancelling, errors, the end."""

from __future__ import annotations

import threading
import time

import pytest

from rendio.server.threads import Threads
from tests.helpers.wait import wait_for


@pytest.fixture
def threads():
    threads = Threads(1, "test")
    yield threads
    threads.stop()


@pytest.fixture
def busy(threads):
    """The only thread is occupied until this event is set."""
    released, begun = threading.Event(), threading.Event()
    threads.submit(lambda: (begun.set(), released.wait(10)))
    assert begun.wait(10)
    yield released
    released.set()


def test_tasks_run_in_the_order_of_their_submission(threads, busy):
    done = []
    for number in range(100):
        threads.submit(done.append, number)
    busy.set()

    wait_for(lambda: len(done) == 100)
    assert done == list(range(100))


def test_a_cancelled_task_never_runs_and_one_that_ran_is_not_cancelled(threads, busy):
    done = []
    first, second = threads.submit(done.append, 1), threads.submit(done.append, 2)
    assert [first.cancel(), first.cancel()] == [True, False]
    busy.set()

    wait_for(lambda: done)
    assert done == [2]
    assert second.cancel() is False


def test_a_task_that_raises_does_not_end_its_thread(threads, caplog):
    done = []
    for error in (ValueError, SystemExit):
        threads.submit(fail, error)
    threads.submit(done.append, 1)

    wait_for(lambda: done)
    assert caplog.text.count("A task failed.") == 2


def fail(error):
    raise error


def test_stop_drops_waiting_tasks_and_join_waits_for_running_ones(threads, busy):
    done = []
    threads.submit(done.append, 1)
    threads.stop()
    began = time.monotonic()
    threads.join(until=began + 0.2)
    assert time.monotonic() - began >= 0.2

    busy.set()
    threads.join(until=time.monotonic() + 10)

    assert not any(thread.is_alive() for thread in threads._threads)
    assert done == []


def test_threads_that_have_had_no_task_end_at_once():
    threads = Threads(3, "test")
    threads.stop()
    threads.join(until=time.monotonic() + 10)
    assert not any(thread.is_alive() for thread in threads._threads)
