"""Queries about jobs for the phone: history, progress, queue position, time left."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from generation.models import (
    PROGRESS_STORING,
    Job,
    JobStatus,
    Stage,
    credits_refunded,
)
from rendio.common.db import prepared_cursor
from rendio.common.errors import NotFound
from rendio.common.ids import HIGHEST_UUID, lowest_uuid7
from rendio.common.ttl_cache import ttl_cache

ETA_SAMPLE_SIZE, ETA_MIN_SAMPLE = 50, 3
ETA_CACHE_SECONDS = 10
# Rows counted at most, on an index, however long the queue is.
MAX_QUEUE_POSITION = 1000


class JobState(NamedTuple):
    """What a status tells of a job.

    `queue_position`: the number of jobs ahead, in our queue, at most MAX_QUEUE_POSITION, or in the
    provider's queue, as the provider reported.
    """

    id: UUID
    user_id: UUID
    model_id: UUID
    queue: str
    status: str
    stage: str
    progress: int
    expected_at: datetime | None
    credits: int
    fee_kept: int
    is_refunded: bool
    error_code: str
    media_name: str
    thumbnail_name: str
    images_json: str
    created_at: datetime
    completed_at: datetime | None
    queue_position: int | None

    @property
    def credits_refunded(self) -> int:
        return credits_refunded(self.credits, self.fee_kept, is_refunded=self.is_refunded)

    @property
    def images(self) -> list[dict[str, Any]]:
        return _parse_images(self.images_json)


_STATES = """
SELECT job.id, job.user_id, job.model_id, job.queue, job.status, job.stage, job.progress,
    job.expected_at, job.credits, job.fee_kept, job.refund_entry_id IS NOT NULL, job.error_code,
    job.media_name, job.thumbnail_name, job.images::text, job.created_at, job.completed_at,
    CASE job.stage
        WHEN 'submit' THEN (
            SELECT count(*) FROM (
                SELECT FROM generation_job ahead
                WHERE ahead.queue = job.queue AND ahead.stage = 'submit'
                    AND ahead.due_at <= COALESCE(job.due_at, job.created_at) AND ahead.id <> job.id
                LIMIT %(max_queue_position)s
            ) counted
        )
        WHEN 'sent' THEN 0
        WHEN 'queued' THEN job.queue_position
    END
FROM generation_job job WHERE job.deleted_at IS NULL AND
"""
_OWN_STATE = f"{_STATES} job.id = %(job_id)s AND job.user_id = %(user_id)s AND NOT job.is_training"
_STATES_BY_ID = f"{_STATES} job.id = ANY(%(job_ids)s) AND NOT job.is_training"


def get_state(*, user_id: UUID, job_id: UUID) -> JobState:
    """The user's own job. Raises NotFound, also for another user's job and for a training."""
    with prepared_cursor() as cursor:
        cursor.execute(
            _OWN_STATE,
            {"user_id": user_id, "job_id": job_id, "max_queue_position": MAX_QUEUE_POSITION},
        )
        row = cursor.fetchone()
    if row is None:
        raise NotFound
    return JobState._make(row)


def get_states(job_ids: Iterable[UUID]) -> dict[UUID, JobState]:
    """The videos and images with these ids that are not deleted, by id, of any user."""
    with prepared_cursor() as cursor:
        cursor.execute(
            _STATES_BY_ID, {"job_ids": [*job_ids], "max_queue_position": MAX_QUEUE_POSITION}
        )
        return {state.id: state for state in map(JobState._make, cursor.fetchall())}


# Each user's jobs from the index of histories. Trainings have calls of their own.
_RECENT_STATES = f"""
SELECT recent.* FROM unnest(%(user_ids)s::uuid[]) AS listed (user_id) CROSS JOIN LATERAL (
    {_STATES} job.user_id = listed.user_id AND job.id >= %(first_id)s
        AND NOT job.is_training
    ORDER BY job.id DESC LIMIT %(limit)s
) recent
"""  # noqa: S608  # both parts are ours


def list_recent_states(
    user_ids: Iterable[UUID], *, since: datetime, limit: int
) -> dict[UUID, list[JobState]]:
    """The videos and images that each user ordered since then, by user, newest first, and at most
    `limit` of each user."""
    found: dict[UUID, list[JobState]] = {}
    with prepared_cursor() as cursor:
        cursor.execute(
            _RECENT_STATES,
            {
                "user_ids": [*user_ids],
                "first_id": lowest_uuid7(since),
                "limit": limit,
                "max_queue_position": MAX_QUEUE_POSITION,
            },
        )
        for row in cursor.fetchall():
            state = JobState._make(row)
            found.setdefault(state.user_id, []).append(state)
    return found


class PastJob(NamedTuple):
    """A job in the history."""

    id: UUID
    kind: str
    queue: str
    prompt: str
    model_name: str
    credits: int
    status: str
    media_name: str
    thumbnail_name: str
    images_json: str
    created_at: datetime
    completed_at: datetime | None
    error_code: str

    @property
    def images(self) -> list[dict[str, Any]]:
        return _parse_images(self.images_json)


def _parse_images(images_json: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(images_json)
    return found


# A bound that is always there keeps the condition one for the index.
_HISTORY = """
SELECT job.id, model.kind, job.queue, job.prompt, model.name, job.credits, job.status,
    job.media_name, job.thumbnail_name, job.images::text, job.created_at, job.completed_at,
    job.error_code
