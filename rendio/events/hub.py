"""All open streams of one process, and the thread that reads what they tell.

Each topic is read once, however many streams it has: after an announcement
(rendio.common.background.changes), and every CHECK_SECONDS, or every second while no announcements
arrive. So a lost announcement delays an event, and without Redis events are at most a second late.
While PostgreSQL is away the streams stay open, and catch up afterwards.

Streams are opened, woken and closed on the event loop. The thread only reads `feeds` and replaces
their items.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error as DatabaseFailure
from django.db import connection, connections

from accounts import revocations
from rendio.common import clock
from rendio.common.background.threads import BackgroundThread
from rendio.common.observability import metrics
from rendio.common.postgresql.limits import at_most
from rendio.events import reading
from rendio.events.announcements import Announcements
from rendio.events.items import AnyItem
from rendio.events.reading import Topic
from rendio.events.responses import Opening
from rendio.events.streams import MAX_SILENCE_SECONDS, Feed, Stream

logger = structlog.get_logger(__name__)

CHECK_SECONDS = 5.0
# Progress by the clock, lives and sessions of streams; all rows while no announcements arrive.
BEAT_SECONDS = 1.0
# Two reads are at least so far apart: announcements of one moment are read together.
PAUSE_SECONDS = 0.02
# Feeds of one read: what was announced does not wait for all others.
BATCH = 200
LATE_SECONDS = 30


class Hub:
    """The feeds with open streams, by topic. Made on the event loop, once in a process."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.feeds: dict[Topic, Feed] = {}
        self._feeds_of_user: dict[UUID, list[Feed]] = {}
        self._count = 0
        self._is_stopped = False
        self._reader = Reader(self)
        self._announcements = Announcements(self._reader.announce)

    def start(self) -> None:
        self._reader.start()
        self._announcements.start()
        self._beat()

    @property
    def streams(self) -> list[Stream]:
        return [stream for feed in self.feeds.values() for stream in feed.streams]

    @property
    def hears_announcements(self) -> bool:
        return self._announcements.are_heard

    def add(self, opening: Opening) -> Stream | None:
        """None if a limit of streams is reached, or the process ends."""
        feeds_of_user = self._feeds_of_user.get(opening.topic.user_id, [])
        count_of_user = sum(len(feed.streams) for feed in feeds_of_user)
        if (
            self._is_stopped
            or self._count >= settings.EVENT_STREAMS_PER_PROCESS
            or count_of_user >= settings.EVENT_STREAMS_PER_USER
        ):
            return None
        feed = self.feeds.get(opening.topic)
        is_new = feed is None
        feed = feed or Feed(opening.topic, opening.items, read_at=opening.read_at)
        stream = Stream(opening, feed)
        feed.streams.add(stream)
        if is_new:
            self.feeds[opening.topic] = feed
            self._feeds_of_user[opening.topic.user_id] = [*feeds_of_user, feed]
        self._set_count(self._count + 1)
        # What changed since the opening was read was announced before anybody listened.
        self._reader.announce([opening.topic.user_id])
        return stream

    def remove(self, stream: Stream) -> None:
        feed = stream.feed
        feed.streams.remove(stream)
        self._set_count(self._count - 1)
        metrics.event_streams_closed.labels(stream.close_reason).inc()
        if feed.streams:
            return
        del self.feeds[feed.topic]
        user_id = feed.topic.user_id
        others = [other for other in self._feeds_of_user[user_id] if other is not feed]
        if others:
            self._feeds_of_user[user_id] = others
        else:
            del self._feeds_of_user[user_id]

    def _set_count(self, count: int) -> None:
        self._count = count
        metrics.event_streams.set(count)

    def stop(self) -> None:
        """Close all streams and refuse new ones. For a signal handler."""
        self._is_stopped = True
        self._loop.call_soon_threadsafe(self._close_all)

    def find_feeds(self, user_ids: Iterable[UUID]) -> list[Feed]:
        """The feeds of these users. For any thread."""
        return [feed for user_id in user_ids for feed in self._feeds_of_user.get(user_id, [])]

    def wake(self, feeds: Collection[Feed]) -> None:
        """Wake the streams of these feeds. For any thread."""
        self._loop.call_soon_threadsafe(self._wake, feeds)

    def _wake(self, feeds: Collection[Feed]) -> None:
        for feed in feeds:
            for stream in feed.streams:
                stream.wake()

    def end(self) -> None:
        """End the threads; their connections are closed with them."""
        self._is_stopped = True
        self._beats.cancel()
        self._announcements.stop()
        self._reader.stop()

    def _close_all(self) -> None:
        for stream in self.streams:
            stream.close("stopped")

    def _beat(self) -> None:
        now = time.monotonic()
        for stream in self.streams:
            if revocations.is_revoked(stream.session_id):
                stream.close("revoked")
            elif now >= stream.closes_at:
                stream.close("expired")
            elif now - stream.spoke_at >= MAX_SILENCE_SECONDS:
                stream.wake()
        self._beats = self._loop.call_later(BEAT_SECONDS, self._beat)


