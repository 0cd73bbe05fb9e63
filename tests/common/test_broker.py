"""A broker that restarts ends no worker."""

from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from rendio.celery import app


def test_a_channel_that_outlives_its_connection_has_a_connection_error():
    """As Celery closes both when the broker is gone: it goes on after such errors and no others."""
    with app.connection() as connection:
        channel = connection.channel()
        transport = channel.connection
        assert channel.pool
        transport.client, channel._pool = None, None
        try:
            with pytest.raises(RedisConnectionError, match="closed"):
                channel.pool  # noqa: B018
        finally:
            transport.client = connection
    assert RedisConnectionError in connection.connection_errors
