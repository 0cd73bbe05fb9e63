"""One client's connection."""

from __future__ import annotations

import socket
import threading
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rendio.server.incoming import Heads, Incoming
from rendio.server.outgoing import Outgoing
from rendio.server.threads import Task

if TYPE_CHECKING:
    from rendio.server.limits import Limits


class State(StrEnum):
    NEW = "new"  # opened, nothing received
    KEPT = "kept"  # answered, open for the next request
    HEAD = "head"  # part of a head received
    BODY = "body"  # part of a body missing
    QUEUED = "queued"  # the request is complete; a thread has it, or will have
    SENDING = "sending"  # answered; the client has not read all of it
    LINGERING = "lingering"  # to be closed once the client has read the answer
    CLOSED = "closed"


# Closed first if there is no room for a new connection: no thread works for them.
GIVES_WAY = {State.NEW, State.KEPT, State.HEAD, State.BODY, State.SENDING, State.LINGERING}


class Connection:
    """`owner` is a lock. The thread that acts for the connection holds it, or the request from the
    moment it is complete until its response is written."""

    def __init__(self, client: socket.socket, variables: dict[str, Any]) -> None:
        self.client = client
        self.descriptor = client.fileno()
        self.variables = variables  # of WSGI's environ, the same for all requests
        self.owner = threading.Lock()
        self.received = bytearray()
        self.heads = Heads()
        self.incoming: Incoming | None = None
        self.outgoing = Outgoing(client)
        self.task: Task | None = None
        self.held_bytes = 0  # of its body, as they count against the process's limit
        self.closes_after_answer = False
        self.may_send_more = False  # than is read: see Worker._end
        self.dropped_bytes = 0
        self.state = State.NEW
        self.since = time.monotonic()

    def enter(self, state: State) -> None:
        self.state = state
        self.since = time.monotonic()

    def is_late(self, now: float, limits: Limits, *, keepalive: float) -> bool:
        """Whether the client has exceeded the time limit of the connection's state."""
        waited = now - self.since
        match self.state:
            case State.NEW | State.HEAD:
                return waited > limits.head_seconds
            case State.KEPT:
                return waited > keepalive
            case State.BODY if self.incoming:
                received = self.incoming.received_bytes
                return waited > limits.body_seconds + received / limits.least_bytes_per_second
            case State.SENDING:
                return self._reads_too_slowly(now, limits)
            case State.LINGERING:
                allowed = self.dropped_bytes / limits.least_bytes_per_second
                return waited > limits.body_seconds + allowed
        return False

    def _reads_too_slowly(self, now: float, limits: Limits) -> bool:
        out = self.outgoing
        if now - out.progressed_at > limits.reader_seconds:
            return True
        allowed = limits.reader_seconds + out.sent_bytes / limits.least_bytes_per_second
        return now - self.since > allowed
