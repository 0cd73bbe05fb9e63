"""Due work: beat wakes a worker for each kind with a due row, and for nothing else."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
import redis
from django.conf import settings as django_settings
from django.db import OperationalError, connection
from django.utils import timezone

from generation.due_work import POLL_JOBS, SUBMIT_JOBS
from generation.models import FileDeletion, Job, Stage
from rendio import beat_scheduler
from rendio.beat_scheduler import Scheduler
from rendio.celery import app
from rendio.common.background.due_rows import DueRow, lease_due
from rendio.common.background.due_work import (
    DueLookup,
    DueRows,
    DueWork,
    _kinds,
    due_batch,
    due_work,
    kinds,
)
from tests.helpers.job_driver import create_job


@pytest.fixture
def files():
    """A kind of work of this test, in a queue that no worker serves."""
    queue = f"test-{uuid4()}"
    work = DueWork(
        f"test.{queue}",
        DueRows("", lambda: FileDeletion.objects.filter(name=queue)),
        queue=queue,
        every_seconds=1,
        batch=2,
    )
    yield work
    del _kinds[work.task]
    redis.Redis.from_url(django_settings.REDIS_URL).delete(queue)


@pytest.fixture
def scheduler(files, tmp_path):
    scheduler = Scheduler(app, schedule_filename=str(tmp_path / "beat"), lazy=True)
    scheduler._lookup = DueLookup([files])
    return scheduler


def messages(work):
    return redis.Redis.from_url(django_settings.REDIS_URL).llen(work.queues[0])


def make_rows(work, *, due_in=timedelta(0), count=1):
    due_at = timezone.now() + due_in
    for _ in range(count):
        FileDeletion.objects.create(name=work.queues[0], due_at=due_at)


def pass_a_second(scheduler):
    scheduler._next_lookup_at -= 1
    for key in scheduler._sent_at:
        scheduler._sent_at[key] -= 1


def test_nothing_due_wakes_no_worker(db, scheduler, files):
    make_rows(files, due_in=timedelta(minutes=1))

    scheduler.tick()

    assert messages(files) == 0


def test_a_due_row_wakes_a_worker_each_second_until_it_is_claimed(db, scheduler, files):
    make_rows(files)

    scheduler.tick()
    scheduler.tick()
    assert messages(files) == 1
    pass_a_second(scheduler)
    scheduler.tick()
    assert messages(files) == 2

    FileDeletion.objects.update(due_at=timezone.now() + timedelta(minutes=1))
    pass_a_second(scheduler)
    scheduler.tick()
    assert messages(files) == 2


def test_work_with_a_long_interval_is_sent_once_in_it(db, scheduler, files):
    files.every_seconds = 60
    make_rows(files)

    for _ in range(3):
        scheduler.tick()
        pass_a_second(scheduler)

    assert messages(files) == 1


def test_failed_lookup_is_retried_at_the_next_tick(db, scheduler, files, monkeypatch):
    make_rows(files)
    lookup = scheduler._lookup

    class Down:
        def find(self):
            raise OperationalError from psycopg.OperationalError()

    scheduler._lookup = Down()
    monkeypatch.setattr(beat_scheduler.connection, "close", lambda: None)
    scheduler.tick()
    assert messages(files) == 0

    scheduler._lookup = lookup
    pass_a_second(scheduler)
    scheduler.tick()
    assert messages(files) == 1


def test_a_lookup_is_one_query_for_all_kinds(db, phone, django_assert_num_queries):
    job = create_job(phone)
    lookup = DueLookup(kinds())
    found = lookup.find()
    assert (SUBMIT_JOBS, "low") in found
    assert not {(SUBMIT_JOBS, "medium"), (POLL_JOBS, "low")} & found

    Job.objects.filter(id=job.id).update(stage=Stage.QUEUED)
    with django_assert_num_queries(1):
        found = lookup.find()

    assert (POLL_JOBS, "low") in found
    assert (SUBMIT_JOBS, "low") not in found


def test_a_lookup_reads_no_table_from_end_to_end(db):
    """Each part of the query is served by an index, however large its table grows."""
    lookup = DueLookup(kinds())
    lookup.find()
    statement, parameters = lookup._statement
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {statement}", parameters)
        plan = [line for (line,) in cursor.fetchall()]

    unserved = [line for line in plan if "Seq Scan" in line or "Sort Key" in line]
    # These have four rows and one row, for good.
    few_rows = ("billing_historywalk", "credits_ledgerproof")
    assert not [line for line in unserved if not any(table in line for table in few_rows)]


def test_every_model_with_due_rows_belongs_to_a_kind_of_work():
    def models_of(cls):
        for model in cls.__subclasses__():
            yield from models_of(model) if model._meta.abstract else [model]

    worked_on = {rows.rows().model for kind in kinds() for rows in kind.rows}

    assert set(models_of(DueRow)) <= worked_on


def test_every_kind_has_a_handler():
    for kind in kinds():
        assert kind.celery_task.name == kind.task


def test_the_task_works_until_no_row_is_due(db, files):
    make_rows(files, count=5)
    done = []

    @due_work(files)
    def handle(row, *, now):
        done.append(row.id)
        row.delete()

    files.celery_task()

    assert len(set(done)) == 5


def test_a_batch_handler_gets_the_queue_that_the_message_names(db, files):
    seen = []

    @due_batch(files)
    def handle(*, queue, now):
        seen.append(queue)

    files.celery_task(queue="low")

    assert seen == ["low"]


def test_a_leased_row_is_due_again_after_the_lease(db, files):
    make_rows(files)
    now = timezone.now()
    lease = timedelta(seconds=60)

    def claim(at):
        rows = FileDeletion.objects.filter(name=files.queues[0])
        return lease_due(rows, now=at, limit=9, lease=lease, tries=7)

    [row] = claim(now)
    assert row.due_at == now + lease
    assert FileDeletion.objects.get(id=row.id).tries == 7
    assert claim(now + timedelta(seconds=59)) == []
    assert len(claim(now + lease)) == 1
