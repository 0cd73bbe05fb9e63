"""What a stream tells: items, each with a state, and the ids of events.

An id is what its client has been told: the digest of each item's state, all in one text. A client
that returns with it gets every item that is different now, and no other. Nothing is stored for it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.utils import translation

from credits.queries import BalanceSummary
from credits.serializers import credits_json
from generation import queries
from generation.models import JobStatus
from generation.queries import JobState
from generation.serializers import job_status
from rendio.common.web.responses import to_json

# Eight characters of base64, without padding. Two states of one user's items are taken for one with
# a probability of 2^-48.
DIGEST_BYTES = 6
# All items of `reading`. A longer id is not one of ours.
MAX_DIGESTS = 120
_ID = re.compile(rf"([A-Za-z0-9_-]{{8}}){{1,{MAX_DIGESTS}}}")


def _digest(*state: object) -> bytes:
    return blake2b(repr(state).encode(), digest_size=DIGEST_BYTES).digest()


def event_id(digests: Iterable[bytes]) -> str:
    return urlsafe_b64encode(b"".join(digests)).decode()


def read_event_id(text: str) -> set[bytes]:
    """The digests in a Last-Event-ID; none if the id is not one of ours."""
    if not _ID.fullmatch(text):
        return set()
    joined = urlsafe_b64decode(text)
    return {joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)}


Source = TypeVar("Source")


class Item(ABC, Generic[Source]):
    """One thing with a state. `key` names it among its user's items, `digest` names the state.
    `has_ended`: the state is the last.

    Thousands of streams wait with items that everybody knows: bodies, by language, are made only
    for those who have to be told.
    """

    __slots__ = ("_bodies", "_source", "digest", "has_ended", "key")

    event: str

    def __init__(
        self, key: UUID | str, digest: bytes, source: Source, *, has_ended: bool = False
    ) -> None:
        self.key = key
        self.digest = digest
        self.has_ended = has_ended
        self._source: Source | None = source
        self._bodies: dict[str, bytes] | None = None

    def render(self, languages: Iterable[str], *, now: datetime) -> None:
        """Make the bodies, unless the source is dropped. May read the database."""
        for language in languages:
            if self._source is not None and self.find_body(language) is None:
                with translation.override(language):
                    body = to_json(self._describe(self._source, now=now))
                self._bodies = {**(self._bodies or {}), language: body}

    def find_body(self, language: str) -> bytes | None:
        """None if it was not made, or is dropped."""
        return self._bodies.get(language) if self._bodies else None

    def drop_bodies(self) -> None:
        self._bodies = None

    def drop_source(self) -> None:
        """Once the bodies are made. The next reading makes an item anew."""
        self._source = None

    def advance(self, *, now: datetime) -> Item[Source]:
        """The item as it is now although no row has changed; itself if nothing has."""
        return self

    @abstractmethod
    def _describe(self, source: Source, *, now: datetime) -> dict[str, Any]:
        """The data of its event."""


class JobItem(Item[JobState]):
    """The status of a job. Remaining seconds and signatures of URLs are no changes."""

    __slots__ = ()

    event = "status"

    def __init__(self, state: JobState, *, now: datetime) -> None:
        progress = queries.progress(state, now=now)
        digest = _digest(
            state.id, state.status, progress, state.queue_position, state.credits_refunded,
            state.media_name, state.thumbnail_name, len(state.images),
        )  # fmt: skip
        has_ended = state.status in JobStatus.terminal()
        super().__init__(state.id, digest, state, has_ended=has_ended)

    def drop_source(self) -> None:
        """Kept while progress follows the clock."""
        if self._source is not None and (self.has_ended or self._source.expected_at is None):
            self._source = None

    def advance(self, *, now: datetime) -> Item[JobState]:
        """Progress follows the clock between two reports of the provider."""
        if self._source is None:
            return self
        advanced = JobItem(self._source, now=now)
        return self if advanced.digest == self.digest else advanced

    def _describe(self, source: JobState, *, now: datetime) -> dict[str, Any]:
        return job_status(source, now=now)


class BalanceItem(Item[BalanceSummary]):
    """The response of get-user-credits."""

    __slots__ = ()

    event = "balance"

    def __init__(self, summary: BalanceSummary) -> None:
        super().__init__("balance", _digest("balance", summary), summary)

    def _describe(self, source: BalanceSummary, *, now: datetime) -> dict[str, Any]:
        return credits_json(source)


AnyItem = Item[Any]


class Told:
    """What one client has been told, or knows by its Last-Event-ID."""

    __slots__ = ("_digests", "_of_last_id")

    def __init__(self, last_event_id: str = "") -> None:
        self._digests: dict[UUID | str, bytes] = {}
        self._of_last_id = read_event_id(last_event_id)

    def frames(self, items: Iterable[AnyItem], language: str) -> list[bytes]:
        """The events for the items whose state the client has not been told; from now on it has.

        `items` are all that the stream tells. Those without a body in the language come later. The
        id of each event counts only the items up to it.
        """
        now = {item.key: item for item in items}
        known = {
            key: digest
            for key, digest in self._digests.items()
            if key in now  # Others are gone: deleted, or too old.
        }
        if self._of_last_id:
            known |= {k: item.digest for k, item in now.items() if item.digest in self._of_last_id}
            self._of_last_id = set()
        frames = []
        for key, item in now.items():
            if known.get(key) == item.digest or (body := item.find_body(language)) is None:
                continue
            known[key] = item.digest
            told = event_id(known.values())
            frames.append(
                b"event: %s\nid: %s\ndata: %s\n\n" % (item.event.encode(), told.encode(), body)
            )
        self._digests = known
        return frames

    def lacks(self, item: AnyItem) -> bool:
        is_told = self._digests.get(item.key) == item.digest or item.digest in self._of_last_id
        return not is_told