class Reader:
    """The thread that reads the items of all feeds."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._announced: set[UUID] = set()
        self._changed = threading.Condition()
        self._beat_at = self._check_at = 0.0
        # Feeds of the present check that are still to be read.
        self._unchecked: list[Feed] = []
        self._is_stopped = False
        self._thread = BackgroundThread(
            "events",
            wait=self._wait,
            turn=self._read_due,
            late_seconds=LATE_SECONDS,
            at_end=connections.close_all,
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped = True
        self._thread.join(timeout=2)

    def announce(self, user_ids: Collection[UUID]) -> None:
        """Read these users' feeds soon. For any thread."""
        with self._changed:
            self._announced.update(user_ids)
            self._changed.notify()

    def _wait(self) -> bool:
        time.sleep(PAUSE_SECONDS)
        with self._changed:
            while not (self._announced or self._unchecked) and self._beat_in > 0:
                self._changed.wait(self._beat_in)
        return not self._is_stopped

    @property
    def _beat_in(self) -> float:
        """Seconds until the next beat."""
        return self._beat_at - time.monotonic()

    def _read_due(self) -> None:
        with self._changed:
            announced, self._announced = self._announced, set()
        began_at = time.monotonic()
        if is_beat := began_at >= self._beat_at:
            self._beat_at = began_at + BEAT_SECONDS
        if is_beat and (began_at >= self._check_at or not self._hub.hears_announcements):
            self._check_at = began_at + CHECK_SECONDS
            self._unchecked = list(self._hub.feeds.values())
        feeds, self._unchecked = self._unchecked[:BATCH], self._unchecked[BATCH:]
        feeds += self._hub.find_feeds(announced)
        if feeds and not self._read(feeds, began_at=began_at):
            # Announcements of this turn are lost.
            self._check_at, self._unchecked = 0.0, []
        if is_beat:
            self._advance(list(self._hub.feeds.values()))

    def _read(self, feeds: list[Feed], *, began_at: float) -> bool:
        """False if PostgreSQL is away."""
        now = clock.now()
        try:
            with at_most(settings.DB_REQUEST_SECONDS):
                found = reading.read({feed.topic for feed in feeds}, now=now)
                for feed in feeds:
                    self._replace(feed, found[feed.topic], now=now)
                    feed.read_at = began_at
        except DatabaseFailure as error:
            logger.warning("events_not_read", error=type(error).__name__)
            connection.close()
            return False
        # All, not only those that have changed: a stream may have been opened by an older read.
        self._hub.wake(feeds)
        return True

    def _advance(self, feeds: list[Feed]) -> None:
        now = clock.now()
        changed = []
        for feed in feeds:
            items = [*feed.items.values()]
            advanced = [item.advance(now=now) for item in items]
            if advanced != items:
                self._replace(feed, advanced, now=now)
                changed.append(feed)
        self._hub.wake(changed)

    def _replace(self, feed: Feed, items: list[AnyItem], *, now: datetime) -> None:
        """Give the feed its new items, with bodies for the streams that have not been told."""
        current: dict[UUID | str, AnyItem] = {}
        streams = list(feed.streams)
        for item in items:
            current[item.key] = item
            languages = {stream.language for stream in streams if stream.lacks(item)}
            try:
                item.render(languages, now=now)
            except DatabaseFailure:
                raise
            except Exception:
                # One invalid row must not stop the other streams.
                logger.exception("event_not_rendered", topic=str(feed.topic), key=str(item.key))
            item.drop_source()
        feed.items = current
