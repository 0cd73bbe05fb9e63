"""/statusz: who is there, what waits, and in words what is missing or late."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from adminops.models import Heartbeat
from adminops.monitoring import heartbeats
from billing.models import BackfillCursor
from generation.models import FileDeletion, Job, Stage
from rendio import health
from tests.helpers.job_driver import create_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def everybody():
    """A worker for each queue, and the scheduler."""
    for queue in heartbeats.QUEUES:
        seen("worker@one", queue)
    seen("beat@one", heartbeats.SCHEDULER)
    # What the migrations have left to do, as long ago as this database was made.
    BackfillCursor.objects.update(due_at=None)


def seen(process, role, *, seconds_ago=0):
    at = timezone.now() - timedelta(seconds=seconds_ago)
    heartbeats.write(process=process, roles=[role], now=at)


def statusz(client):
    answer = client.get("/statusz")
    return answer.status_code, answer.json()


def test_statusz_is_ok_when_everything_runs(client, everybody):
    status, said = statusz(client)

    assert (status, said["status"], said["problems"]) == (200, "ok", [])
    assert (said["database"], said["redis"], said["oldest_due"]) == ("ok", "ok", None)
    assert said["workers"]["low"]["alive"] == said["scheduler"]["alive"] == 1


@pytest.mark.parametrize(
    ("role", "named"),
    [("low", "worker of the queue low"), (heartbeats.SCHEDULER, "scheduler")],
)
def test_missing_process_is_named(client, everybody, role, named):
    Heartbeat.objects.filter(role=role).update(beaten_at=timezone.now() - timedelta(seconds=40))

    status, said = statusz(client)

    assert status == 503
    assert said["problems"] == [f"no {named} is running; the last heartbeat was 40 s ago"]


def test_one_of_two_workers_is_enough(client, everybody):
    seen("worker@two", "low", seconds_ago=40)

    status, said = statusz(client)

    assert (status, said["workers"]["low"]["alive"]) == (200, 1)


def test_stopped_process_is_missing_at_once(client, everybody):
    heartbeats.delete(process="beat@one")

    assert statusz(client)[1]["problems"] == ["no scheduler has started yet"]


@pytest.mark.parametrize("stage", [Stage.SENT, Stage.QUEUED, Stage.RUNNING, Stage.STORE])
def test_unclaimed_job_is_late(client, everybody, phone, stage):
    job = create_job(phone)
    due_at = timezone.now() - timedelta(seconds=400)
    Job.objects.filter(id=job.id).update(stage=stage, due_at=due_at)

    status, said = statusz(client)

    assert status == 503
    assert said["problems"] == [f"low jobs: {stage} have been due for 400 s"]


def test_queued_job_is_not_late_before_its_deadline(client, everybody, phone):
    job = create_job(phone)
    Job.objects.filter(id=job.id).update(due_at=timezone.now() - timedelta(seconds=400))
    assert statusz(client)[0] == 200

    Job.objects.filter(id=job.id).update(deadline_at=timezone.now() - timedelta(seconds=301))

    assert statusz(client)[1]["problems"] == ["low jobs: submit have been due for 301 s"]


def test_any_due_row_is_late_after_the_limit(client, everybody):
    FileDeletion.objects.create(name="x", due_at=timezone.now() - timedelta(seconds=500))

    status, said = statusz(client)

    assert (status, said["oldest_due"]) == (503, {"what": "removals", "seconds": 500})


def test_missing_redis_is_named(client, everybody, settings, closed_port):
    health._client.cache_clear()
    settings.REDIS_URL = f"redis://127.0.0.1:{closed_port}/0"

    status, said = statusz(client)
    health._client.cache_clear()

    assert (status, said["problems"]) == (503, ["Redis is unreachable"])


def test_missing_database_is_named(client):
    def refuse(*_):
        raise OperationalError

    with connection.execute_wrapper(refuse):
        status, said = statusz(client)

    assert (status, said["database"]) == (503, "unreachable")
    assert said["problems"] == ["the database is unreachable"]


def test_statusz_takes_three_queries(client, everybody, django_assert_num_queries):
    with django_assert_num_queries(3):
        statusz(client)
