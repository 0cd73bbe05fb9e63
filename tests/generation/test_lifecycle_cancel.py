"""Cancellation in each stage of a job."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import pytest

from generation.lifecycle import cancel
from generation.models import Job, JobStatus, ProviderRequest, Stage
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import (
    JobDriver,
    assert_completed,
    assert_refunded,
    create_job,
    grant,
    kinds_of,
    submissions,
)
from tests.helpers.wait import PATIENCE_SECONDS, wait_for

pytestmark = pytest.mark.usefixtures("short_deadlines")

CANCELLED = JobStatus.CANCELLED


def cancel_job(phone, job) -> tuple[int, str, bool]:
    answer = phone.post("cancel-video-job", {"job_id": str(job.id)})
    body = answer.json()
    return answer.status_code, body.get("status", ""), body.get("refunded", False)


def cancels(sandbox) -> int:
    return sum(asked["method"] == "PUT" for asked in sandbox.requests())


def test_before_any_provider_has_it_it_is_cancelled_at_once(phone, instant_provider, life):
    job = create_job(phone)

    assert cancel_job(phone, job) == (200, "cancelled", True)

    life.submit()
    assert_refunded(job, status=CANCELLED)
    assert instant_provider.requests() == []
    assert phone.balance() == 10


def test_in_the_providers_queue_it_is_cancelled_and_refunded(phone, instant_provider, life):
    instant_provider.provider(queue_seconds=600)
    job = create_job(phone)
    life.submit()

    assert cancel_job(phone, job) == (200, "cancelled", True)

    assert_refunded(job, status=CANCELLED)


def test_one_that_runs_on_is_not_refunded_and_completes(phone, instant_provider, life):
    instant_provider.provider(run_seconds=1.5)
    job = create_job(phone)
    life.submit()

    assert cancel_job(phone, job) == (200, "processing", False)

    job.refresh_from_db()
    assert job.cancel_requested_at is None
    wait_for(lambda: instant_provider.jobs()[0]["status"] == "COMPLETED")
    life.run_until_done(job)
    assert_completed(job)


def test_one_that_runs_and_can_be_stopped_is_cancelled_and_refunded(phone, instant_provider, life):
    instant_provider.provider(run_seconds=600, cancel_running=True)
    job = create_job(phone)
    life.submit()
    life.advance(3).poll()
    job.refresh_from_db()
    assert job.stage == Stage.RUNNING

    assert cancel_job(phone, job) == (200, "cancelled", True)

    assert_refunded(job, status=CANCELLED)


@pytest.mark.parametrize("comes", [True, False])
def test_one_that_is_being_stored_is_delivered_or_cancelled(phone, instant_provider, life, comes):
    instant_provider.provider(outcome="ok" if comes else "result_500")
    job = create_job(phone)
    life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)

    assert cancel_job(phone, job) == (200, "processing", False)

    life.cancel()
    assert cancels(instant_provider) == 0
    life.run_until_done(job)
    if comes:
        assert_completed(job)
    else:
        assert_refunded(job, status=CANCELLED)


def test_after_the_end_it_is_too_late(phone, instant_provider, life):
    completed = create_job(phone)
    life.run_until_done(completed)
    instant_provider.provider(outcome="error")
    failed = create_job(phone)
    life.run_until_done(failed)

    assert cancel_job(phone, completed)[0] == 409
    assert cancel_job(phone, failed)[0] == 409
    assert_completed(completed)


def test_twice_is_one_refund_and_the_same_answer(phone, instant_provider):
    job = create_job(phone)

    assert cancel_job(phone, job) == cancel_job(phone, job) == (200, "cancelled", True)
    assert kinds_of(job.id) == ["charge", "refund"]


@pytest.mark.parametrize("outcome", ["submit_429", "submit_403_balance"])
def test_taken_back_while_it_is_sent_and_then_refused_it_is_never_sent_again(
    phone, instant_provider, life, outcome
):
    instant_provider.provider(outcome=outcome, times=1)
    job = create_job(phone)
    life.submit()
    # As if the call had come before the refusal was recorded.
    Job.objects.filter(id=job.id).update(cancel_requested_at=life.now)

    life.advance(60).submit()
    life.cancel()

    assert_refunded(job, status=CANCELLED)
    assert len(submissions(instant_provider)) == 1


def test_while_the_answer_to_the_submission_is_open_nothing_is_refunded(
    phone, instant_provider, life
):
    instant_provider.provider(outcome="submit_lost")
    job = create_job(phone)
    life.submit()

    assert cancel_job(phone, job) == (200, "pending", False)

    life.run_until_done(job)
    assert_refunded(job, status=CANCELLED)


def test_a_provider_that_cannot_be_asked_is_asked_again_and_holds_up_nobody(
    phone, instant_provider, life, stub_server, settings
):
    settings.JOBS_AT_ONCE = {"free": 100}
    grant(phone.user_id, 200)
    instant_provider.provider(queue_seconds=600)
    jobs = [create_job(phone) for _ in range(cancel.BATCH + 1)]
    life.submit()
    Job.objects.filter(id__in=[job.id for job in jobs]).update(cancel_requested_at=life.now)
    deaf = [job.id for job in jobs[:-1]]
    stub_server.otherwise = (503, {}, b"")
    ProviderRequest.objects.filter(job_id__in=deaf).update(cancel_url=f"{stub_server.url}/cancel")
    Job.objects.filter(id=jobs[-1].id).update(cancel_requested_at=life.advance(0.5).now)

    life.advance(0.5).cancel()
    life.advance(1).cancel()

    assert_refunded(jobs[-1], status=CANCELLED)
    assert len(stub_server.asked) == cancel.BATCH
    life.advance(6).cancel()
    assert len(stub_server.asked) == 2 * cancel.BATCH


def test_jobs_that_nobody_can_be_asked_about_hold_up_nobody(
    phone, instant_provider, life, settings
):
    settings.JOBS_AT_ONCE = {"free": 100}
    grant(phone.user_id, 200)
    instant_provider.provider(queue_seconds=600)
    jobs = [create_job(phone) for _ in range(cancel.BATCH + 1)]
    life.submit()
    Job.objects.filter(id__in=[job.id for job in jobs]).update(cancel_requested_at=life.now)
    ProviderRequest.objects.filter(job__in=jobs[:-1]).update(provider_request_id="")
    Job.objects.filter(id=jobs[-1].id).update(cancel_requested_at=life.advance(0.5).now)

    life.advance(0.5).cancel()
    life.cancel()

    assert_refunded(jobs[-1], status=CANCELLED)
    assert cancels(instant_provider) == 1


def test_a_provider_that_hangs_does_not_hold_up_the_caller(
    phone, instant_provider, life, settings, monkeypatch
):
    monkeypatch.setattr(cancel, "TIMEOUT_SECONDS", (0.3, 0.3))
    settings.PROVIDER_READ_TIMEOUT_SECONDS = 10 * PATIENCE_SECONDS
    instant_provider.provider(queue_seconds=600)
    job = create_job(phone)
    life.submit()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        request = ProviderRequest.objects.filter(job=job)
        request.update(cancel_url=address)
        began = time.monotonic()
        assert cancel_job(phone, job) == (200, "processing", False)
        cancel_url = f"{instant_provider.url}{urlsplit(request.get().status_url).path[:-6]}cancel"
        request.update(cancel_url=cancel_url, response_url=address)
        assert cancel_job(phone, job) == (200, "processing", False)

    assert time.monotonic() - began < PATIENCE_SECONDS
    request.update(response_url=cancel_url.removesuffix("/cancel"))
    life.run_until_done(job)
    assert_refunded(job, status=CANCELLED)


# --- Races, with real commits --------------------------------------------------------------------


def test_two_at_once_are_one_refund(guest, instant_provider):
    job = create_job(guest)
    before = guest.balance()

    answers = at_once(*[lambda: cancel_job(guest, job)] * 4)

    assert {status for status, _, _ in answers} == {200}
    assert_refunded(job, status=CANCELLED)
    assert guest.balance() == before + 4


def test_against_the_submission_it_is_cancelled_or_sent_and_never_both(guest, instant_provider):
    instant_provider.provider(run_seconds=0.2)
    for _ in range(5):
        job = create_job(guest)
        life = JobDriver()

        at_once(life.submit, lambda job=job: cancel_job(guest, job))

        life.run_until_done(job)
        sent = any(known["webhook_url"] and str(job.id) for known in instant_provider.jobs())
        job.refresh_from_db()
        if job.status == CANCELLED:
            assert kinds_of(job.id) == ["charge", "refund"]
        else:
            assert sent
            assert_completed(job)
    assert len(submissions(instant_provider)) == len(instant_provider.jobs()) <= 5


def test_against_completion_one_of_both_wins_whole(guest, instant_provider):
    for _ in range(5):
        job = create_job(guest)
        life = JobDriver()
        life.submit()
        life.advance(3)

        at_once(
            lambda life=life: (life.poll(), life.store()), lambda job=job: cancel_job(guest, job)
        )

        life.run_until_done(job)
        assert_completed(job)
