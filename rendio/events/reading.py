"""The items of streams, read from the rows: one query for each kind of item, for all streams."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from credits import queries as credit_queries
from generation import queries
from rendio.events.items import AnyItem, BalanceItem, JobItem

# A job has ended by then, a video that comes after the refund included.
RECENT = timedelta(days=1)
# Of one user; older ones are in get-jobs.
MAX_JOBS = 100


class Topic(NamedTuple):
    """What a stream tells: one job of the user, or all that is the user's."""

    user_id: UUID
    job_id: UUID | None = None


def read(topics: Collection[Topic], *, now: datetime) -> dict[Topic, list[AnyItem]]:
    """The items of each topic; none for a job that is deleted or another user's.

    Raises Django's database errors.
    """
    return _read_jobs(
        [topic for topic in topics if topic.job_id is not None], now=now
    ) | _read_users([topic for topic in topics if topic.job_id is None], now=now)


def _read_jobs(topics: Collection[Topic], *, now: datetime) -> dict[Topic, list[AnyItem]]:
    if not topics:
        return {}
    states = queries.get_states([topic.job_id for topic in topics if topic.job_id])
    found: dict[Topic, list[AnyItem]] = {topic: [] for topic in topics}
    for topic in topics:
        state = states.get(topic.job_id) if topic.job_id else None
        if state and state.user_id == topic.user_id:
            found[topic].append(JobItem(state, now=now))
    return found


def _read_users(topics: Collection[Topic], *, now: datetime) -> dict[Topic, list[AnyItem]]:
    if not topics:
        return {}
    user_ids = [topic.user_id for topic in topics]
    balances = credit_queries.balance_summaries(user_ids)
    jobs = queries.list_recent_states(user_ids, since=now - RECENT, limit=MAX_JOBS)
    found: dict[Topic, list[AnyItem]] = {}
    for topic in topics:
        summary = balances.get(topic.user_id)
        found[topic] = [BalanceItem(summary)] if summary else []
        found[topic] += [JobItem(state, now=now) for state in reversed(jobs.get(topic.user_id, []))]
    return found
