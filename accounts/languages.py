"""Profile languages that changed after an access token was issued.

An access token carries its user's language for up to ACCESS_TOKEN_SECONDS. Each process keeps the
changes of that period and reads new ones from PostgreSQL together with the revocations, so that a
request needs no query. A change takes effect at once in the process that made it, and within
settings.REVOCATION_REFRESH_SECONDS in the others, in all sessions of the user.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from accounts.models import User

# A transaction sets its time before it commits, and clocks differ: this period is read again.
OVERLAP = timedelta(seconds=60)


class ChangedLanguages:
    """Language changes of this process. Reading needs no lock: a dict lookup is atomic."""

    def __init__(self) -> None:
        self._changes: dict[UUID, tuple[datetime, str]] = {}
        self._read_until: datetime | None = None

    def current(self, user_id: UUID, *, token_language: str, issued_at: float) -> str:
        """The user's language. `token_language` was current at `issued_at` (epoch
        seconds)."""
        change = self._changes.get(user_id)
        if change is None or change[0].timestamp() < issued_at:
            return token_language
        return change[1]

    def add(self, user_id: UUID, language: str, *, changed_at: datetime) -> None:
        known = self._changes.get(user_id)
        if known is None or known[0] <= changed_at:
            self._changes[user_id] = (changed_at, language)

    def clear(self) -> None:
        """The state of a process that has just started."""
        self._changes, self._read_until = {}, None

    def refresh(self, *, now: datetime) -> None:
        """Read changes since the last refresh; drop those that every valid token knows."""
        oldest = now - timedelta(seconds=settings.ACCESS_TOKEN_SECONDS) - OVERLAP
        since = max(oldest, self._read_until - OVERLAP) if self._read_until else oldest
        changed = User.objects.filter(language_changed_at__gte=since)
        for user_id, language, changed_at in changed.values_list(
            "id", "language", "language_changed_at"
        ):
            assert changed_at is not None  # noqa: S101  # for the type checker
            self.add(user_id, language, changed_at=changed_at)
        self._read_until = now
        for user_id, (changed_at, _language) in list(self._changes.items()):
            if changed_at < oldest:
                del self._changes[user_id]


# Of this process.
changed = ChangedLanguages()
