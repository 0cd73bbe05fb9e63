"""The row that the function generation_create_job inserts, and what it reads for it."""

from __future__ import annotations

from django.db import connection
from django.utils import timezone

from generation import exposure
from generation.models import Job
from tests.generation.test_query_cost import copy_of_job
from tests.helpers.job_driver import create_job, grant
from tests.helpers.phone import Phone

# Set by the order itself.
OF_THE_ORDER = {
    "id", "user_id", "model_id", "prompt", "settings", "credits", "price_usd", "queue", "due_at",
    "deadline_at", "request_id", "created_at",
}  # fmt: skip

JOBS_READ = """
SELECT seq_tup_read + COALESCE(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
WHERE relname = 'generation_job'
"""


def test_new_job_has_the_defaults_of_the_model(phone):
    job, default = create_job(phone), Job()

    for field in Job._meta.local_concrete_fields:
        if field.attname not in OF_THE_ORDER:
            assert getattr(job, field.attname) == getattr(default, field.attname), field.attname


def jobs_read() -> int:
    with connection.cursor() as cursor:
        cursor.execute(JOBS_READ)
        return cursor.fetchone()[0]


def test_exposure_reads_no_jobs_of_others(phone):
    other = Phone().sign_in()
    grant(other.user_id, 10)
    copy_of_job(create_job(other), 5_000)
    create_job(phone)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE generation_job")
    limits = exposure.parameters(phone.user_id, max_cost_usd=1, credits=1, now=timezone.now())
    before = jobs_read()

    exposure.get_exposure(limits)

    assert 1 <= jobs_read() - before <= 10
