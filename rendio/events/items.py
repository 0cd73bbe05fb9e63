"""What a stream tells: items, each with a state, and the ids of events.

An id is what its client has been told: the digest of each item's state, all in one text. A client
that returns with it gets every item that is different now, and no other. Nothing is stored for it.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Any
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


class Item:
    """One thing with a state. `key` names it among its user's items, `digest` names the state."""

    __slots__ = ("_bodies", "digest", "key")

    event: str
    # Whether the state is the last.
    has_ended = False

    def __init__(self, key: UUID | str, digest: bytes) -> None:
        self.key = key
        self.digest = digest
        self._bodies: dict[str, bytes] = {}

    def render(self, languages: Iterable[str], *, now: datetime) -> None:
        """Make the body in each language that it does not have yet. May read the database."""
        for language in languages:
            if language not in self._bodies:
                with translation.override(language):
                    self._bodies[language] = to_json(self._body(now=now))

    def keep_bodies(self, earlier: Item) -> None:
        """Take over the bodies of an item with the same state."""
        self._bodies = earlier._bodies

    def frame(self, language: str, event_id: str) -> bytes:
        """The event in the language, or in another if `render` was not called for it."""
        body = self._bodies.get(language) or next(iter(self._bodies.values()))
        return b"event: %s\nid: %s\ndata: %s\n\n" % (self.event.encode(), event_id.encode(), body)

    def advance(self, *, now: datetime) -> Item:
        """The item as it is now although no row has changed; itself if nothing has."""
        return self

    def _body(self, *, now: datetime) -> dict[str, Any]:
        raise NotImplementedError


class JobItem(Item):
    """The status of a job. Remaining seconds and signatures of URLs are no changes."""

    __slots__ = ("_state",)

    event = "status"

    def __init__(self, state: JobState, *, now: datetime) -> None:
        progress = queries.progress(state, now=now)
        super().__init__(
            state.id,
            _digest(
                state.id, state.status, progress, state.queue_position, state.credits_refunded,
                state.media_name, state.thumbnail_name, len(state.images),
            ),
        )  # fmt: skip
        self._state = state

    @property
    def has_ended(self) -> bool:  # type: ignore[override]
        return self._state.status in JobStatus.terminal()

    def advance(self, *, now: datetime) -> Item:
        """Progress follows the clock between two reports of the provider."""
        if self.has_ended or self._state.expected_at is None:
            return self
        advanced = JobItem(self._state, now=now)
        return self if advanced.digest == self.digest else advanced

    def _body(self, *, now: datetime) -> dict[str, Any]:
        return job_status(self._state, now=now)


class BalanceItem(Item):
    """The response of get-user-credits."""

    __slots__ = ("_summary",)

    event = "balance"

    def __init__(self, summary: BalanceSummary) -> None:
        super().__init__("balance", _digest("balance", summary))
        self._summary = summary

    def _body(self, *, now: datetime) -> dict[str, Any]:
        return credits_json(self._summary)


class Told:
    """What one client has been told, or knows by its Last-Event-ID."""

    __slots__ = ("_digests", "_of_last_id")

    def __init__(self, last_event_id: str = "") -> None:
        self._digests: dict[UUID | str, bytes] = {}
        self._of_last_id = read_event_id(last_event_id)

    def frames(self, items: Iterable[Item], language: str) -> list[bytes]:
        """The events for the items whose state the client has not been told; from now on it has.

        `items` are all that the stream tells, and rendered. The id of each event counts only the
        items up to it.
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
            if known.get(key) != item.digest:
                known[key] = item.digest
                frames.append(item.frame(language, event_id(known.values())))
        self._digests = known
        return frames
