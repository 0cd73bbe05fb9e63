"""Dead letters: failed work ends and is kept for staff."""

from __future__ import annotations

import pytest
from django.utils import timezone

import generation.tasks  # noqa: F401  (connects the signal receiver)
from generation.due_work import JOB_LEASE, POLL_JOBS
from generation.lifecycle import claims, dead_letters, poll
from generation.models import (
    DeadKind,
    DeadLetter,
    DeadState,
    ProviderRequest,
    Stage,
    WebhookDelivery,
)
from tests.helpers.job_driver import assert_completed, assert_refunded, create_job


def test_a_job_that_kills_its_workers_is_refunded_and_kept(phone, instant_provider, life):
    poison, sound = create_job(phone), create_job(phone)
    life.submit()
    ProviderRequest.objects.filter(job=poison).update(state="refused")
    for _ in range(claims.MAX_LOST_LEASES):
        # Taken, and never heard of again.
        claims.claim(queue="low", stages=poll.STAGES, now=life.advance(3).now, limit=2)
        life.advance(JOB_LEASE.total_seconds())

    life.advance(1).poll()

    assert_refunded(poison, code="ERR_6003")
    letters = {letter.subject: letter for letter in DeadLetter.objects.all()}
    assert set(letters) == {str(poison.id), str(sound.id)}
    assert letters[str(poison.id)].kind == DeadKind.JOB


def test_workers_that_die_now_and_then_cost_no_job(phone, instant_provider, life):
    job = create_job(phone)
    life.submit()
    for _ in range(3):
        for _ in range(claims.MAX_LOST_LEASES - 1):
            claims.claim(queue="low", stages=[Stage.QUEUED], now=life.advance(3).now, limit=1)
            life.advance(JOB_LEASE.total_seconds())
        instant_provider.provider(queue_seconds=0, run_seconds=0, webhooks=False)
        job.refresh_from_db()
        if job.stage == Stage.QUEUED:
            life.advance(1).poll()

    life.run_until_done(job)

    assert_completed(job)
    assert not DeadLetter.objects.exists()


def test_a_delivery_that_cannot_be_applied_is_kept_after_an_hour(phone, instant_provider, life):
    job = create_job(phone)
    life.submit()
    token = ProviderRequest.objects.get(job=job).webhook_token
    delivery = WebhookDelivery.objects.create(
        provider="nobody", provider_request_id="x", webhook_token=token, received_at=life.now
    )
    ProviderRequest.objects.filter(job=job).update(provider="nobody", provider_request_id="")

    life.advance(60).deliver()
    assert not DeadLetter.objects.exists()
    life.advance(3600).deliver()

    letter = DeadLetter.objects.get()
    assert (letter.kind, letter.subject) == (DeadKind.DELIVERY, str(delivery.id))
    assert letter.why == "failed: KeyError"


def test_a_task_that_raises_is_kept_once_and_counted(committed, monkeypatch):
    def breaks(**_):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(POLL_JOBS, "run_batch", breaks)

    for _ in range(3):
        POLL_JOBS.celery_task.apply(kwargs={"queue": "low"})

    letter = DeadLetter.objects.get(kind=DeadKind.TASK)
    letter.delete()
    assert letter.subject == "generation.poll_due low"
    assert (letter.times, letter.why) == (3, "RuntimeError: the disk is full")


def test_after_it_was_closed_the_same_trouble_is_a_new_letter(db):
    now = timezone.now()
    dead_letters.record(DeadKind.TASK, "generation.poll_due low", "first", now=now)
    dead_letters.retry(DeadLetter.objects.get(), now=now)

    dead_letters.record(DeadKind.TASK, "generation.poll_due low", "again", now=now)

    states = DeadLetter.objects.order_by("id").values_list("state", "why")
    assert list(states) == [(DeadState.RETRIED, "first"), (DeadState.OPEN, "again")]


@pytest.mark.parametrize("why", ["x" * 5000, ""])
def test_whatever_the_reason_is_it_fits(db, why):
    dead_letters.record(DeadKind.TASK, "t" * 300, why, now=timezone.now())

    assert DeadLetter.objects.get().why == why[:500]
