"""The backlog: the oldest due row of each kind of work.

A healthy system has due rows for moments only: a claim makes a row due again later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rendio.common.background import due_work


@dataclass(frozen=True)
class OldestDue:
    """A kind of work that waits, and for how long its oldest row has been due."""

    what: str
    seconds: float


def oldest_due(*, now: datetime) -> list[OldestDue]:
    """The kinds of work that have a due row, the longest due first. One query."""
    rows = [rows for kind in due_work.kinds() for rows in kind.rows if rows.label]
    found = due_work.oldest_due(rows, now=now, by_late_column=True)
    oldest = [OldestDue(rows[number].label, (now - at).total_seconds()) for number, at in found]
    return sorted(oldest, key=lambda one: -one.seconds)
