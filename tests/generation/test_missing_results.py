"""A provider that has finished and cannot give the result: the user is refunded when patience ends,
may cancel at once, and gets for nothing what comes later."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from accounts.models import Push, PushKind
from generation.models import (
    DeadKind,
    DeadLetter,
    Job,
    JobStatus,
    ProviderRequest,
    RequestState,
    Stage,
)
from tests.helpers.concurrency import at_once
from tests.helpers.job_driver import (
    JobDriver,
    assert_completed,
    assert_refunded,
    create_job,
    kinds_of,
)
from tests.helpers.provider_models import MODELS, only_made_by

TIMEOUT = "ERR_5001"
EVERY_PROVIDER = pytest.mark.parametrize("provider", MODELS)


@pytest.fixture(autouse=True)
def _deadlines(settings, no_long_wait):
    settings.JOB_STORE_PATIENCE_SECONDS = 120
    settings.JOB_STORE_DEADLINE_SECONDS = 1800


@pytest.fixture
def order(phone, sandbox, life):
    """An order whose provider has finished, and goes as planned when the result is asked for."""

    def place(provider: str = "fal", outcome: str = "result_500") -> Job:
        sandbox.provider(provider=provider, queue_seconds=0, run_seconds=0, webhooks=False)
        sandbox.provider(provider=provider, outcome=outcome)
        job = create_job(phone, model_id=only_made_by(provider))
        life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
        return job

    return place


def fetch_until(life, job, has_ended) -> float:
    """Seconds from now until that."""
    began = life.now
    life.run_until_done(job, until=has_ended)
    return (life.now - began).total_seconds()


def is_terminal(job) -> bool:
    return job.is_terminal


def assert_refunded_and_tried_on(job, *, status=JobStatus.FAILED):
    job.refresh_from_db()
    assert (job.status, job.stage) == (status, Stage.STORE)
    assert job.error_code == (TIMEOUT if status == JobStatus.FAILED else "")
    assert kinds_of(job.id) == ["charge", "refund"]
    assert ProviderRequest.objects.get(job=job).state == RequestState.ACCEPTED


# --- The refund -----------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["result_500", "result_404"])
def test_after_two_minutes_the_user_has_the_credits_and_is_told(phone, order, life, outcome):
    before = phone.balance()
    job = order(outcome=outcome)

    seconds = fetch_until(life, job, is_terminal)

    assert 120 <= seconds <= 130
    assert_refunded_and_tried_on(job)
    assert phone.balance() == before
    told = phone.get("get-video-status", job_id=str(job.id)).json()
    assert (told["status"], told["refunded"]) == ("failed", True)


def test_the_video_that_comes_ten_minutes_later_is_shown_and_free(phone, order, life, sandbox):
    before = phone.balance()
    job = order()
    fetch_until(life, job, is_terminal)

    while life.now - job.completed_at < timedelta(minutes=10):
        life.advance(100).store()
        assert_refunded_and_tried_on(job)
    sandbox.control("recover", provider="fal")
    life.run_until_done(job)

    assert_refunded(job, code=TIMEOUT)
    assert job.media_name
    assert phone.balance() == before
    assert phone.get("get-video-status", job_id=str(job.id)).json()["video_url"]
    assert ProviderRequest.objects.get(job=job).state == RequestState.FINISHED
    assert not DeadLetter.objects.exists()


def test_a_result_within_the_two_minutes_is_delivered_and_paid(phone, order, life, sandbox):
    before = phone.balance()
    job = order()
    life.advance(1).store()
    life.advance(60).store()
    sandbox.control("recover", provider="fal")

    life.run_until_done(job)

    assert_completed(job)
    assert phone.balance() == before - job.credits


def test_what_never_comes_ends_at_the_deadline_for_a_person_to_look_at(order, life, settings):
    settings.JOB_STORE_DEADLINE_SECONDS = 300
    job = order()

    seconds = fetch_until(life, job, lambda job: job.stage == Stage.DONE)

    assert 300 <= seconds <= 340
    assert_refunded(job, code=TIMEOUT)
    assert DeadLetter.objects.get().kind == DeadKind.RESULT
    assert ProviderRequest.objects.get(job=job).state == RequestState.UNKNOWN


def test_patience_begins_with_the_first_failed_fetch_not_with_our_own_delay(order, life):
    job = order()

    life.advance(500).store()

    job.refresh_from_db()
    assert (job.status, job.stage) == (JobStatus.PROCESSING, Stage.STORE)
    assert 120 <= fetch_until(life, job, is_terminal) <= 130


def test_the_user_may_delete_the_refunded_job_and_nothing_is_kept_of_what_comes(
    phone, order, life, sandbox
):
    job = order()
    fetch_until(life, job, is_terminal)
    assert phone.post("delete-video-job", {"job_id": str(job.id)}).status_code == 200
    sandbox.control("recover", provider="fal")

    life.run_until_done(job)

    assert (job.stage, job.media_name) == (Stage.DONE, "")


def test_failed_and_late_are_each_told_once(phone, order, life, sandbox):
    phone.register_for_pushes()
    job = order()
    fetch_until(life, job, is_terminal)
    sandbox.control("recover", provider="fal")

    life.run_until_done(job)

    kinds = list(Push.objects.filter(user_id=phone.user_id).values_list("kind", flat=True))
    assert sorted(kinds) == sorted([PushKind.JOB_FAILED, PushKind.JOB_LATE])


# --- A cancellation -------------------------------------------------------------------------------


def cancel_job(phone, job) -> tuple[int, str, bool]:
    answer = phone.post("cancel-video-job", {"job_id": str(job.id)})
    body = answer.json()
    return answer.status_code, body.get("status", ""), body.get("refunded", False)


def test_a_cancel_is_honoured_at_once_and_in_full(phone, order, life):
    before = phone.balance()
    job = order()
    life.advance(1).store()

    assert cancel_job(phone, job) == (200, "cancelled", True)

    assert_refunded(job, status=JobStatus.CANCELLED)
    assert phone.balance() == before
    assert job.fee_kept == 0
    life.advance(60).store()
    life.stop()
    assert_refunded(job, status=JobStatus.CANCELLED)
    assert job.media_name == ""


def test_a_cancel_before_the_first_fetch_is_honoured_when_it_fails(phone, order, life):
    job = order()

    assert cancel_job(phone, job) == (200, "processing", False)
    life.advance(1).store()

    assert_refunded(job, status=JobStatus.CANCELLED)


def test_after_the_refund_there_is_nothing_to_cancel(phone, order, life):
    job = order()
    fetch_until(life, job, is_terminal)

    assert cancel_job(phone, job)[0] == 409
    assert_refunded_and_tried_on(job)


def test_a_cancel_against_the_fetch_is_a_refund_or_a_video_and_never_both(guest, sandbox):
    sandbox.provider(provider="fal", queue_seconds=0, run_seconds=0, webhooks=False)
    for _ in range(4):
        sandbox.provider(provider="fal", outcome="result_500")
        job = create_job(guest)
        life = JobDriver()
        life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
        life.advance(1).store()
        sandbox.control("recover", provider="fal")
        life.advance(10)

        at_once(life.store, lambda job=job: cancel_job(guest, job))

        life.run_until_done(job)
        if job.status == JobStatus.CANCELLED:
            assert kinds_of(job.id) == ["charge", "refund"]
            assert job.media_name == ""
        else:
            assert_completed(job)


def test_two_workers_and_a_cancel_refund_once(guest, sandbox):
    sandbox.provider(
        provider="fal", queue_seconds=0, run_seconds=0, webhooks=False, outcome="result_500"
    )
    before = guest.balance()
    job = create_job(guest)
    life = JobDriver()
    life.run_until_done(job, until=lambda job: job.stage == Stage.STORE)
    life.advance(1).store()
    life.advance(121)

    at_once(life.store, life.store, lambda: cancel_job(guest, job))

    job.refresh_from_db()
    assert job.is_terminal
    assert kinds_of(job.id) == ["charge", "refund"]
    assert guest.balance() == before


# --- The result in the webhook --------------------------------------------------------------------


def test_the_address_in_the_signed_webhook_is_tried_when_the_result_keeps_failing(
    phone, sandbox, signer, life
):
    sandbox.provider(
        provider="fal", queue_seconds=0, run_seconds=0, webhooks=False, outcome="result_500"
    )
    job = create_job(phone)
    life.submit()
    request = ProviderRequest.objects.get(job=job)
    video = {"video": {"url": f"{sandbox.url}/fal/files/{request.provider_request_id}/output.mp4"}}
    said = {"request_id": request.provider_request_id, "status": "OK", "payload": video}
    assert send(signer, request, said) == 200
    life.deliver()
    life.advance(1).store()

    life.run_until_done(job)

    assert_completed(job)
    assert (life.now - job.created_at).total_seconds() < 60
    assert ProviderRequest.objects.get(job=job).raw_result == ""


@pytest.mark.parametrize(
    ("payload", "has_token"),
    [
        ({"video": {"url": "FILE"}}, False),
        ({"detail": "failed"}, True),
        ({"video": None}, True),
        (None, True),
        ({"video": {"url": "https://evil.example/x.mp4"}}, True),
    ],
)
def test_nothing_else_in_a_webhook_is_taken_for_the_result(
    phone, sandbox, signer, life, payload, has_token
):
    sandbox.provider(
        provider="fal", queue_seconds=0, run_seconds=0, webhooks=False, outcome="result_500"
    )
    job = create_job(phone)
    life.submit()
    request = ProviderRequest.objects.get(job=job)
    file = f"{sandbox.url}/fal/files/{request.provider_request_id}/output.mp4"
    if payload and "video" in payload and payload["video"] == {"url": "FILE"}:
        payload = {"video": {"url": file}}
    said = {"request_id": request.provider_request_id, "status": "OK", "payload": payload}
    assert send(signer, request, said, token=request.webhook_token if has_token else "") == 200
    life.deliver()

    life.run_until_done(job, until=is_terminal)

    assert job.status == JobStatus.FAILED
    assert not job.media_name
    assert kinds_of(job.id) == ["charge", "refund"]


def send(signer, request, said, *, token=None) -> int:
    body, headers = signer.delivery(request.provider_request_id, body=json.dumps(said).encode())
    return signer.send(body, headers, request.webhook_token if token is None else token)


# --- A result after the run deadline --------------------------------------------------------------


@EVERY_PROVIDER
def test_a_video_that_was_finished_after_the_deadline_is_fetched_without_support(
    phone, sandbox, life, settings, provider
):
    settings.JOB_START_DEADLINE_SECONDS = settings.JOB_RUN_DEADLINE_SECONDS = 120
    sandbox.provider(provider=provider, queue_seconds=0, run_seconds=0, webhooks=False)
    sandbox.provider(provider=provider, outcome="status_500")
    before = phone.balance()
    job = create_job(phone, model_id=only_made_by(provider))
    life.run_until_done(job)
    assert_refunded(job, code=TIMEOUT)
    sandbox.control("recover", provider=provider)

    life.advance(1).stop()
    job.refresh_from_db()
    assert job.stage == Stage.STORE
    life.run_until_done(job)

    assert_refunded(job, code=TIMEOUT)
    assert job.media_name
    assert phone.balance() == before


@pytest.mark.parametrize("provider", ["fal", "runway", "runpod", "modal"])
def test_one_that_had_failed_by_then_is_left_alone(phone, sandbox, life, settings, provider):
    settings.JOB_START_DEADLINE_SECONDS = settings.JOB_RUN_DEADLINE_SECONDS = 120
    sandbox.provider(provider=provider, queue_seconds=0, run_seconds=0, webhooks=False)
    settings.JOB_STORE_DEADLINE_SECONDS = 120
    sandbox.provider(provider=provider, outcome="result_404")
    job = create_job(phone, model_id=only_made_by(provider))
    life.run_until_done(job)
    assert not job.media_name

    life.advance(1).stop()

    job.refresh_from_db()
    assert job.stage == Stage.DONE
    assert ProviderRequest.objects.get(job=job).cancel_due_at is None
