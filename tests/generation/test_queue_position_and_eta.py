"""Queue position, time left, and the poll interval of the phone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from generation import queries
from generation.models import Job, JobStatus, Stage
from rendio.common.ids import uuid7
from tests.generation.test_fair_queue import copy_job
from tests.helpers.job_driver import create_job


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(queries, "ETA_CACHE_SECONDS", -1)


def finished(job: Job, *seconds: float) -> None:
    """Completed jobs of the same model with these durations."""
    values = {field.attname: getattr(job, field.attname) for field in Job._meta.fields}
    ended = {"status": JobStatus.COMPLETED, "stage": Stage.DONE, "media_name": "x", "due_at": None}
    now = timezone.now()
    Job.objects.bulk_create(
        Job(**values | ended | {"id": uuid7(), "created_at": now - timedelta(seconds=took),
                                "completed_at": now})
        for took in seconds
    )  # fmt: skip


def aged(job: Job, seconds: float) -> Job:
    job.created_at = timezone.now() - timedelta(seconds=seconds)
    job.save(update_fields=["created_at"])
    return job


def eta_of(phone, job):
    return phone.get("get-video-status", job_id=job.id).json()["eta_seconds"]


def test_at_first_the_median_and_the_slow_ones_are_told(phone):
    job = create_job(phone)
    finished(job, *range(100, 120))

    eta = eta_of(phone, aged(job, 0))

    assert 108 <= eta["low"] <= 110
    assert 116 <= eta["high"] <= 118


def test_later_only_those_count_that_took_as_long(phone):
    """Most jobs take ten seconds, but this job has run for a minute."""
    job = create_job(phone)
    finished(job, *[10] * 30, 120, 160, 240)

    eta = eta_of(phone, aged(job, 60))

    assert 98 <= eta["low"] <= 100
    assert 178 <= eta["high"] <= 180


@pytest.mark.parametrize(
    ("took", "age"), [([], 0), ([10, 20], 0), ([10, 20, 30], 31)],
    ids=["nothing known", "too few", "longer than any"],
)  # fmt: skip
def test_where_nobody_knows_nothing_is_told(phone, took, age):
    job = create_job(phone)
    finished(job, *took)

    assert eta_of(phone, aged(job, age)) is None


def test_only_the_recent_ones_count(phone):
    job = create_job(phone)
    finished(job, *[1000] * queries.ETA_SAMPLE_SIZE)
    Job.objects.filter(status=JobStatus.COMPLETED).update(
        completed_at=timezone.now() - timedelta(days=1),
        created_at=timezone.now() - timedelta(days=1, seconds=1000),
    )
    finished(job, *[50] * queries.ETA_SAMPLE_SIZE)

    assert eta_of(phone, aged(job, 0))["high"] <= 50


def test_the_position_counts_who_is_before(phone):
    first = create_job(phone)
    copy_job(first, [phone.user_id] * 3)
    last = create_job(phone)

    positions = [
        phone.get("get-video-status", job_id=job.id).json()["queue_position"]
        for job in (first, last)
    ]

    # The copy_job were ordered at the same moment as the first.
    assert positions == [3, 4]


def test_the_position_is_counted_up_to_a_bound_on_an_index(phone, settings, monkeypatch):
    settings.PERSON_DAILY_USD = 0  # the copy_job cost more than one person may have made in a day
    monkeypatch.setattr(queries, "MAX_QUEUE_POSITION", 20)
    first = create_job(phone)
    copy_job(first, [phone.user_id] * 300)
    done = {"stage": Stage.DONE, "status": JobStatus.COMPLETED, "media_name": "x", "due_at": None}
    Job.objects.filter(id__in=[job.id for job in copy_job(first, [phone.user_id] * 2000)]).update(
        **done
    )
    last = create_job(phone)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE generation_job")

    assert queries.get_state(user_id=phone.user_id, job_id=last.id).queue_position == 20

    before = Job.objects.due(last.due_at, queue="low", stages=[Stage.SUBMIT])[:20]
    plan = before.explain(analyze=True, buffers=False)
    assert "job_due" in plan
    assert "Seq Scan" not in plan
