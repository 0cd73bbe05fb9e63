"""A thread with tasks: order, cancelling, errors."""

from __future__ import annotations

import threading

import pytest

from rendio.server.threads import TaskThread
from tests.helpers.wait import wait_for


@pytest.fixture
def thread():
    return TaskThread("test")


@pytest.fixture
def busy(thread):
    """The thread is occupied until this event is set."""
    released, begun = threading.Event(), threading.Event()
    thread.submit(lambda: (begun.set(), released.wait(10)))
    assert begun.wait(10)
    yield released
    released.set()


def test_tasks_run_in_the_order_of_their_submission(thread, busy):
    done = []
    for number in range(100):
        thread.submit(done.append, number)
    busy.set()

    wait_for(lambda: len(done) == 100)
    assert done == list(range(100))


def test_a_cancelled_task_never_runs_and_one_that_ran_is_not_cancelled(thread, busy):
    done = []
    first, second = thread.submit(done.append, 1), thread.submit(done.append, 2)
    assert [first.cancel(), first.cancel()] == [True, False]
    busy.set()

    wait_for(lambda: done)
    assert done == [2]
    assert second.cancel() is False


def test_a_task_that_raises_does_not_end_its_thread(thread, caplog):
    done = []
    for error in (ValueError, SystemExit):
        thread.submit(fail, error)
    thread.submit(done.append, 1)

    wait_for(lambda: done)
    assert caplog.text.count("A task failed.") == 2


def fail(error):
    raise error
