"""Counting in Redis over a connection that a thread keeps, in one trip and with little Python.

redis-py connects (TLS, authentication, time-outs, database). Its pipeline takes several times as
long as these few commands themselves, so that they are written and their replies read here
(docs/decisions/0035-the-apis-way-in.md).
"""

from __future__ import annotations

import os
import threading
from typing import Any

import redis

_READ_BYTES = 4_096


class CountingConnections:
    """One connection for each thread, made when the thread first counts."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._own = threading.local()
        # A child must not write to the connection of its parent.
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._own = threading.local()

    def increment(self, windows: list[tuple[str, int]]) -> list[int]:
        """Increment each key, which expires after its seconds, and return the counts.

        A connection that Redis has closed is reopened once. Raises redis.RedisError.
        """
        request = b"".join([_commands(key.encode(), seconds) for key, seconds in windows])
        replies = 2 * len(windows)
        connection = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._pool.make_connection()
        try:
            return _ask(connection, request, replies)
        except redis.TimeoutError:
            raise
        except redis.ConnectionError:
            return _ask(connection, request, replies)


def _commands(key: bytes, seconds: int) -> bytes:
    """INCR key, EXPIRE key seconds NX (RESP)."""
    number = b"%d" % seconds
    return (
        b"*2\r\n$4\r\nINCR\r\n$%d\r\n%b\r\n*4\r\n$6\r\nEXPIRE\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$2\r\nNX\r\n"
        % (len(key), key, len(key), key, len(number), number)
    )


def _ask(connection: Any, request: bytes, replies: int) -> list[int]:
    """Send the commands and read their replies; return the first of each two.

    A connection is closed if anything but numbers arrives, so that no reply is read as the reply to
    a later call. Raises redis.RedisError.
    """
    try:
        # Connects first, if the connection is not open.
        connection.send_packed_command([request], check_health=False)
        received = _receive(connection, replies)
        lines = received.split(b"\r\n")
        if len(lines) != replies + 1 or not all(line.startswith(b":") for line in lines[:-1]):
            first = next(line for line in lines if not line.startswith(b":"))
            raise redis.ResponseError(first[:100].decode(errors="replace"))
        return [int(line[1:]) for line in lines[:-1:2]]
    except BaseException:
        connection.disconnect()
        raise


def _receive(connection: Any, replies: int) -> bytes:
    """Bytes up to the end of that many lines. Raises redis.TimeoutError, redis.ConnectionError."""
    received = b""
    while received.count(b"\r\n") < replies:
        try:
            piece = connection._sock.recv(_READ_BYTES)
        except TimeoutError as error:
            raise redis.TimeoutError("Redis did not answer in time.") from error
        except OSError as error:
            raise redis.ConnectionError(str(error)) from error
        if not piece:
            raise redis.ConnectionError("Redis closed the connection.")
        received += piece
    return received
