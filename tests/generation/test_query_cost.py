"""Cost of the due queries: with fifty thousand finished rows and ten due ones, they read tens of
rows."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from generation.dispatch import fair_queue
from generation.due_work import CANCELLABLE_STAGES
from generation.lifecycle import poll
from generation.models import IN_FLIGHT, Job, ProviderRequest, Stage, WebhookDelivery
from tests.helpers.job_driver import create_job

STORED, DUE, TENS = 50_000, 10, 60

COPY_JOBS = """
INSERT INTO generation_job ({columns})
SELECT {values} FROM generation_job, generate_series(1, %s) WHERE id = %s
"""


def copy_of_job(job: Job, count: int, **changes: str) -> None:
    """Copies of this job with new ids. `changes` are SQL expressions."""
    columns = [field.column for field in Job._meta.local_concrete_fields]
    values = {"id": "gen_random_uuid()"} | changes
    with connection.cursor() as cursor:
        cursor.execute(
            COPY_JOBS.format(
                columns=", ".join(columns),
                values=", ".join(values.get(column, column) for column in columns),
            ),
            [count, job.id],
        )


@pytest.fixture
def many_finished_rows(phone):
    """Ten due rows of each kind; all others have ended."""
    job = create_job(phone)
    copy_of_job(
        job,
        STORED,
        status="'completed'",
        stage="'done'",
        media_name="'x'",
        due_at="NULL",
        deadline_at="NULL",
        completed_at="now()",
    )
    for stage in (Stage.SENT, Stage.QUEUED, Stage.RUNNING, Stage.STORE):
        copy_of_job(job, DUE, stage=f"'{stage}'")
    copy_of_job(job, DUE - 1)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO generation_webhookdelivery (id, provider, provider_request_id,"
            " webhook_token, body, received_at, processed_at, outcome)"
            " SELECT gen_random_uuid(), 'fal', '', '', '', now(), now(), 'x'"
            " FROM generate_series(1, %s)",
            [STORED],
        )
        cursor.execute(
            "INSERT INTO generation_providerrequest (id, job_id, route_id, provider, webhook_token,"
            " state, provider_request_id, status_url, response_url, cancel_url, cost_usd,"
            " error_type, error_detail, sent_at, ended_at)"
            " SELECT gen_random_uuid(), id, gen_random_uuid(), 'fal', id::text, 'finished', '', '',"
            " '', '', 0, '', '', now(), now() FROM generation_job WHERE stage = 'done'"
        )
        for table in ("job", "webhookdelivery", "providerrequest"):
            cursor.execute(f"ANALYZE generation_{table}")
    return job


def rows_read(queryset) -> int:
    """Rows read by all steps of the plan, discarded rows included."""
    plan = json.loads(queryset.explain(format="json", analyze=True))[0]["Plan"]
    return _rows(plan)


def _rows(node: dict) -> int:
    own = node["Actual Rows"] * node["Actual Loops"] if "Relation Name" in node else 0
    lost = sum(node.get(name, 0) for name in node if str(name).startswith("Rows Removed by"))
    return int(own + lost) + sum(map(_rows, node.get("Plans", [])))


def test_sweeps_look_at_tens_of_fifty_thousand_rows(many_finished_rows):
    now = timezone.now() + timedelta(seconds=2)
    user_id = many_finished_rows.user_id

    looks = {
        "whose turn": fair_queue.waiting_jobs(queue="low", now=now)[: fair_queue.WINDOW_SIZE],
        "poll": Job.objects.due(now, queue="low", stages=poll.STAGES)[:50],
        "store": Job.objects.due(now, queue="low", stages=[Stage.STORE])[:50],
        "cancel": Job.objects.filter(
            cancel_requested_at__lte=now, stage__in=CANCELLABLE_STAGES
        ).order_by("cancel_requested_at")[:20],
        "in flight by user": Job.objects.filter(user_id__in=[user_id], stage__in=IN_FLIGHT),
        "in flight by key": ProviderRequest.objects.filter(ended_at=None, job__stage__in=IN_FLIGHT),
        "deliveries": WebhookDelivery.objects.filter(processed_at=None).order_by("received_at")[
            :50
        ],
    }
    looked_at = {name: rows_read(look) for name, look in looks.items()}

    assert max(looked_at.values()) <= TENS, looked_at
    assert looked_at["whose turn"] == DUE
    assert looked_at["poll"] == 3 * DUE
