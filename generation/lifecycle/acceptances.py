"""Accepted submissions, recorded many at a time: SENT to QUEUED, and the provider's ids.

Two round trips for all of them: BEGIN and the locks of the jobs, then one statement and COMMIT. The
statement is SQL, because the values of each row differ.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from generation.dispatch.scheduler import Dispatch
from generation.lifecycle import route_timing
from generation.providers.base import Accepted
from rendio.common import db
from rendio.common.background import changes

# A submission, its `Accepted`, and the time of it.
Acceptance = tuple[Dispatch, Accepted, datetime]

# The jobs before their requests, as in all code: another order of locks would deadlock.
_LOCK_JOBS = "SELECT FROM generation_job WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"

# `was` is the request before this statement. The deadline may have passed first: then the request
# is closed and lifecycle.cancel stops it, and the job is not touched. A webhook may have moved the
# job already.
_RECORD = """
WITH accepted AS (
    SELECT accepted.*, was.state, was.ended_at
    FROM jsonb_to_recordset(%(accepted)s::jsonb) AS accepted (
        job_id uuid, request_id uuid, provider_request_id text, status_url text, response_url text,
        cancel_url text, cost_usd numeric, answered_at timestamptz, queue_position integer,
        due_at timestamptz, deadline_at timestamptz, expected_at timestamptz
    )
    JOIN generation_providerrequest was ON was.id = accepted.request_id
), recorded AS (
    UPDATE generation_providerrequest request
    SET provider_request_id = accepted.provider_request_id,
        status_url = accepted.status_url,
        response_url = accepted.response_url,
        cancel_url = accepted.cancel_url,
        cost_usd = COALESCE(accepted.cost_usd, request.cost_usd),
        answered_at = accepted.answered_at,
        state = CASE accepted.state WHEN 'sending' THEN 'accepted' ELSE accepted.state END,
        cancel_due_at = CASE
            WHEN accepted.state = 'unknown' AND accepted.ended_at IS NOT NULL
            THEN accepted.answered_at
            ELSE request.cancel_due_at
        END
    FROM accepted
    WHERE request.id = accepted.request_id
), queued AS (
    UPDATE generation_job job
    SET stage = 'queued',
        status = 'processing',
        tries = 0,
        queue_position = accepted.queue_position,
        due_at = accepted.due_at,
        deadline_at = accepted.deadline_at,
        expected_at = accepted.expected_at
    FROM accepted
    WHERE job.id = accepted.job_id AND job.stage = 'sent' AND accepted.state = 'sending'
    RETURNING job.id
)
SELECT count(*) FROM queued
"""


def record(accepted: Sequence[Acceptance]) -> int:
    """Store the handles and move the jobs to QUEUED, all or none. Returns how many jobs moved.

    Opens its own transaction. Raises IntegrityError if a provider's id is stored already.
    """
    job_ids = [item.job.id for item, _, _ in accepted]
    rows = [_row(item, answer, at=at) for item, answer, at in accepted]
    with transaction.atomic(durable=True):
        db.begin_with(db.Statement(_LOCK_JOBS, [job_ids], lambda row: None))
        (moved,) = db.commit_with(_RECORD, {"accepted": json.dumps(rows, default=str)})
        for item, _, _ in accepted:
            changes.announce_on_commit(item.job.user_id)
    return int(moved)


def _row(item: Dispatch, answer: Accepted, *, at: datetime) -> dict[str, Any]:
    timing = route_timing.for_route(item.route.id)
    deadline = at + timedelta(seconds=settings.JOB_START_DEADLINE_SECONDS)
    usual = timing.median if timing else None
    if item.job.is_training:
        usual = route_timing.for_training(item.route, item.job.settings["steps"])
    return {
        "job_id": item.job.id,
        "request_id": item.request.id,
        "provider_request_id": answer.handle.request_id,
        "status_url": answer.handle.status_url,
        "response_url": answer.handle.response_url,
        "cancel_url": answer.handle.cancel_url,
        "cost_usd": answer.cost_usd,
        "answered_at": at,
        # Shown only if polls will update the position.
        "queue_position": None if timing and timing.webhooks_reliable else answer.queue_position,
        "due_at": min(at + route_timing.first_poll_delay(timing), deadline),
        "deadline_at": deadline,
        "expected_at": usual and item.request.sent_at + usual,
    }
