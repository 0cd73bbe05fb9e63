"""Route timing: the first poll and the progress of a job from the route's recent durations."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from generation.lifecycle import settle
from generation.models import Job, ProviderRequest, RequestState, Stage
from generation.providers.base import FailureReason
from rendio.common.ids import uuid7
from tests.helpers.job_driver import (
    assert_completed,
    create_job,
    send_webhook,
    status_polls,
    submissions,
)

TEN_MINUTES = 600


@pytest.fixture
def before(phone, instant_provider, life):
    """Create finished submissions of the route."""
    past = create_job(phone)
    life.submit()
    (request,) = ProviderRequest.objects.all()
    values = {field.attname: getattr(request, field.attname) for field in request._meta.fields}
    request.delete()
    Job.objects.filter(id=past.id).update(due_at=timezone.now() + timedelta(days=1))

    def write(*took, told=None):
        now = timezone.now()
        ProviderRequest.objects.bulk_create(
            ProviderRequest(
                **values
                | {
                    "id": uuid7(),
                    "webhook_token": str(uuid7()),
                    "provider_request_id": str(uuid7()),
                    "state": RequestState.FINISHED,
                    "sent_at": now - timedelta(seconds=seconds),
                    "ended_at": now,
                    "webhook_received": number < (len(took) if told is None else told),
                }
            )
            for number, seconds in enumerate(took)
        )

    return write


@pytest.fixture
def job(before, phone, instant_provider, life):
    """A job that runs for ten minutes at its provider."""

    def send(*took, told=None):
        before(*took, told=told)
        instant_provider.provider(run_seconds=TEN_MINUTES)
        job = create_job(phone)
        life.submit()
        job.refresh_from_db()
        return job

    return send


def first_poll_after(job):
    request = ProviderRequest.objects.get(job=job)
    return round((job.due_at - request.answered_at).total_seconds())


def test_where_webhooks_tell_of_the_end_nobody_looks_before_nearly_all_have_ended(
    job, instant_provider
):
    sent = job(*[TEN_MINUTES - 100] * 18, TEN_MINUTES - 30, TEN_MINUTES + 30)

    assert (first_poll_after(sent), sent.queue_position) == (TEN_MINUTES, None)


def test_a_ten_minute_job_whose_webhook_comes_is_never_looked_at(
    job, instant_provider, life, signer
):
    sent = job(*[TEN_MINUTES] * 10)
    life.advance(TEN_MINUTES - 20).poll()
    instant_provider.control("finish", provider="fal")

    assert send_webhook(signer, sent) == 200
    life.run_until_done(sent)

    assert_completed(sent)
    assert (len(status_polls(instant_provider)), len(submissions(instant_provider))) == (0, 2)
    assert ProviderRequest.objects.get(job=sent).webhook_received


def test_one_whose_webhook_is_lost_is_found_by_one_look(job, instant_provider, life):
    sent = job(*[TEN_MINUTES - 50] * 10)
    instant_provider.control("finish", provider="fal")

    life.run_until_done(sent)

    assert_completed(sent)
    assert len(status_polls(instant_provider)) == 1
    assert not ProviderRequest.objects.get(job=sent).webhook_received


@pytest.mark.parametrize(
    ("took", "told"),
    [([300] * 4, 4), ([300] * 20, 17), ([300] * 20, 0), ([], 0)],
    ids=["too few", "some were lost", "none came", "nothing known"],
)
def test_where_no_webhook_can_be_counted_on_it_is_looked_at_soon(job, took, told):
    assert first_poll_after(job(*took, told=told)) == 2


def test_a_webhook_that_is_late_counts_as_one_that_came(phone, instant_provider, life, signer):
    sent = create_job(phone)
    life.run_until_done(sent)

    assert send_webhook(signer, sent) == 200
    life.deliver()

    assert ProviderRequest.objects.get(job=sent).webhook_received


def test_the_bar_follows_the_clock_and_leaves_the_end_to_the_video(job, phone):
    sent = job(*[100] * 10)

    shown = []
    for age in (0, 25, 50, 99, 1000):
        # Minutes for one hundred, so that a machine's slow second does not move the bar.
        began = timezone.now() - timedelta(minutes=age)
        Job.objects.filter(id=sent.id).update(
            created_at=began, expected_at=began + timedelta(minutes=100)
        )
        shown.append(phone.get("get-video-status", job_id=sent.id).json()["progress"])

    assert shown == [0, 23, 47, 93, 94]
    Job.objects.filter(id=sent.id).update(stage=Stage.STORE, progress=95)
    assert phone.get("get-video-status", job_id=sent.id).json()["progress"] == 95


def test_what_the_provider_tells_counts_where_it_is_further(job, phone):
    sent = job(*[1000] * 10)
    Job.objects.filter(id=sent.id).update(stage=Stage.RUNNING, progress=60)

    assert phone.get("get-video-status", job_id=sent.id).json()["progress"] == 60


@pytest.mark.parametrize("reason", [FailureReason.TIMEOUT, FailureReason.CANCELLED])
def test_the_bar_does_not_fall_when_the_job_comes_to_nothing(job, phone, reason):
    sent = job(*[100] * 10)
    began = timezone.now() - timedelta(seconds=50)
    Job.objects.filter(id=sent.id).update(
        created_at=began, expected_at=began + timedelta(seconds=100)
    )

    settle.fail(Job.objects.get(id=sent.id), reason, now=timezone.now())

    assert phone.get("get-video-status", job_id=sent.id).json()["progress"] >= 46


def test_one_taken_back_that_nobody_has_looked_at_may_have_begun(job, phone, life):
    sent = job(*[100] * 10)

    settle.fail(sent, FailureReason.CANCELLED, now=life.advance(30).now)

    # Providers charge what has begun (lifecycle.cost_rules).
    assert ProviderRequest.objects.get(job=sent).cost_usd > 0
