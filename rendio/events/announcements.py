"""The process's one subscription to announced changes (rendio.common.background.changes)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import redis
import structlog
from django.conf import settings

from rendio.common.background import changes
from rendio.common.background.threads import BackgroundThread

logger = structlog.get_logger(__name__)

PING_SECONDS = 1.0
# Redis answers a ping at once. One that is silent for so long announces nothing either.
SILENT_SECONDS = 3.0


class Announcements:
    """A thread that listens and calls `on_change` with the users of each message. A subscription
    that breaks or falls silent is made anew."""

    def __init__(self, on_change: Callable[[Collection[UUID]], object]) -> None:
        self._on_change = on_change
        self._is_subscribed = False
        self._has_begun = self._is_stopped = False
        self._thread = BackgroundThread(
            "announcements", wait=self._wait, turn=self._listen, late_seconds=None
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped = True
        self._thread.join(timeout=2)

    @property
    def are_heard(self) -> bool:
        """Whether the subscription works; only until then may announcements be lost."""
        return self._is_subscribed

    def _wait(self) -> bool:
        """No wait the first time. False ends the thread."""
        if self._has_begun and not self._is_stopped:
            time.sleep(PING_SECONDS)
        self._has_begun = True
        return not self._is_stopped

    def _listen(self) -> None:
        client = redis.Redis.from_url(settings.REDIS_URL, **settings.REDIS_CLIENT_OPTIONS)
        try:
            with client.pubsub() as subscription:  # type: ignore[no-untyped-call]
                subscription.subscribe(changes.CHANNEL)
                self._read_messages(subscription)
        except redis.RedisError as error:
            logger.warning("announcements_not_heard", error=type(error).__name__)
        finally:
            self._is_subscribed = False
            client.close()

    def _read_messages(self, subscription: Any) -> None:
        """Returns when Redis has fallen silent, and at `stop`. Raises redis.RedisError."""
        heard_at, pinged_at = time.monotonic(), 0.0
        while time.monotonic() - heard_at < SILENT_SECONDS:
            if time.monotonic() - pinged_at >= PING_SECONDS:
                pinged_at = time.monotonic()
                subscription.ping()
            message = subscription.get_message(timeout=PING_SECONDS)
            if message is None:
                continue
            heard_at = time.monotonic()
            self._is_subscribed = True
            if message["type"] == "message":
                self._on_change(changes.read_message(message["data"]))
            if self._is_stopped:
                return
        logger.warning("announcements_not_heard", error="silence")
