"""Cost of queries among ten thousand finished rows: the due queries and pages of a history read
tens of rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection
from django.utils import timezone
from psycopg import sql
from psycopg._queries import PostgresQuery
from psycopg.adapt import Transformer

from credits import queries as credit_queries
from generation import queries as generation_queries
from generation.dispatch import fair_queue
from generation.due_work import CANCELLABLE_STAGES
from generation.lifecycle import poll
from generation.models import IN_FLIGHT, Job, JobStatus, ProviderRequest, Stage, WebhookDelivery
from tests.helpers.job_driver import create_job

STORED, DUE, TENS = 10_000, 10, 60

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


def test_sweeps_look_at_tens_of_ten_thousand_rows(many_finished_rows):
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


# --- Pages of a history ---------------------------------------------------------------------------


@pytest.fixture
def many_entries(phone):
    """The ids of this guest's ledger entries."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO credits_ledgerentry (id, wallet_id, number, kind, change, balance_after,"
            " debt_change, debt_after, lots, reason, created_at)"
            " SELECT gen_random_uuid(), wallet_id, number + copy, 'grant', 1, 1, 0, 0, '[]', '',"
            " now() FROM credits_ledgerentry, generate_series(1, %s) copy"
            " WHERE wallet_id = (SELECT id FROM credits_wallet WHERE user_id = %s)",
            [STORED, phone.user_id],
        )
        cursor.execute("ANALYZE credits_ledgerentry")


def rows_read_by(read: Callable[[], object]) -> int:
    """Rows read by the one statement that `read` sends, by the plan that PostgreSQL makes for all
    values: it may keep that for a statement that is prepared."""
    sent = []

    def note(execute, statement, parameters, many, context):
        sent.append((statement, parameters))
        return execute(statement, parameters, many, context)

    with connection.execute_wrapper(note):
        read()
    [(statement, parameters)] = sent
    query = PostgresQuery(Transformer(connection.connection))
    query.convert(statement, parameters)
    ordered = [parameters[name] for name in query._order] if query._order else parameters
    values = [sql.Literal(value) for value in ordered]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(b"PREPARE page AS " + query.query)
        cursor.execute(
            sql.SQL("EXPLAIN (ANALYZE, FORMAT json) EXECUTE page({})").format(
                sql.SQL(", ").join(values)
            )
        )
        [[plan]] = cursor.fetchone()
        cursor.execute("DEALLOCATE page")
    return _rows(plan["Plan"])


def test_pages_of_a_long_history_of_jobs_read_tens_of_rows(many_finished_rows):
    user_id = many_finished_rows.user_id
    middle = Job.objects.order_by("id")[STORED // 2].id

    for after, status in ((None, None), (middle, None), (middle, JobStatus.COMPLETED)):
        read = rows_read_by(
            lambda after=after, status=status: generation_queries.list_jobs(
                user_id=user_id, limit=11, offset=0, after=after, status=status
            )
        )

        assert 0 < read <= TENS, (after, status)


def test_pages_of_a_long_history_of_credits_read_tens_of_rows(phone, many_entries):
    entries = credit_queries.history(user_id=phone.user_id, limit=STORED)

    for history in (partial(credit_queries.own_history, offset=0), credit_queries.history):
        for after in (None, entries[STORED // 2].id):
            read = rows_read_by(partial(history, user_id=phone.user_id, limit=11, after=after))

            assert 0 < read <= TENS, (history, after)
