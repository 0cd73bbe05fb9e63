"""A fix for kombu's Redis channel, which would end a worker."""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as transport
from redis.exceptions import ConnectionError as RedisConnectionError


class Channel(transport.Channel):
    """A channel that survives being closed after its connection.

    When the broker restarts, Celery closes the connection and then the channel, which tries to
    restore unacknowledged messages. kombu 5.7 then reads the address of a closed connection: an
    AttributeError, which is not a connection error, and ends the worker.
    """

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:
        if self.connection.client is None:
            raise RedisConnectionError("The connection to the broker is closed.")
        return super()._connparams(*args, **kwargs)  # type: ignore[misc]


def install() -> None:
    """Make kombu use Channel for every connection to Redis."""
    transport.Transport.Channel = Channel
