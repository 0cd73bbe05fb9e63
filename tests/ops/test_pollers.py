"""Threads that wait for sockets together: an event goes to one of them, and once."""

from __future__ import annotations

import socket
import threading
from queue import Empty, SimpleQueue

import pytest

from rendio.server.poller import READ, WRITE, EpollPoller, SelectorsPoller
from tests.helpers.wait import PATIENCE_SECONDS

THREADS = 4


@pytest.fixture(params=[EpollPoller, SelectorsPoller])
def poller(request):
    poller = request.param()
    yield poller
    poller.end()


@pytest.fixture
def woken(poller):
    """What the waits of some threads returned."""
    found: SimpleQueue[int | None] = SimpleQueue()

    def wait():
        while (descriptor := poller.wait()) is not None:
            found.put(descriptor)
        found.put(None)

    for _ in range(THREADS):
        threading.Thread(target=wait, daemon=True).start()
    return found


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_an_event_wakes_one_thread_until_the_socket_is_armed_again(poller, woken, pair):
    ours, theirs = pair
    poller.add(ours.fileno(), READ)
    for _ in range(50):
        theirs.send(b"a")
        assert woken.get(timeout=PATIENCE_SECONDS) == ours.fileno()
        theirs.send(b"b")
        # What has arrived meanwhile is an event once the socket is armed.
        poller.arm(ours.fileno(), READ)
        assert woken.get(timeout=PATIENCE_SECONDS) == ours.fileno()
        ours.recv(10)
        poller.arm(ours.fileno(), WRITE)
        assert woken.get(timeout=PATIENCE_SECONDS) == ours.fileno()
        with pytest.raises(Empty):
            woken.get_nowait()
        poller.arm(ours.fileno(), READ)


def test_a_removed_socket_wakes_nobody_and_the_end_wakes_all(poller, woken, pair):
    ours, theirs = pair
    poller.add(ours.fileno(), READ)
    poller.remove(ours.fileno())
    theirs.send(b"a")

    poller.end()

    assert [woken.get(timeout=PATIENCE_SECONDS) for _ in range(THREADS)] == [None] * THREADS
