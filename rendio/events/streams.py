"""Open streams, and the feeds that they tell.

A stream queues nothing: when it can send, it sends the items that differ from what its client has
been told. A slow client therefore misses steps in between, never the present state.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable

from rendio.common.observability import metrics
from rendio.events.items import AnyItem
from rendio.events.reading import Topic
from rendio.events.responses import Opening, retry

# A proxy closes a connection that is silent for a minute. A comment line every 15 seconds is the
# advice of https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes.
MAX_SILENCE_SECONDS = 15.0
COMMENT = b":\n\n"
# Between this and one and a half times as long. A proxy may hold our side open when the client has
# gone.
LIFE_SECONDS = 600.0
# After a deployment's end: by then other processes serve.
RETURN_SECONDS = 1.0


class Feed:
    """A topic, its items, and its streams. `read_at`: time.monotonic() before they were read."""

    __slots__ = ("items", "read_at", "streams", "topic")

    def __init__(self, topic: Topic, items: Iterable[AnyItem], *, read_at: float) -> None:
        self.topic = topic
        self.items = {item.key: item for item in items}
        self.read_at = read_at
        self.streams: set[Stream] = set()


class Stream:
    """One open response. Only the event loop touches it."""

    __slots__ = (
        "_has_work", "_language_now", "_read_at", "_told", "close_reason", "closes_at", "feed",
        "is_gone", "session_id", "spoke_at",
    )  # fmt: skip

    def __init__(self, opening: Opening, feed: Feed) -> None:
        self.feed = feed
        self.session_id = opening.session_id
        self._told, self._language_now = opening.told, opening.language_now
        self._read_at = opening.read_at
        self._has_work: asyncio.Future[None] | None = None
        self.spoke_at = time.monotonic()
        self.closes_at = self.spoke_at + LIFE_SECONDS * random.uniform(1, 1.5)  # noqa: S311
        # Whether the client has closed the connection.
        self.is_gone = False
        self.close_reason = "ended" if opening.has_ended else ""

    @property
    def language(self) -> str:
        return self._language_now()

    def lacks(self, item: AnyItem) -> bool:
        """Whether the client has still to be told. For any thread."""
        return self._told.lacks(item)

    def wake(self) -> None:
        if self._has_work is not None and not self._has_work.done():
            self._has_work.set_result(None)

    def close(self, reason: str) -> None:
        self.close_reason = self.close_reason or reason
        self.wake()

    def disconnect(self) -> None:
        self.is_gone = True
        self.close("disconnected")

    async def next_part(self) -> bytes:
        """The next part of the response; empty at its end."""
        while not self.close_reason:
            if part := self._take_news() or self._take_comment():
                self.spoke_at = time.monotonic()
                return part
            self._has_work = asyncio.get_running_loop().create_future()
            await self._has_work
        return b""

    def last_part(self) -> bytes:
        """What is left to say when the stream closes."""
        if self.close_reason == "revoked":
            return b""
        news = self._take_news()
        return news + retry(RETURN_SECONDS) if self.close_reason == "stopped" else news

    def _take_news(self) -> bytes:
        # Otherwise an older state would follow a newer one.
        if self.feed.read_at < self._read_at:
            return b""
        items = self.feed.items.values()
        frames = self._told.frames(items, self.language)
        metrics.events_sent.inc(len(frames))
        if self.feed.topic.job_id and all(i.has_ended and not self.lacks(i) for i in items):
            self.close_reason = self.close_reason or "ended"
        return b"".join(frames)

    def _take_comment(self) -> bytes:
        return COMMENT if time.monotonic() - self.spoke_at >= MAX_SILENCE_SECONDS else b""
