"""The response of /statusz: processes, due work, and problems."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from adminops.monitoring import backlog, heartbeats
from adminops.monitoring.heartbeats import EVENTS, SCHEDULER, AliveCount
from rendio.common.times import iso


def read_status(*, now: datetime) -> tuple[dict[str, Any], list[str]]:
    """The processes and the oldest due work; and a sentence for each missing process, late work or
    reported problem. Three queries."""
    alive = heartbeats.alive_counts(now=now)
    waiting = backlog.oldest_due(now=now)
    problems = [
        _missing(role, now=now, seen=seen)
        for role, seen in alive.items()
        if not seen.count
        # Without one, apps look again and again: slower, but nothing waits.
        if role != EVENTS or seen.last_at
    ]
    problems += [
        f"{one.what} have been due for {one.seconds:.0f} s"
        for one in waiting
        if one.seconds > settings.DUE_LATE_SECONDS
    ]
    problems += heartbeats.problems(now=now)
    scheduler, events = alive.pop(SCHEDULER), alive.pop(EVENTS)
    seen = {
        "workers": {queue: _as_json(one) for queue, one in alive.items()},
        "scheduler": _as_json(scheduler),
        "events": _as_json(events),
        "oldest_due": {"what": waiting[0].what, "seconds": round(waiting[0].seconds)}
        if waiting
        else None,
    }
    return seen, problems


def _missing(role: str, *, seen: AliveCount, now: datetime) -> str:
    named = {SCHEDULER: SCHEDULER, EVENTS: "process of event streams"}
    what = named.get(role) or f"worker of the queue {role}"
    if seen.last_at is None:
        return f"no {what} has started yet"
    ago = (now - seen.last_at) // timedelta(seconds=1)
    return f"no {what} is running; the last heartbeat was {ago} s ago"


def _as_json(alive: AliveCount) -> dict[str, Any]:
    return {"alive": alive.count, "last_seen_at": iso(alive.last_at)}