FROM generation_job job JOIN generation_model model ON model.id = job.model_id
WHERE job.user_id = %(user_id)s AND job.deleted_at IS NULL AND job.id < %(before)s
    AND NOT job.is_training
    AND (%(status)s::text IS NULL OR job.status = %(status)s)
    AND (%(kind)s::text IS NULL OR model.kind = %(kind)s)
    AND (%(queue)s::text IS NULL OR job.queue = %(queue)s)
ORDER BY job.id DESC LIMIT %(limit)s OFFSET %(offset)s
"""


def list_jobs(
    *,
    user_id: UUID,
    limit: int,
    offset: int,
    after: UUID | None,
    status: str | None = None,
    kind: str | None = None,
    queue: str | None = None,
) -> list[PastJob]:
    """The user's jobs, newest first, after the id `after`. `queue`: only videos, or only images."""
    with prepared_cursor() as cursor:
        cursor.execute(
            _HISTORY,
            {
                "user_id": user_id,
                "before": after or HIGHEST_UUID,
                "status": status,
                "kind": kind,
                "queue": queue,
                "limit": limit,
                "offset": offset,
            },
        )
        return [PastJob._make(row) for row in cursor.fetchall()]


@dataclass(frozen=True)
class Eta:
    """Seconds left: the median and the 90th percentile."""

    low: int
    high: int


def eta(job: JobState, *, now: datetime) -> Eta | None:
    """The time left, estimated from the model's recent jobs that ran longer than this job so far.

    None for an ended job, with fewer than ETA_MIN_SAMPLE completed jobs, and if no recent job took
    that long.
    """
    if job.status in JobStatus.terminal():
        return None
    age = (now - job.created_at).total_seconds()
    durations = _recent_durations(job.model_id)
    left = [took - age for took in durations if took > age]
    if len(durations) < ETA_MIN_SAMPLE or not left:
        return None
    low, high = (max(round(left[len(left) * percent // 100]), 1) for percent in (50, 90))
    return Eta(low, high)


def progress(job: Job | JobState, *, now: datetime) -> int:
    """Percent: the provider's value, or the share of the usual time that has passed, if larger.

    Stays below PROGRESS_STORING until the provider has finished.
    """
    if job.stage not in {Stage.QUEUED, Stage.RUNNING} or job.expected_at is None:
        return job.progress
    passed = (now - job.created_at) / max(job.expected_at - job.created_at, timedelta(seconds=1))
    return max(job.progress, int(min(passed, 1) * (PROGRESS_STORING - 1)))


@ttl_cache(lambda: ETA_CACHE_SECONDS)
def _recent_durations(model_id: UUID) -> list[float]:
    """Seconds from order to video of the model's last ETA_SAMPLE_SIZE jobs, shortest first."""
    recent = (
        Job.objects.filter(model_id=model_id, status=JobStatus.COMPLETED)
        .order_by("-completed_at")
        .values_list("created_at", "completed_at")
    )
    return sorted(
        (ended - began).total_seconds() for began, ended in recent[:ETA_SAMPLE_SIZE] if ended
    )
