"""The response to a request for events: the present state, complete and short.

The events process sends the same state, and leaves the response open.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpResponse

from rendio.common import clock
from rendio.events import reading
from rendio.events.items import AnyItem, Told
from rendio.events.reading import Topic

CONTENT_TYPE = "text/event-stream; charset=utf-8"
# nginx would otherwise buffer the events, and a cache compress them.
HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
# A client that looks again and again, and one whose stream broke.
LOOK_AGAIN_SECONDS = 2.0


@dataclass
class Opening:
    """A stream that begins: what it tells, and to whom."""

    topic: Topic
    session_id: UUID
    language_now: Callable[[], str]
    items: list[AnyItem]
    # time.monotonic() before the items were read.
    read_at: float
    told: Told

    @property
    def has_ended(self) -> bool:
        """Whether nothing will come any more. Of a user there is always more to come."""
        if self.topic.job_id is None:
            return False
        return all(item.has_ended for item in self.items)


class EventsResponse(HttpResponse):
    """The present state as far as the client has not been told it, and when to look again.

    The events process goes on with `opening`.
    """

    opening: Opening

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        frames = opening.told.frames(opening.items, opening.language_now())
        self.has_news = bool(frames)
        content = b"".join([retry(LOOK_AGAIN_SECONDS), *frames])
        for item in opening.items:
            item.drop_bodies()
            item.drop_source()
        super().__init__(content, content_type=CONTENT_TYPE, headers=HEADERS)


def open_events(
    topic: Topic, *, session_id: UUID, language_now: Callable[[], str], last_event_id: str
) -> Opening:
    """Read the topic's items, and render those that are news. Raises Django's database errors."""
    read_at = time.monotonic()
    now = clock.now()
    items = reading.read([topic], now=now)[topic]
    told = Told(last_event_id)
    for item in items:
        if told.lacks(item):
            item.render([language_now()], now=now)
    return Opening(topic, session_id, language_now, items, read_at, told)


def retry(seconds: float) -> bytes:
    """When the client should come back, up to half as long again: they do not all come at once."""
    return b"retry: %d\n\n" % int(seconds * 1000 * random.uniform(1, 1.5))  # noqa: S311
