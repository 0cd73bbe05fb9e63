"""Waiting for sockets in many threads: each event goes to one thread.

A socket is watched for one event at a time, and armed again by the thread that had the event. So
one thread acts for a socket, and no thread has to pass it on.
"""

from __future__ import annotations

import os
import select
import selectors
import threading
from contextlib import suppress

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class EpollPoller:
    """The kernel wakes one of the waiting threads, the one that has waited shortest."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._events = {
            READ: select.EPOLLIN | select.EPOLLONESHOT,
            WRITE: select.EPOLLOUT | select.EPOLLONESHOT,
        }
        self._end, self._ending = os.pipe()
        # Not for one event: it is readable for all threads.
        self._epoll.register(self._end, select.EPOLLIN)

    def add(self, descriptor: int, event: int) -> None:
        """Watch a new socket for one event, READ or WRITE."""
        self._epoll.register(descriptor, self._events[event])

    def arm(self, descriptor: int, event: int) -> None:
        """Watch a socket that had an event for the next one."""
        self._epoll.modify(descriptor, self._events[event])

    def remove(self, descriptor: int) -> None:
        """Before the socket is closed."""
        self._epoll.unregister(descriptor)

    def wait(self) -> int | None:
        """The descriptor of a socket with an event; None once `end` was called."""
        [(descriptor, _events)] = self._epoll.poll(maxevents=1)
        return None if descriptor == self._end else descriptor

    def end(self) -> None:
        """All waits of all threads return None from now on."""
        os.write(self._ending, b"\0")


class SelectorsPoller:
    """For systems without epoll: one thread waits, and the others wait for their turn."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._turn = threading.Lock()
        self._end, self._ending = os.pipe()
        self._selector.register(self._end, READ)

    def add(self, descriptor: int, event: int) -> None:
        self._selector.register(descriptor, event)

    # After an event a socket is not registered.
    arm = add

    def remove(self, descriptor: int) -> None:
        with suppress(KeyError):
            self._selector.unregister(descriptor)

    def wait(self) -> int | None:
        with self._turn:
            while not (ready := self._selector.select()):
                pass
            descriptor = ready[0][0].fd
            if descriptor == self._end:
                return None
            self.remove(descriptor)
            return descriptor

    def end(self) -> None:
        os.write(self._ending, b"\0")


Poller = EpollPoller if hasattr(select, "epoll") else SelectorsPoller
