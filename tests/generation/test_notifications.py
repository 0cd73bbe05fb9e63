"""Pushes about the end of a job, written in the transaction that ends the job."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import Push, PushKind
from accounts.push import sending
from generation.lifecycle import manual, settle, transitions
from generation.models import Job, ProviderRequest, RequestState
from generation.providers.base import FailureReason
from tests.helpers.job_driver import assert_completed, assert_refunded, create_job

MEDIA = settle.StoredMedia("a.mp4", "a.jpg")


@pytest.fixture
def token(phone):
    return phone.register_for_pushes()


def submitted(phone):
    job = create_job(phone)
    ProviderRequest.objects.create(
        job=job,
        route=job.model.routes.get(),
        provider="fal",
        state=RequestState.ACCEPTED,
        provider_request_id=str(job.id),
        sent_at=timezone.now(),
    )
    return job


@pytest.fixture
def job(phone, token):
    return submitted(phone)


def sent_notifications(job):
    return list(Push.objects.filter(job_id=job.id).order_by("id").values_list("kind", flat=True))


def test_a_video_that_is_ready(phone, token, instant_provider, life):
    job = life.run_until_done(create_job(phone))
    assert_completed(job)

    sending.send_due(now=life.advance(60).now)

    [sent] = instant_provider.pushes(token)
    assert (sent["payload"]["kind"], sent["payload"]["job_id"]) == ("job_completed", str(job.id))
    assert sent["payload"]["aps"]["alert"]["title"] == "Your video is ready"


def test_an_image_that_is_ready(job):
    Job.objects.filter(id=job.id).update(queue="medium")
    job.refresh_from_db()

    settle.complete(job, MEDIA, now=timezone.now())

    assert Push.objects.get().is_image


def test_a_video_that_failed_with_its_credits(phone, token, instant_provider, life):
    phone.post("update-user-profile", {"language": "es"})
    instant_provider.provider(outcome="error")
    job = life.run_until_done(create_job(phone))
    assert_refunded(job, code="ERR_5002")

    sending.send_due(now=life.advance(60).now)

    [sent] = instant_provider.pushes(token)
    assert sent["payload"]["kind"] == "job_failed"
    assert sent["payload"]["aps"]["alert"] == {
        "title": "No se pudo crear tu vídeo",
        "body": "Te hemos devuelto 4 créditos.",
    }


def test_a_video_that_came_after_its_refund(job):
    settle.fail(job, FailureReason.TIMEOUT, now=timezone.now())
    job.refresh_from_db()

    settle.complete(job, MEDIA, now=timezone.now())

    assert sent_notifications(job) == [PushKind.JOB_FAILED, PushKind.JOB_LATE]


def test_a_job_that_support_gives_up(job):
    manual.fail_job(job.id, now=timezone.now())

    assert sent_notifications(job) == [PushKind.JOB_FAILED]


def test_what_the_user_cancelled_is_no_news(phone, job):
    assert phone.post("cancel-video-job", {"job_id": str(job.id)}).json()["refunded"]

    assert sent_notifications(job) == []


def test_of_a_job_that_its_owner_deleted_nothing_more_is_told(phone, job):
    settle.fail(job, FailureReason.TIMEOUT, now=timezone.now())
    phone.post("delete-video-job", {"job_id": str(job.id)})
    job.refresh_from_db()

    settle.complete(job, MEDIA, now=timezone.now())

    assert sent_notifications(job) == [PushKind.JOB_FAILED]


def test_a_job_that_was_settled_meanwhile_is_told_once(job):
    assert settle.complete(job, MEDIA, now=timezone.now())
    assert not settle.complete(job, MEDIA, now=timezone.now())
    assert not settle.fail(job, FailureReason.TIMEOUT, now=timezone.now())

    assert sent_notifications(job) == [PushKind.JOB_COMPLETED]


def test_what_is_rolled_back_is_told_to_nobody(job, monkeypatch):
    """The push is rolled back with the end of the job."""
    monkeypatch.setattr(transitions, "to_done", lambda job: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        settle.fail(job, FailureReason.TIMEOUT, now=timezone.now())

    assert sent_notifications(job) == []


@pytest.mark.parametrize("has_phone", [True, False])
def test_it_is_one_statement_of_the_jobs_end(phone, instant_provider, settings, has_phone):
    if has_phone:
        phone.register_for_pushes()

    def statements():
        job = submitted(phone)
        with CaptureQueriesContext(connection) as seen:
            assert settle.complete(job, MEDIA, now=timezone.now())
        return len(seen)

    with_pushes = statements()
    settings.APNS_PRIVATE_KEY = ""

    assert with_pushes == statements() + 1
