"""Concurrent due functions with real commits: each effect happens once. And the cost of a claim."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import connection
from django.utils import timezone

from generation import cleanup
from generation.dispatch import scheduler
from generation.due_work import (
    CONVERT_LEASE,
    CONVERT_VIDEOS,
    JOB_LEASE,
    POLL_JOBS,
    STORE_LEASE,
    STORE_RESULTS,
    SUBMIT_JOBS,
)
from generation.lifecycle import attempts, claims, poll, store, submit
from generation.models import FileDeletion, Job, JobStatus, ProviderRequest, Stage
from generation.video_files import process
from rendio.common.background.due_rows import DRAIN_SECONDS
from rendio.common.ids import uuid7
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import (
    JobDriver,
    assert_completed,
    assert_refunded,
    create_job,
    grant,
    kinds_of,
    override_provider,
    send_webhook,
    status_polls,
    submissions,
)

WORKERS = 4


def test_workers_who_submit_at_once_submit_each_job_once(guest, instant_provider):
    jobs = [create_job(guest) for _ in range(6)]
    life = JobDriver()

    at_once(*[life.submit] * WORKERS)

    assert len(submissions(instant_provider)) == len(instant_provider.jobs()) == 6
    assert ProviderRequest.objects.filter(job__in=jobs).count() == 6
    for job in jobs:
        life.run_until_done(job)
        assert_completed(job)


def test_workers_who_look_at_once_look_at_each_job_once(guest, instant_provider):
    instant_provider.provider(run_seconds=600, cancel_running=True)
    jobs = [create_job(guest) for _ in range(6)]
    life = JobDriver()
    life.submit()
    life.advance(3)

    at_once(*[life.poll] * WORKERS)

    assert len(status_polls(instant_provider)) == 6
    for job in jobs:
        guest.post("cancel-video-job", {"job_id": str(job.id)})
        assert_refunded(job, status=JobStatus.CANCELLED)


def test_workers_who_store_at_once_fetch_each_video_once(guest, instant_provider):
    jobs = [create_job(guest) for _ in range(6)]
    life = JobDriver()
    life.submit()
    life.advance(3).poll()
    assert Job.objects.filter(id__in=[job.id for job in jobs], stage=Stage.STORE).count() == 6

    at_once(*[life.advance(3).store] * WORKERS)

    fetched = [asked for asked in instant_provider.requests() if "/files/" in asked["path"]]
    assert len(fetched) == 6
    for job in jobs:
        assert_completed(job)


def test_workers_who_meet_a_deadline_at_once_refund_once(guest, instant_provider):
    instant_provider.provider(outcome="submit_500")
    jobs = [create_job(guest) for _ in range(6)]
    before = guest.balance()
    life = JobDriver()
    life.submit()
    life.advance(200)

    at_once(*[life.poll] * WORKERS)

    for job in jobs:
        assert_refunded(job, code="ERR_5001")
    assert guest.balance() == before + 6 * 4


def test_overdue_before_any_provider_was_asked_is_refunded_once(guest, instant_provider):
    jobs = [create_job(guest) for _ in range(4)]
    life = JobDriver().advance(500)

    at_once(*[life.submit] * WORKERS)

    for job in jobs:
        assert_refunded(job, code="ERR_5002")
    assert submissions(instant_provider) == []


def test_poll_and_webhook_at_once_store_once(guest, instant_provider, signer):
    for _ in range(5):
        job = create_job(guest)
        life = JobDriver()
        life.submit()
        assert send_webhook(signer, job) == 200
        life.advance(3)

        at_once(life.poll, life.deliver, life.poll, life.deliver)

        life.run_until_done(job)
        assert_completed(job)
    assert len([asked for asked in instant_provider.requests() if "/files/" in asked["path"]]) == 5


def test_the_webhook_and_the_deadline_at_once_lose_neither_money_nor_video(
    guest, instant_provider, signer
):
    """Both lock the same rows; different orders of locks would deadlock."""
    instant_provider.provider(outcome="submit_lost")
    for _ in range(5):
        job = create_job(guest)
        life = JobDriver()
        life.submit()
        assert send_webhook(signer, job) == 200
        life.advance(200)

        at_once(life.deliver, life.poll)

        life.run_until_done(job)
        life.deliver()
        life.run_until_done(job)
        job.refresh_from_db()
        assert job.media_name
        late = job.status == JobStatus.FAILED
        assert kinds_of(job.id) == (["charge", "refund"] if late else ["charge"])


def test_an_answer_and_its_webhook_at_once_end_in_one_video(
    guest, instant_provider, signer, monkeypatch
):
    """The webhook is processed before the answer of the submission is stored."""
    job = create_job(guest)
    life = JobDriver()
    record = submit._record

    def record_late(item, answer, now):
        assert send_webhook(signer, job) == 200
        at_once(life.deliver, lambda: record(item, answer, now))

    monkeypatch.setattr(submit, "_record", record_late)
    life.submit()

    life.run_until_done(job)
    assert_completed(job)
    request = ProviderRequest.objects.get(job=job)
    assert request.provider_request_id
    assert request.state == "finished"


def test_one_batch_is_sent_side_by_side(guest, instant_provider, stub_server, settings):
    """The provider answers only after it has received all twelve."""
    settings.JOBS_AT_ONCE = {"free": 12}
    override_provider(settings, "fal", url=stub_server.url)
    stub_server.together = threading.Barrier(12)
    stub_server.otherwise = (422, {}, b"{}")
    jobs = [create_job(guest) for _ in range(12)]

    JobDriver().submit()

    assert len(stub_server.asked) == 12
    for job in jobs:
        assert_refunded(job, code="ERR_5003")


@pytest.mark.parametrize(
    ("work", "stage"),
    [
        (SUBMIT_JOBS, Stage.SUBMIT),
        (POLL_JOBS, Stage.QUEUED),
        (STORE_RESULTS, Stage.STORE),
    ],
)
def test_a_batch_is_bounded(phone, instant_provider, settings, work, stage):
    settings.JOBS_AT_ONCE = {"free": 100}
    grant(phone.user_id, 1000)
    first = create_job(phone)
    now = timezone.now() + timedelta(seconds=2)
    copies = copies_of(first, work.batch + 5, stage=stage, due_at=now)

    if work is SUBMIT_JOBS:
        allotted = scheduler.schedule_batch(queue="low", now=now)
        assert (len(allotted.dispatches), len(allotted.unroutable)) == (work.batch, 0)
    else:
        taken = claims.claim(queue="low", stages=[stage], now=now, limit=work.batch)
        assert len(taken) == work.batch
    assert len(copies) > work.batch


def copies_of(job: Job, count: int, **changes) -> list[Job]:
    copies = []
    for _ in range(count):
        values = {field.attname: getattr(job, field.attname) for field in Job._meta.fields}
        copies.append(Job(**values | {"id": uuid7()} | changes))
    return Job.objects.bulk_create(copies)


def test_a_claim_looks_only_at_what_is_due(phone, instant_provider, subtests):
    job = create_job(phone)
    done = {"stage": Stage.DONE, "status": JobStatus.COMPLETED, "media_name": "x", "due_at": None}
    copies_of(job, 3000, **done)
    now = timezone.now()
    kinds = {"submit": [Stage.SUBMIT], "poll": poll.STAGES, "store": [Stage.STORE]}
    for stages in kinds.values():
        copies_of(job, 200, stage=stages[0], due_at=now + timedelta(hours=1))
        copies_of(job, 3, stage=stages[0], due_at=now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE generation_job")

    for kind, stages in kinds.items():
        with subtests.test(kind):
            due = Job.objects.due(now + timedelta(seconds=2), queue="low", stages=stages)
            plan = due.select_for_update(skip_locked=True, of=("self",))[:50].explain(
                analyze=True, buffers=False
            )

            assert due.count() >= 3
            assert "job_due" in plan
            assert "Seq Scan" not in plan


# --- Workers that die ----------------------------------------------------------------------------


def test_a_worker_that_dies_after_its_claim_delays_the_job_by_a_lease(guest, instant_provider):
    job = create_job(guest)
    life = JobDriver()
    life.submit()
    life.advance(3)
    assert claims.claim(queue="low", stages=poll.STAGES, now=life.now, limit=1)

    life.advance(30).poll()
    assert status_polls(instant_provider) == []
    life.advance(100).poll()

    assert len(status_polls(instant_provider)) == 1
    life.run_until_done(job)
    assert_completed(job)


def test_a_worker_that_dies_while_it_stores_is_followed_by_another(guest, instant_provider):
    job = create_job(guest)
    life = JobDriver()
    life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
    now = life.advance(1).now
    taken = claims.claim(queue="low", stages=[Stage.STORE], now=now, limit=1, lease=STORE_LEASE)
    # It had kept the file, and not yet said so.
    kept = store._fetch_and_store(store.start_items(taken, now=now)[0]).media

    life.advance(STORE_LEASE.total_seconds() + 1).store()

    assert_completed(job)
    assert len(submissions(instant_provider)) == 1
    assert default_storage.exists(kept.media_name)
    cleanup.delete_due_files(now=life.advance(attempts.MAX_ATTEMPT_AGE.total_seconds()).now)
    assert not default_storage.exists(kept.media_name)
    assert not default_storage.exists(kept.thumbnail_name)
    assert default_storage.exists(job.media_name)
    assert default_storage.exists(job.thumbnail_name)


def test_what_a_worker_finds_after_its_lease_was_given_to_another_is_nothing(
    guest, instant_provider
):
    job = create_job(guest)
    life = JobDriver()
    life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
    slow = claims.claim(queue="low", stages=[Stage.STORE], now=life.advance(1).now, limit=1)
    other = claims.claim(queue="low", stages=[Stage.STORE], now=life.advance(130).now, limit=1)
    assert slow[0].id == other[0].id == job.id

    [late], [item] = store.start_items(slow, now=life.now), store.start_items(other, now=life.now)
    store._apply(
        late, store.Failed(store.FailureReason.PROVIDER_ERROR, "media_unusable", ""), life.now
    )
    job.refresh_from_db()
    assert job.stage == Stage.STORE

    [later] = store.start_items(slow, now=life.now)
    lost = store._fetch_and_store(later)
    store._apply(item, store._fetch_and_store(item), life.now)
    store._apply(later, lost, life.now)
    assert_completed(job)
    assert default_storage.exists(job.media_name)
    assert not default_storage.exists(lost.media.media_name)
    assert not FileDeletion.objects.filter(name__startswith=cleanup.job_folder(job.id)).exists()


def test_a_lease_outlasts_what_is_done_under_it():
    answer = settings.PROVIDER_CONNECT_TIMEOUT_SECONDS + 2 * settings.PROVIDER_READ_TIMEOUT_SECONDS
    assert answer < JOB_LEASE.total_seconds()
    look = process.PROBE_TIMEOUT_SECONDS + process.GRACE_SECONDS
    assert answer + store.DOWNLOAD_SECONDS + look < STORE_LEASE.total_seconds()
    converting = settings.FILM_CONVERT_SECONDS + process.GRACE_SECONDS
    assert (
        converting + look < CONVERT_LEASE.total_seconds() < attempts.MAX_ATTEMPT_AGE.total_seconds()
    )
    assert STORE_RESULTS.celery_task.time_limit <= STORE_LEASE.total_seconds() + DRAIN_SECONDS
    assert CONVERT_VIDEOS.celery_task.time_limit <= CONVERT_LEASE.total_seconds() + DRAIN_SECONDS
    visibility = settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]
    assert (
        max(STORE_RESULTS.celery_task.time_limit, CONVERT_VIDEOS.celery_task.time_limit)
        < visibility
    )
    assert answer + DRAIN_SECONDS < settings.CELERY_TASK_TIME_LIMIT
